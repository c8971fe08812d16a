"""The convolutional front end both CTC families share: features in, a quarter of the frames out.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, D width.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

KERNEL = 5
STRIDE = 2
LAYERS = 2
SUBSAMPLING: int = STRIDE**LAYERS
REACH: int = (KERNEL // 2) * sum(STRIDE**layer for layer in range(LAYERS))
"""Feature frames that an output frame reads on each side of its own, which is `SUBSAMPLING` times its number."""


def output_frames(frames_B: Tensor) -> Tensor:
    """Frames after the front end: each layer keeps ceil(frames / 2)."""
    for _ in range(LAYERS):
        frames_B = (frames_B + STRIDE - 1) // STRIDE
    return frames_B


def frame_mask(frames_B: Tensor, longest: int) -> Tensor:
    """(B, longest) bool, True on real frames."""
    positions = torch.arange(longest, device=frames_B.device)
    return positions[None, :] < frames_B[:, None]


class ConvolutionFrontEnd(nn.Module):
    """Two convolutions over time (kernel 5, stride 2, GELU), so that one output frame spans 40 ms of 10 ms features.

    Padding is zeroed before each layer: an utterance gives the same output alone and beside a longer one.
    On a stream the same outputs come from windows that overlap (`window`): an output frame is held back until the
    features that it looks ahead to are there, 3 frames beyond the 4 it stands for.
    """

    def __init__(self, *, dimensions: int, width: int) -> None:
        super().__init__()
        self.dimensions = dimensions
        sizes = [dimensions] + [width] * LAYERS
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, KERNEL, stride=STRIDE, padding=KERNEL // 2) for before, after in pairwise(sizes)
        )

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, M) features and their lengths to (B, T, D) and theirs."""
        x = features_BFM.transpose(1, 2)
        for convolution in self.convolutions:
            x = x * frame_mask(frames_B, x.shape[2])[:, None, :]
            x = nn.functional.gelu(convolution(x))
            frames_B = (frames_B + STRIDE - 1) // STRIDE
        return x.transpose(1, 2), frames_B

    def window(self, window_BFM: Tensor, frames_B: Tensor, done_B: Tensor) -> Tensor:
        """Output frames (B, T, D) of a piece of a longer signal: exactly those that `forward` gives there.

        Windows hold `window_frames(T)` features and begin `REACH` before the first output's own. `frames_B` counts the
        real ones from that own frame on, `done_B` the output frames before it: with fewer than 2 the window begins
        before the signal does.
        """
        x, before, real_B, earlier_B = window_BFM.transpose(1, 2), REACH, frames_B, SUBSAMPLING * done_B
        for convolution in self.convolutions:
            places = torch.arange(x.shape[2], device=x.device)
            real_BF = (places < before + real_B[:, None]) & (places >= before - earlier_B[:, None])
            kernel, bias = cast(nn.Conv1d, convolution).weight, cast(nn.Conv1d, convolution).bias
            x = nn.functional.gelu(nn.functional.conv1d(x * real_BF[:, None, :], kernel, bias, stride=STRIDE))
            before, earlier_B = (before - KERNEL // 2) // STRIDE, earlier_B // STRIDE
            real_B = (real_B + STRIDE - 1) // STRIDE
        return x.transpose(1, 2)


def window_frames(frames: int) -> int:
    """Feature frames in a window that gives that many output frames."""
    return SUBSAMPLING * (frames - 1) + 2 * REACH + 1
