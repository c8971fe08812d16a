"""A Conformer on a stream: chunk after chunk with caches, the same scores as `ConformerCtc` with its chunk mask.

Each step reads a window of features and gives the log probabilities of one chunk of output frames. What the layers
need of the past is carried in tensors of fixed shape, so a step costs the same after hours, and the step can be
exported with its caches as inputs and outputs. Positions are counted within the window of cache and chunk: rotary
attention depends on distances only (Su et al. 2021, section 3.4.3), and small positions keep float32's precision.

Delay of an output chunk: until its last feature frame is there, plus 3 feature frames (30 ms) that the front end looks
ahead to. With chunks of 4 frames a feature frame waits between 30 and 180 ms for its scores, computing aside.

Shapes: B streams, N layers, W window features, M feature dimensions, C chunk frames, S cached frames, D width, H heads,
K width per head, P frames of a convolution's tail, V vocab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harken.core import InputError
from harken.models.conformer import Attention, ConformerCtc, ConformerLayer, ConvolutionModule, rotary_angles, rotate
from harken.models.frontend import REACH, SUBSAMPLING, window_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCaches:
    """What a batch of streams carries from one step to the next.

    `done_B` counts output frames so far, up to S or 2, the most that still matter. The cached frames stand at the end
    of their axis: those before `S - done` hold nothing.
    """

    done_B: Tensor
    keys_NBHSK: Tensor
    values_NBHSK: Tensor
    tails_NBDP: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.done_B, self.keys_NBHSK, self.values_NBHSK, self.tails_NBDP


_MATTERS = -(-REACH // SUBSAMPLING)  # output frames after which a window lies wholly within the signal
CACHE_STREAM_AXES = (0, 1, 1, 1)
"""The axis of each of `StreamCaches.tensors` that counts streams."""


class StreamingConformer(nn.Module):
    """One step of a batch of streams, with the weights of a ConformerCtc that was trained with chunks.

    `chunk_frames` and `left_chunks` are the model's own unless given; other sizes are as good as its training drew
    them. With other chunks alone the left context stays as long as it was, rounded up to whole chunks. `settings` are
    the model's with these sizes. Call `start(streams)`, then `step` or, with tensors alone, the module itself.
    """

    cosine_TK: Tensor
    sine_TK: Tensor

    def __init__(self, model: ConformerCtc, *, chunk_frames: int | None = None, left_chunks: int | None = None) -> None:
        """Raises InputError for a model that attends everywhere, or whose left context has no end."""
        super().__init__()
        settings = model.settings
        if settings.chunk_frames is None:
            raise InputError(
                "The model attends to whole utterances: it was trained without chunks.",
                hint="Train with model.settings.chunk_frames, or stream with policy windowed.",
            )
        chunk = chunk_frames or settings.chunk_frames
        left = left_chunks
        if left is None and settings.left_chunks is not None:
            left = -(-settings.left_chunks * settings.chunk_frames // chunk)
        if left is None:
            raise InputError(
                "The model's chunks see all earlier ones, which no cache of fixed size can hold.",
                hint="Give left_chunks: how many earlier chunks a chunk may see.",
            )
        self.settings = replace(settings, chunk_frames=chunk, left_chunks=left)
        self.model = model
        self.chunk_frames, self.left_frames = chunk, chunk * left
        self.dimensions = model.front_end.dimensions
        self.vocab_size = model.output.out_features
        cosine_TK, sine_TK = rotary_angles(
            self.left_frames + chunk, settings.width // settings.heads, model.output.weight.device
        )
        self.register_buffer("cosine_TK", cosine_TK, persistent=False)
        self.register_buffer("sine_TK", sine_TK, persistent=False)

    @property
    def window_features(self) -> int:
        """Feature frames that a step reads; the first window begins with `lead_features` frames of anything."""
        return window_frames(self.chunk_frames)

    @property
    def shift_features(self) -> int:
        """Feature frames from one window to the next."""
        return SUBSAMPLING * self.chunk_frames

    @property
    def lead_features(self) -> int:
        """Feature frames of a window that come before the first frame of its chunk."""
        return REACH

    def start(self, streams: int = 1) -> StreamCaches:
        """Caches of streams that have not begun."""
        like, s = self.model.output.weight, self.settings
        attended = (s.layers, streams, s.heads, self.left_frames, s.width // s.heads)
        return StreamCaches(
            done_B=torch.zeros(streams, dtype=torch.int64, device=like.device),
            keys_NBHSK=like.new_zeros(attended),
            values_NBHSK=like.new_zeros(attended),
            tails_NBDP=like.new_zeros((s.layers, streams, s.width, s.kernel - 1)),
        )

    @torch.no_grad()
    def step(self, caches: StreamCaches, window_BWM: Tensor, frames_B: Tensor) -> tuple[StreamCaches, Tensor, Tensor]:
        """The caches after it, (B, C, V) log probabilities of a chunk and how many frames of it are real, (B,)."""
        log_probs_BCV, valid_B, *tensors = self(window_BWM, frames_B, *caches.tensors)
        return _caches(tensors), log_probs_BCV, valid_B

    def forward(
        self,
        window_BWM: Tensor,
        frames_B: Tensor,
        done_B: Tensor,
        keys_NBHSK: Tensor,
        values_NBHSK: Tensor,
        tails_NBDP: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Log probabilities (B, C, V), real frames among them (B,), and the caches after the step.

        `frames_B` counts the window's real features from the place `lead_features` on: all of them, until the signal
        ends. A chunk that is not full is the last one of its stream.
        """
        chunk, left = self.chunk_frames, self.left_frames
        valid_B = ((frames_B + SUBSAMPLING - 1) // SUBSAMPLING).clamp(max=chunk)
        x_BCD = self.model.front_end.window(self.model.normalized(window_BWM), frames_B, done_B)
        places_C = torch.arange(chunk, device=x_BCD.device)
        real_BC = places_C < valid_B[:, None]
        kept_BS = torch.arange(left, device=x_BCD.device) >= left - done_B[:, None]
        # A frame past the end sees the real ones, or, where there is none, itself: softmax of nothing is NaN.
        visible_BT = torch.cat([kept_BS, real_BC | (valid_B[:, None] == 0)], dim=1)
        mask_B1CT = visible_BT[:, None, None, :].expand(-1, 1, chunk, -1)
        keys, values, tails = [], [], []
        for number, layer in enumerate(self.model.layers):
            x_BCD, key, value, tail = self._layer(
                cast(ConformerLayer, layer),
                x_BCD,
                real_BC,
                mask_B1CT,
                keys_NBHSK[number],
                values_NBHSK[number],
                tails_NBDP[number],
            )
            keys.append(key)
            values.append(value)
            tails.append(tail)
        log_probs_BCV = self.model.output(x_BCD).float().log_softmax(-1)
        done_B = (done_B + valid_B).clamp(max=max(left, _MATTERS))
        return log_probs_BCV, valid_B, done_B, torch.stack(keys), torch.stack(values), torch.stack(tails)

    def _layer(
        self,
        layer: ConformerLayer,
        x_BCD: Tensor,
        real_BC: Tensor,
        mask_B1CT: Tensor,
        keys_BHSK: Tensor,
        values_BHSK: Tensor,
        tail_BDP: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x_BCD = x_BCD + 0.5 * layer.feed_forward_in(x_BCD)
        attended, keys_BHSK, values_BHSK = self._attend(layer.attention, x_BCD, mask_B1CT, keys_BHSK, values_BHSK)
        x_BCD = x_BCD + attended
        convolved, tail_BDP = _convolve(layer.convolution, x_BCD, real_BC, tail_BDP)
        x_BCD = x_BCD + convolved
        x_BCD = x_BCD + 0.5 * layer.feed_forward_out(x_BCD)
        return layer.norm(x_BCD), keys_BHSK, values_BHSK, tail_BDP

    def _attend(
        self, attention: Attention, x_BCD: Tensor, mask_B1CT: Tensor, keys_BHSK: Tensor, values_BHSK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`Attention.forward` of a chunk; keys are kept as they were before rotation, and rotated where they stand."""
        projected = attention.project_in(attention.norm(x_BCD)).unflatten(2, (3, attention.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        keys, values = torch.cat([keys_BHSK, key], dim=2), torch.cat([values_BHSK, value], dim=2)
        left = self.left_frames
        mixed = functional.scaled_dot_product_attention(
            rotate(query, self.cosine_TK[left:], self.sine_TK[left:]),
            rotate(keys, self.cosine_TK, self.sine_TK),
            values,
            attn_mask=mask_B1CT,
        )
        out = attention.project_out(mixed.transpose(1, 2).flatten(2))
        return out, keys[:, :, self.chunk_frames :], values[:, :, self.chunk_frames :]


def _convolve(module: ConvolutionModule, x_BCD: Tensor, real_BC: Tensor, tail_BDP: Tensor) -> tuple[Tensor, Tensor]:
    """`ConvolutionModule.forward` of a chunk behind the last frames of the one before."""
    gated = functional.glu(module.gate(module.norm(x_BCD)), dim=2) * real_BC[:, :, None]
    joined_BDC = torch.cat([tail_BDP, gated.transpose(1, 2)], dim=2)
    spread = module.depthwise(joined_BDC).transpose(1, 2)
    out = module.project_out(functional.silu(module.batch_norm(spread, real_BC)))
    return out, joined_BDC[:, :, joined_BDC.shape[2] - tail_BDP.shape[2] :]


def join_streams(caches: Sequence[StreamCaches]) -> StreamCaches:
    """Caches of several batches of streams as those of one, in order."""
    kinds = zip(*(item.tensors for item in caches), strict=True)
    return _caches([torch.cat(kind, dim=axis) for kind, axis in zip(kinds, CACHE_STREAM_AXES, strict=True)])


def split_streams(caches: StreamCaches) -> list[StreamCaches]:
    """Caches of each stream of a batch on its own."""
    kinds = [torch.split(tensor, 1, dim=axis) for tensor, axis in zip(caches.tensors, CACHE_STREAM_AXES, strict=True)]
    return [_caches(stream) for stream in zip(*kinds, strict=True)]


def _caches(tensors: Sequence[Tensor]) -> StreamCaches:
    done_B, keys_NBHSK, values_NBHSK, tails_NBDP = tensors
    return StreamCaches(done_B=done_B, keys_NBHSK=keys_NBHSK, values_NBHSK=values_NBHSK, tails_NBDP=tails_NBDP)
