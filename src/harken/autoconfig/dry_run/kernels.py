"""The kernels of the device a step is planned for, where fake tensors on a CPU would take others.

What each of them keeps for the backward pass and needs while it runs, from PyTorch's sources (aten/src/ATen/native:
Dropout.cpp, LossCTC.cpp, cudnn/RNN.cpp; autocast_mode.h for the operations that CUDA's autocast computes in float32).
The tensors are allocated, nothing is computed.

Shapes: B batch, T frames, I inputs and U units of a recurrent layer, V vocab, L label positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from harken.autoconfig.dry_run.attention import attend, attention_backend
from harken.autoconfig.dry_run.tracker import AllocationTracker

KERNEL_GENERATIONS = ((0, 0), (7, 0), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0))
"""Compute capabilities from which on PyTorch takes other kernels for attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The device a step is followed for. `capability` is CUDA's compute capability, None on a CPU."""

    device: Literal["cuda", "cpu"]
    capability: tuple[int, int] | None = None


class TargetKernels(TorchFunctionMode):
    """Puts the target's kernels in the place of the CPU's while it is active."""

    def __init__(self, target: Target, tracker: AllocationTracker) -> None:
        super().__init__()
        self._target = target
        self._tracker = tracker
        self._replaced: dict[Any, Callable[..., Any]] = {functional.ctc_loss: self._ctc_loss, torch.lstm: self._lstm}
        if target.device == "cuda":
            self._replaced |= {
                functional.dropout: _dropout,
                functional.scaled_dot_product_attention: self._attention,
                functional.layer_norm: _in_float32(functional.layer_norm),
                functional.group_norm: _in_float32(functional.group_norm),
                functional.softmax: _to_float32(functional.softmax),
                functional.log_softmax: _to_float32(functional.log_softmax),
                Tensor.softmax: _to_float32(Tensor.softmax),
                Tensor.log_softmax: _to_float32(Tensor.log_softmax),
            }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kernel = self._replaced.get(func, func)
        return kernel(*args, **(kwargs or {}))

    def _ctc_loss(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, **options: Any
    ) -> Tensor:
        losses: Tensor = _Ctc.apply(log_probs, targets.shape[1])  # type: ignore[no-untyped-call]
        return losses

    def _lstm(
        self, x: Tensor, hidden: Any, weights: list[Tensor], has_biases: bool, layers: int, dropout: float,
        training: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        by_frame = x.transpose(0, 1).contiguous()  # there until the layer is done, whatever it is lowered to
        x, weights = _lower(by_frame), [_lower(weight) for weight in weights]
        inputs, units = x.shape[2], weights[1].shape[1]
        kept = _lstm_bytes(self._target.device, inputs, units, x.element_size()) if torch.is_grad_enabled() else 0
        y: Tensor = _Lstm.apply(x, kept, *weights)  # type: ignore[no-untyped-call]
        self._tracker.add_flops(3 * 2 * x.shape[0] * x.shape[1] * 4 * units * (inputs + units))
        return y.transpose(0, 1), *hidden

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **options: Any,
    ) -> Tensor:
        query, key, value = (_lower(x) for x in (query, key, value))
        mask = _additive(attn_mask, query)
        backend = attention_backend(
            self._target.capability or (8, 0), query, key, mask=mask, dropout=dropout_p, causal=is_causal
        )
        if backend != "math":
            work = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] * query.shape[3]
            self._tracker.add_flops((2 + 5) * work // (2 if is_causal else 1))  # 2 products, and 5 in the backward pass
        elif is_causal:
            mask = query.new_empty(query.shape[2], key.shape[2])
        return attend(backend, query, key, value, mask, dropout_p)


class _Ctc(torch.autograd.Function):
    """Keeps the forward variables of 2 L + 1 states; the backward pass has as many again beside its gradient."""

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, longest: int) -> Tensor:
        frames, batch, _ = log_probs.shape
        alpha = log_probs.new_empty(batch, frames, 2 * longest + 1)
        ctx.save_for_backward(log_probs, alpha)
        return log_probs.new_empty(batch)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, alpha = ctx.saved_tensors
        beta = torch.empty_like(alpha)
        grad = torch.empty_like(log_probs)
        del beta
        return grad, None


class _Lstm(torch.autograd.Function):
    """One layer, one direction, (T, B, I) in and (T, B, U) out. `kept` are the bytes kept for each frame of a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: int, *weights: Tensor) -> Tensor:
        y = x.new_empty(*x.shape[:2], weights[1].shape[1])
        workspace = x.new_empty(*x.shape[:2], kept, dtype=torch.uint8)
        ctx.save_for_backward(x, workspace, y, *weights)
        _use_lstm_scratch(x, weights)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, _, _, *weights = ctx.saved_tensors
        gradient = gradient.contiguous()
        grads = [torch.empty_like(t) for t in (x, *weights)]
        _use_lstm_scratch(x, weights)
        return grads[0], None, *grads[1:]


def _use_lstm_scratch(x: Tensor, weights: Sequence[Tensor]) -> None:
    """Gates, and the matrices in another layout."""
    gates = x.new_empty(*x.shape[:2], weights[1].shape[0])
    matrices = [torch.empty_like(weight) for weight in weights[:2]]
    del gates, matrices


def _lstm_bytes(device: str, inputs: int, units: int, itemsize: int) -> int:
    """Bytes that an LSTM keeps for each frame of a row besides inputs and outputs.

    cuDNN: four gates, the cell and its output. oneDNN's workspace, measured with the profiler (torch 2.13, AVX-512, 13
    shapes from 1 x 100 to 8 x 500 frames, 32 to 160 units): 24 bytes per input and 36 per unit in float32, 20 and 22 in
    bf16, within 1 % where there are twice as many inputs as units, and up to 4 % more elsewhere.
    """
    if device == "cuda":
        return 6 * units * itemsize
    return 24 * inputs + 36 * units if itemsize == 4 else 20 * inputs + 22 * units


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """CUDA's: a byte for each value says whether it is kept."""
    if not training or p == 0:
        return x
    return torch.native_dropout(x, p, True)[0]


def _in_float32(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def kernel(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return norm(x.float() if torch.is_autocast_enabled("cpu") else x, *args, **kwargs)

    return kernel


def _to_float32(softmax: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def kernel(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if torch.is_autocast_enabled("cpu") and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        return softmax(x, *args, **kwargs)

    return kernel


def _lower(x: Tensor) -> Tensor:
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x


def _additive(mask: Tensor | None, query: Tensor) -> Tensor | None:
    if mask is None or mask.dtype != torch.bool:
        return None if mask is None else mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
