"""The small parts themselves, and the hooks through which the base model's modules use them.

An adapter is a child module of the module it changes, called `adapter_NAME`, and a forward hook adds its effect. The
base's tensors therefore keep their names, with or without adapters: a checkpoint of the base loads as before. (peft
wraps the layers, which renames their weights to `base_layer`.) The hooks are plain functions without state, so copies
and pickles of a model work.

Shapes: D width of the input, R rank or hidden width, E width of the output; leading dimensions are free.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harken.core import RunFailed, keyed_generator

PREFIX = "adapter_"


class Delta(nn.Module):
    """Base of the parts: `down` to a few dimensions, `up` again; `up` starts at zero, so that the start is the base."""

    down: nn.Linear
    up: nn.Linear

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.active = True
        self.dropout = nn.Dropout(dropout)

    def initialize(self, *keys: int | str) -> None:
        """Weights that are a function of the keys alone; the global generators are not touched."""
        bound = 1 / np.sqrt(self.down.in_features)  # Kaiming's uniform with a = sqrt(5), as in peft
        drawn = keyed_generator("adapter", *keys).uniform(-bound, bound, tuple(self.down.weight.shape))
        with torch.no_grad():
            self.down.weight.copy_(torch.from_numpy(drawn.astype(np.float32)))
            for tensor in (self.down.bias, self.up.weight, self.up.bias):
                if tensor is not None:
                    tensor.zero_()


class LoraDelta(Delta):
    """x -> alpha / rank * up(down(dropout(x))), to be added to a Linear layer's output."""

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(dropout=dropout)
        self.alpha = alpha
        like = _like(linear.weight)
        self.down = _empty_linear(linear.in_features, rank, bias=False, **like)
        self.up = _empty_linear(rank, linear.out_features, bias=False, **like)

    @property
    def scale(self) -> float:
        return self.alpha / self.down.out_features

    def forward(self, x_D: Tensor) -> Tensor:
        out_E: Tensor = self.up(self.down(self.dropout(x_D.to(self.down.weight.dtype)))) * self.scale
        return out_E

    def weight_update(self) -> Tensor:
        """(E, D) float64: what the adapter adds to the layer's weight."""
        return self.up.weight.double() @ self.down.weight.double() * self.scale


class BottleneckDelta(Delta):
    """x -> up(dropout(gelu(down(LayerNorm(x))))), to be added to a block's output of the same width."""

    def __init__(self, *, width: int, adapter_dim: int, dropout: float, weight: Tensor) -> None:
        super().__init__(dropout=dropout)
        like = _like(weight)
        self.norm = nn.LayerNorm(width, **like)
        self.down = _empty_linear(width, adapter_dim, bias=True, **like)
        self.up = _empty_linear(adapter_dim, width, bias=True, **like)

    def forward(self, x_D: Tensor) -> Tensor:
        if x_D.shape[-1] != self.down.in_features:
            raise RunFailed(
                f"A bottleneck adapter of width {self.down.in_features} got an output of width {x_D.shape[-1]}.",
                hint="Name other modules in targets: those whose output is as wide as their LayerNorm.",
            )
        hidden_R = functional.gelu(self.down(self.norm(x_D.to(self.down.weight.dtype))))
        out_D: Tensor = self.up(self.dropout(hidden_R))
        return out_D


def _like(weight: Tensor) -> dict[str, Any]:
    """Device and type for an adapter beside `weight`: float32 beside half precision, whose small updates get lost."""
    half = weight.dtype in (torch.float16, torch.bfloat16)
    return {"device": weight.device, "dtype": torch.float32 if half else weight.dtype}


def _empty_linear(inputs: int, outputs: int, *, bias: bool, **like: Any) -> nn.Linear:
    """A Linear layer whose construction draws no random numbers; its weights are filled afterwards."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=like["dtype"])
    return layer.to_empty(device=like["device"])


def attach(module: nn.Module, name: str, delta: Delta) -> None:
    """Make `delta` a child of `module` that changes its output."""
    delta.train(module.training)
    module.add_module(PREFIX + name, delta)
    hook = add_to_linear if isinstance(delta, LoraDelta) else add_to_block
    if hook not in module._forward_hooks.values():
        module.register_forward_hook(hook)


def detach(module: nn.Module, name: str) -> None:
    """Undo `attach`; the module is as before it."""
    delattr(module, PREFIX + name)
    left = list(module.children())
    for hook, kind in ((add_to_linear, LoraDelta), (add_to_block, BottleneckDelta)):
        if not any(isinstance(child, kind) for child in left):
            # By value: a RemovableHandle does not survive a copy of the model.
            for key in [key for key, found in module._forward_hooks.items() if found is hook]:
                del module._forward_hooks[key]


def add_to_linear(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """Forward hook: the layer's output plus that of its active LoRA parts."""
    for child in module.children():
        if isinstance(child, LoraDelta) and child.active:
            output = output + child(inputs[0]).to(output.dtype)
    return output


def add_to_block(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """Forward hook: the block's output (the first one, if it is a tuple) through its active bottleneck parts."""
    for child in module.children():
        if isinstance(child, BottleneckDelta) and child.active:
            if isinstance(output, tuple):
                output = (output[0] + child(output[0]).to(output[0].dtype), *output[1:])
            else:
                output = output + child(output).to(output.dtype)
    return output
