"""The convolutional front end both CTC families share: features in, a quarter of the frames out.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, D width.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

KERNEL = 5
STRIDE = 2
LAYERS = 2
SUBSAMPLING = STRIDE**LAYERS


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
    """

    def __init__(self, *, dimensions: int, width: int) -> None:
        super().__init__()
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
