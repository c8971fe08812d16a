"""What a CPU's kernels need beside their results, for a moment.

Measured with PyTorch's profiler (torch 2.13, oneDNN 3, AVX-512): oneDNN's convolutions copy what they read and write
into blocked layouts and back (aten/src/ATen/native/mkldnn/Conv.cpp), pointwise kernels copy an operand that is not of
the result's type (TensorIterator.cpp), and the mean of a half-precision tensor is taken of a float32 copy. Copies of
weights are left out: they are small. On a GPU, kernels convert while they read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Bytes of temporary storages, in groups that are there at the same time, one group after the other.

    `before` are those that are gone when the result is allocated, `beside` those that come with or after it.
    """

    before: Sequence[Sequence[int]] = ()
    beside: Sequence[Sequence[int]] = ()


def cpu_scratch(func: Any, args: Any, out: Any) -> Scratch:
    """Of the kernel `func` with these arguments and this result."""
    rule = _RULES.get(func)
    return Scratch() if rule is None else rule(args, out)


def _pointwise(args: Any, out: Tensor) -> Scratch:
    operands = [x for x in args[:2] if isinstance(x, Tensor) and x.dim() > 0]
    common = torch.result_type(*args[:2])
    casts = [x.numel() * common.itemsize for x in operands if x.dtype != common]
    return Scratch(beside=[casts] if casts else ())


def _mean(args: Any, out: Tensor) -> Scratch:
    if args[0].dtype not in _HALVES:
        return Scratch()
    return Scratch(beside=[(4 * out.numel(), 4 * args[0].numel())])


def _convolution(args: Any, out: Tensor) -> Scratch:
    return Scratch(before=[(_blocked(args[0]), _bytes(out))], beside=[_copies(out)])


def _convolution_backward(args: Any, out: Sequence[Tensor | None]) -> Scratch:
    gradient, weights = _bytes(args[0]), (_bytes(args[0]), _blocked(args[1]))
    if out[0] is None:
        return Scratch(beside=[weights])
    return Scratch(before=[(gradient, _bytes(out[0]))], beside=[_copies(out[0]), weights])


def _copies(out: Tensor) -> tuple[int, ...]:
    """What a result is copied from; one of half precision is copied twice."""
    return (_bytes(out),) * (2 if out.dtype in _HALVES else 1)


def _blocked(x: Tensor) -> int:
    """Bytes of a copy in blocks of channels; a single channel needs none."""
    return _bytes(x) if x.shape[1] > 1 else 0


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


_RULES: dict[Any, Callable[[Any, Any], Scratch]] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.mean.dim: _mean,
    _aten.mean.default: _mean,
}
_RULES |= {
    operation: _pointwise
    for packet in (_aten.mul, _aten.add, _aten.sub, _aten.div, _aten.mul_, _aten.add_, _aten.sub_, _aten.div_)
    for operation in (packet.Tensor,)
}
