"""Dropout (Srivastava et al. 2014) with cheaper chance than PyTorch's on a CPU.

PyTorch draws a Bernoulli number for each value, which takes longer than most layers do. Here 16 bits decide about
each, from NumPy's SFC64, seeded from PyTorch's generator: the same seed gives the same values left out.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harken.models.kernels import is_dry_run, kernel_device

_STEPS = 1 << 16


class FastDropout(nn.Dropout):
    """Drop-in for nn.Dropout; the probability is rounded to 1/65536. On other devices than a CPU it is nn.Dropout."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        if not self.training or self.p == 0 or kernel_device(input) != "cpu":
            return super().forward(input)
        dropped: Tensor = _Dropout.apply(input, self.p)  # type: ignore[no-untyped-call]
        return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        left_out = min(round(probability * _STEPS), _STEPS - 1)
        kept = _draws(x.numel()).view(x.shape) >= left_out - _STEPS // 2
        ctx.save_for_backward(kept)
        ctx.scale = _STEPS / (_STEPS - left_out)
        return torch.mul(x, kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.mul(gradient, kept).mul_(ctx.scale), None


def _draws(count: int) -> Tensor:
    """(count,) uniform int16 numbers."""
    if is_dry_run():
        return torch.empty(-(-count // 4) * 4, dtype=torch.int16)[:count]
    generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ()))))
    words = generator.integers(0, 2**64 - 1, size=-(-count // 4), dtype=np.uint64, endpoint=True)
    return torch.from_numpy(words.view(np.int16))[:count]


def use_fast_dropout(model: nn.Module) -> None:
    """Put FastDropout in the place of every nn.Dropout of a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, FastDropout(child.p))
