"""What is trained: frozen bases, frozen parts, and a count of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from harken.core import InputError
from harken.models.adapters.attach import adapter_names, base_modules, deltas
from harken.models.adapters.config import select_names

_FROZEN = "_frozen_weights"  # attribute of a frozen module: names of the weights that were trained before


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainableReport:
    """Numbers of weights."""

    trainable: int
    total: int
    adapters: Mapping[str, int]  # weights of each adapter, trainable or not

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} weights are trained ({self.trainable / max(self.total, 1):.2%})"


def freeze_base(model: nn.Module, *, keep: Sequence[str] = ()) -> None:
    """Train the active adapters only, and the modules that `keep` names (a new output layer).

    Frozen means the weights and the running statistics of batch normalisation, which a forward pass in training would
    change without any gradient. Dropout of the base stays as the training has it. Raises InputError when nothing
    would be left to train, or a name fits no module.
    """
    if not adapter_names(model, active_only=True) and not keep:
        raise InputError("Nothing is left to train: the model has no active adapter.", hint="Add one, or name 'keep'.")
    modules = base_modules(model)
    kept = {id(part) for name in _select(keep, modules) for part in modules[name].modules()}
    for module in modules.values():
        if id(module) in kept:
            _release(module)
        else:
            _freeze(module)
    for delta in deltas(model).values():
        delta.requires_grad_(delta.active)


def freeze_modules(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Freeze the modules these names or patterns stand for, weights and running statistics; adapters in them stay.

    Returns their names. Raises InputError for a pattern that stands for nothing.
    """
    modules = base_modules(model)
    names = _select(patterns, modules)
    added = {id(part) for delta in deltas(model).values() for part in delta.modules()}
    for name in names:
        for part in modules[name].modules():
            if id(part) not in added:
                _freeze(part)
    return names


def unfreeze(model: nn.Module) -> None:
    """Undo `freeze_base` and `freeze_modules`, running statistics included; weights frozen elsewhere stay so."""
    for module in base_modules(model).values():
        _release(module)
    for delta in deltas(model).values():
        delta.requires_grad_(True)


def trainable_report(model: nn.Module) -> TrainableReport:
    """How many weights are trained, of how many, and how many each adapter has."""
    return TrainableReport(
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        total=sum(p.numel() for p in model.parameters()),
        adapters={
            name: sum(p.numel() for delta in deltas(model, name).values() for p in delta.parameters())
            for name in adapter_names(model)
        },
    )


def _select(patterns: Sequence[str], modules: Mapping[str, nn.Module]) -> list[str]:
    return select_names(patterns, [name for name in modules if name], what="module")


def _freeze(module: nn.Module) -> None:
    trained = [name for name, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
    if trained:
        # Remembered, as some weights are never trained: Whisper's table of positions.
        setattr(module, _FROZEN, trained)
    for name in trained:
        module.get_parameter(name).requires_grad_(False)
    statistics = any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))
    if statistics and stay_in_eval not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(stay_in_eval)


def _release(module: nn.Module) -> None:
    for name in getattr(module, _FROZEN, []):
        module.get_parameter(name).requires_grad_(True)
    if hasattr(module, _FROZEN):
        delattr(module, _FROZEN)
    for key in [key for key, hook in module._forward_pre_hooks.items() if hook is stay_in_eval]:
        del module._forward_pre_hooks[key]


def stay_in_eval(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Forward pre-hook of frozen normalisation: `model.train()` must not wake its running statistics."""
    module.training = False
