"""Gradient checkpointing: repeated layers are computed again in the backward pass instead of keeping what they made.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", with a checkpoint at every layer: of a layer only its
input is kept, for one more forward pass of it. Losses and gradients are the same bits, since the layer meets the same
random numbers and buffers again.

A layer keeps its class, its names and its hooks; only how its forward() is called changes. Copies and pickles work.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from harken.core import InputError
from harken.models.family import AcousticModel


def checkpoint_layers(model: AcousticModel) -> int:
    """Turn gradient checkpointing on, in training mode only, for all layers in the model's `blocks`; returns how many.

    Layers that no gradient passes, such as those of a frozen encoder, are computed once as before. Raises InputError
    for a model that names no blocks.
    """
    layers = [layer for name in model.blocks for layer in model.get_submodule(name).children()]
    if not layers:
        raise InputError(
            f"A {type(model).__name__} cannot compute its layers again: its family names no blocks.",
            hint="Set training.gradient_checkpointing to false, or name the lists of its layers in blocks.",
        )
    for layer in layers:
        layer.forward = partial(_forward, layer)
    return len(layers)


def _forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    forward = partial(type(layer).forward, layer)
    if not (layer.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=partial(_contexts, layer), **kwargs)


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _second_pass(layer)


@contextmanager
def _second_pass(layer: nn.Module) -> Iterator[None]:
    """Copies in the place of the layer's buffers, so that running statistics do not take in a batch twice.

    Warnings are not repeated either.
    """
    owned = [
        (module, name, buffer)
        for module in layer.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    for module, name, buffer in owned:
        module._buffers[name] = buffer.clone()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for module, name, buffer in owned:
            module._buffers[name] = buffer
