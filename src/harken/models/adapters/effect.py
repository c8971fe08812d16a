"""Proof that an adapter takes part in what a model computes, before hours are spent on training it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from harken.core import RunFailed, keyed_generator
from harken.models.adapters.attach import deltas, module_of
from harken.models.adapters.config import listed
from harken.models.adapters.layers import Delta

_PUSH = 0.1  # standard deviation of the perturbation of a zero matrix


def check_adapter_effect(model: nn.Module, name: str, run: Callable[[], Tensor]) -> float:
    """Compare the outputs of `run` (a forward pass of `model`) with the adapter on and off; the largest difference.

    A fresh adapter changes nothing, so its zero matrices are filled with small numbers for the comparison. Weights,
    buffers, active adapters, training modes and random states are afterwards bitwise what they were. Raises RunFailed
    that names the adapter when its parts are not all called, or the output does not depend on it.
    """
    parts = deltas(model, name)
    called: set[str] = set()
    with torch.no_grad(), _untouched(model, parts):
        model.eval()
        _switch(parts, active=False)
        off, again = run().clone(), run().clone()
        for path, delta in parts.items():
            if not delta.up.weight.any():
                _push(delta, path)
        _switch(parts, active=True)
        with _recorded(parts, called):
            on = run().clone()
    _check_called(name, parts, called)
    return _check_difference(name, on, off, noise=_difference(off, again))


def _check_called(name: str, parts: dict[str, Delta], called: set[str]) -> None:
    silent = [module_of(path) for path in parts if path not in called]
    if silent:
        raise RunFailed(
            f"The adapter {name!r} has no effect in {len(silent)} of {len(parts)} modules, "
            f"which the model does not call: {listed(silent)}.",
            hint="Leave them out of targets.",
        )


def _check_difference(name: str, on: Tensor, off: Tensor, *, noise: float) -> float:
    if not torch.isfinite(off).all() or not torch.isfinite(on).all():
        raise RunFailed(
            f"The effect of the adapter {name!r} cannot be checked: the model's output is not finite.",
            hint="Check the base model's weights, or use float32.",
        )
    difference = _difference(on, off)
    if difference <= noise:
        raise RunFailed(
            f"The adapter {name!r} has no effect: the output is the same with and without it.",
            hint="Name modules in targets that the output depends on.",
        )
    return difference


def _difference(first: Tensor, second: Tensor) -> float:
    """Largest absolute difference; infinite for other shapes, as of two transcripts."""
    if first.shape != second.shape:
        return float("inf")
    return float((first.double() - second.double()).abs().max()) if first.numel() else 0.0


def _push(delta: Delta, path: str) -> None:
    # Random, not constant: a constant vector vanishes in the LayerNorm that follows most blocks.
    drawn = keyed_generator("adapter effect", path).normal(0, _PUSH, tuple(delta.up.weight.shape))
    delta.up.weight.copy_(torch.from_numpy(drawn.astype(np.float32)))


def _switch(parts: dict[str, Delta], *, active: bool) -> None:
    for delta in parts.values():
        delta.active = active


@contextmanager
def _recorded(parts: dict[str, Delta], called: set[str]) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    for path, delta in parts.items():
        handles.append(delta.register_forward_hook(lambda *_, path=path: called.add(path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _untouched(model: nn.Module, parts: dict[str, Delta]) -> Iterator[None]:
    """Put back what the check changes, whatever happens in it."""
    weights = [(delta.up.weight, delta.up.weight.detach().clone()) for delta in parts.values()]
    active = [(delta, delta.active) for delta in parts.values()]
    modes = [(module, module.training) for module in model.modules()]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for weight, saved in weights:
            weight.copy_(saved)
        for delta, was in active:
            delta.active = was
        for module, mode in modes:
            module.training = mode
