"""Attention on a GPU: which kernel PyTorch takes, what it keeps for the backward pass and needs while that runs.

From PyTorch's sources, aten/src/ATen/native/transformers: cuda/sdp_utils.cpp for the choice, attention.cpp for masks
and scores that are written out, cuda/attention_backward.cu, cuda/flash_attn/flash_api.cpp and
cuda/mem_eff_attention/kernel_backward.h for the backward passes. Lengths of what is kept are counted as rounded up at
most, and those of what is there for a moment not at all, so that sizes stay on a line that the growth can be told from.
What cuDNN needs while it runs is not published; it is counted as flash's.

Shapes: B batch, H heads, T queries, S keys, K width of a head.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Backend = Literal["cudnn", "flash", "efficient", "math"]
Capability = tuple[int, int]

_CUDNN_MAJORS = (9, 10)  # Hopper and data-centre Blackwell, where cuDNN's attention comes first
_CUDNN_LARGEST_HEAD = 128
_CUDNN_DROPOUT_STEPS = 16
_FLASH_LARGEST_HEAD = 256
_FLASH_LARGEST_SMALL_HEAD = 192  # trained on cards with less shared memory than an A100 has
_MASK_ALIGNMENT = 8  # of the rows of an additive mask in memory-efficient attention
_MASK_GRADIENT_ALIGNMENT = 16
_SUMS_ALIGNMENT = 32  # of the sums it keeps
_BLOCK = 64  # keys of a block in memory-efficient attention


def attention_backend(
    capability: Capability, query: Tensor, key: Tensor, *, mask: Tensor | None, dropout: float, causal: bool
) -> Backend:
    """Which attention PyTorch 2.13 takes for `query` (B, H, T, K) and `key` (B, H, S, K) on a GPU."""
    half, width = query.dtype in (torch.float16, torch.bfloat16), query.shape[3]
    if half and capability >= (8, 0):
        if capability[0] in _CUDNN_MAJORS and _cudnn_takes(query, key, mask, dropout):
            return "cudnn"
        square = query.shape[2] == key.shape[2]
        if mask is None and width <= _largest_flash_head(capability, dropout, query) and (square or not causal):
            return "flash"
    alignment = 8 if half and capability >= (7, 0) else 4 if capability >= (8, 0) else 1
    return "efficient" if width % alignment == 0 else "math"


def _cudnn_takes(query: Tensor, key: Tensor, mask: Tensor | None, dropout: float) -> bool:
    learnt = mask is not None and mask.requires_grad
    queries, width = query.shape[2:]
    return (
        not learnt
        and (dropout * _CUDNN_DROPOUT_STEPS).is_integer()
        and width % 8 == 0
        and width <= _CUDNN_LARGEST_HEAD
        and key.shape[2] > 1
        and (queries > 1 or dropout == 0)
    )


def _largest_flash_head(capability: Capability, dropout: float, query: Tensor) -> int:
    small = (8, 6) <= capability <= (8, 9) or capability >= (12, 0)
    if small and query.requires_grad and (dropout > 0 or query.shape[3] <= 224):
        return _FLASH_LARGEST_SMALL_HEAD
    return _FLASH_LARGEST_HEAD


def attend(backend: Backend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """(B, H, T, K) what `backend` makes of `query`, `key`, `value` and an additive `mask`."""
    if backend == "math":
        return _written_out(query, key, value, mask, dropout)
    width = value.shape[3]
    if backend == "flash":
        query, key, value = (_padded_heads(x) for x in (query, key, value))
    if mask is not None:
        mask = (_aligned(mask) if backend == "efficient" else mask).expand(*query.shape[:3], key.shape[2])
    out: Tensor = _FusedAttention.apply(query, key, value, mask, backend)  # type: ignore[no-untyped-call]
    return out[..., :width]


class _FusedAttention(torch.autograd.Function):
    """Keeps inputs, output and a sum for each query; the backward pass adds up queries' gradients in float32."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, backend: Backend) -> Tensor:
        batch, heads, queries, _ = query.shape
        out = query.new_empty(batch, queries, heads, value.shape[3]).transpose(1, 2)
        kept = queries + (_SUMS_ALIGNMENT - 1 if backend == "efficient" else 0)
        sums = query.new_empty(batch, heads, kept, dtype=torch.float32)
        ctx.save_for_backward(query, key, value, mask, out, sums)
        ctx.backend = backend
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, _, _ = ctx.saved_tensors
        batch, heads, queries, width = query.shape
        grads = [torch.empty_like(x) for x in (query, key, value)]
        # Of a bias that is learnt, such as relative positions.
        bias = _mask_gradient(mask) if ctx.needs_input_grad[3] else None
        exact = {"dtype": torch.float32}
        delta = query.new_empty(batch, heads, queries, **exact)
        columns = -(-width // 32) * 32 if ctx.backend == "flash" and width <= 128 else -(-width // 64) * 64
        sums = query.new_empty(batch, queries, heads, columns, **exact)
        # Wide results do not fit registers: a block of keys' and values' gradients is kept for each head.
        wide = ctx.backend == "efficient" and query.dtype == torch.float32
        blocks = query.new_empty(2, batch, heads, _BLOCK, columns, **exact) if wide else None
        del delta, sums, blocks
        return *grads, bias, None


def _written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Scores (B, H, T, S) in float32, whatever the inputs are."""
    dtype, scale = query.dtype, query.shape[-1] ** -0.25
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.float() * scale, key.float() * scale, value.float()
        scores = query @ key.transpose(-2, -1)
        if mask is not None:
            scores = scores.add_(mask)
        weights: Tensor = torch._safe_softmax(scores, -1)
        if dropout > 0:
            weights = torch.native_dropout(weights, dropout, True)[0]
        return (weights @ value).to(dtype)


def _aligned(mask: Tensor) -> Tensor:
    """Rows padded to a multiple of 8 values, of which the added ones are hidden again."""
    keys = mask.shape[-1]
    beyond = -keys % _MASK_ALIGNMENT
    return functional.pad(mask, (0, beyond))[..., :keys] if beyond else mask


def _mask_gradient(mask: Tensor) -> Tensor:
    *rows, keys = mask.shape
    return mask.new_empty(*rows, keys - keys % -_MASK_GRADIENT_ALIGNMENT)[..., :keys]


def _padded_heads(x: Tensor) -> Tensor:
    beyond = -x.shape[-1] % 8
    return functional.pad(x, (0, beyond)) if beyond else x
