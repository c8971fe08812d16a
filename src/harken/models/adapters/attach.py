"""Adapters put on a model, switched, merged and taken off, by name."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harken.core import InputError
from harken.models.adapters.config import AdapterConfig, listed, select_names
from harken.models.adapters.layers import PREFIX, BottleneckDelta, Delta, LoraDelta, attach, detach

# The repeated layers of a network, as they are called in this package, transformers and NeMo. Not conv_layers.
_BLOCK = re.compile(r"(?:.*\.)?(?:layers?|blocks)\.\d+")
# Attention that reads the weights of these layers without calling them: an adapter there would do nothing.
_UNCALLED = {"MultiheadAttention": ("out_proj",), "WavLMAttention": ("q_proj", "k_proj", "v_proj", "out_proj")}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def add_adapter(model: nn.Module, config: AdapterConfig, *, seed: int) -> list[str]:
    """Add an adapter and make it the only active one. Returns the names of the modules it changes.

    The output of the model stays what the base gives until a step of training. The same seed gives the same weights.
    Nothing is frozen: see `freeze_base`. Raises InputError when the name is taken or the targets do not fit.
    """
    check_free(model, config.name)
    modules = base_modules(model)
    names = find_targets(model, config)
    parts = {name: make_delta(modules[name], name, config) for name in names}
    for name, delta in parts.items():
        delta.initialize(seed, config.name, name)
        attach(modules[name], config.name, delta)
    set_adapters(model, [config.name])
    return names


def make_delta(module: nn.Module, name: str, config: AdapterConfig) -> Delta:
    """The part for one module, its weights not yet filled."""
    if config.kind == "lora":
        assert isinstance(module, nn.Linear)
        return LoraDelta(module, rank=config.rank, alpha=config.alpha, dropout=config.dropout)
    width = output_width(module)
    weight = next(module.parameters(), None)
    if width is None or weight is None:
        raise InputError(
            f"The output width of {name!r} ({type(module).__name__}) is not known.",
            hint="Name modules with a LayerNorm, or Linear layers, in targets.",
        )
    return BottleneckDelta(width=width, adapter_dim=config.adapter_dim, dropout=config.dropout, weight=weight)


def output_width(module: nn.Module) -> int | None:
    """Width of what a block gives: that of its last LayerNorm; of a Linear layer, its outputs."""
    if isinstance(module, nn.Linear):
        return module.out_features
    norms = [part for part in module.modules() if isinstance(part, nn.LayerNorm)]
    return int(norms[-1].normalized_shape[-1]) if norms else None


def find_targets(model: nn.Module, config: AdapterConfig) -> list[str]:
    """Names of the modules an adapter of this configuration changes. Raises InputError when there are none."""
    modules = base_modules(model)
    blocks = [name for name in modules if _BLOCK.fullmatch(name)]
    if config.kind == "bottleneck":
        fitting = [name for name, module in modules.items() if name and not isinstance(module, _CONTAINERS)]
        default = [name for name in blocks if not isinstance(modules[name], _CONTAINERS)]
    else:
        fitting = usable_linears(model)
        default = [name for name in fitting if any(name.startswith(f"{block}.") for block in blocks)]
    what = "Linear layer" if config.kind == "lora" else "module"
    if config.targets:
        return select_names(config.targets, fitting, what=what)
    if not default:
        raise InputError(
            f"{type(model).__name__} has no {what} in blocks called layers.0, layers.1, and so on.",
            hint=f"Name the modules in targets; there are: {listed(fitting)}.",
        )
    return default


def usable_linears(model: nn.Module) -> list[str]:
    """Names of the Linear layers that are called when the model runs."""
    modules = base_modules(model)
    uncalled = {
        f"{name}.{part}" for name, module in modules.items() for part in _UNCALLED.get(type(module).__name__, ())
    }
    return [name for name, module in modules.items() if isinstance(module, nn.Linear) and name and name not in uncalled]


def base_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model by name, without its adapters."""
    added = {id(part) for module in model.modules() if isinstance(module, Delta) for part in module.modules()}
    return {name: module for name, module in model.named_modules() if id(module) not in added}


def deltas(model: nn.Module, name: str | None = None) -> dict[str, Delta]:
    """The parts of an adapter (of all adapters: None) by full name. Raises InputError for an unknown adapter."""
    every = {path: module for path, module in model.named_modules() if isinstance(module, Delta)}
    if name is None:
        return every
    found = {path: delta for path, delta in every.items() if adapter_of(path) == name}
    if not found:
        known = listed(adapter_names(model))
        raise InputError(f"The model has no adapter called {name!r}.", hint=f"There are: {known}.")
    return found


def adapter_of(path: str) -> str:
    """The adapter's name in a part's full name."""
    return path.rpartition(".")[2].removeprefix(PREFIX)


def module_of(path: str) -> str:
    """The name of the module that a part changes."""
    return path.rpartition(".")[0]


def adapter_names(model: nn.Module, *, active_only: bool = False) -> list[str]:
    """Names of a model's adapters, in the order in which they were added to its first module."""
    found = {adapter_of(path): None for path, delta in deltas(model).items() if delta.active or not active_only}
    return list(found)


def check_free(model: nn.Module, name: str) -> None:
    if name in adapter_names(model):
        raise InputError(f"The model already has an adapter called {name!r}.", hint="Remove it or use another name.")


def set_adapters(model: nn.Module, names: Sequence[str] | None) -> None:
    """Make these adapters active and all others not; None or no names leaves the base alone.

    What is trainable stays as it was. Raises InputError for an unknown adapter.
    """
    wanted = set(names or ())
    for name in sorted(wanted):
        deltas(model, name)
    for path, delta in deltas(model).items():
        delta.active = adapter_of(path) in wanted


def remove_adapter(model: nn.Module, name: str) -> None:
    """Take an adapter off; the others and the base stay as they are."""
    modules = base_modules(model)
    for path in deltas(model, name):
        detach(modules[module_of(path)], name)


def merge_adapter(model: nn.Module, name: str) -> None:
    """Add a LoRA adapter to the base's weights and take it off: the same outputs as with it active, at the base's cost.

    Raises InputError for a bottleneck adapter, which is no linear map, and for weights that other modules share.
    """
    modules = base_modules(model)
    parts = deltas(model, name)
    for path, delta in parts.items():
        if not isinstance(delta, LoraDelta):
            raise InputError(
                f"The adapter {name!r} is a bottleneck, which cannot be merged: it is not linear.",
                hint="Keep it beside the base, or train a LoRA adapter.",
            )
        _check_unshared(modules, module_of(path))
    for path, delta in parts.items():
        linear = modules[module_of(path)]
        assert isinstance(linear, nn.Linear)
        assert isinstance(delta, LoraDelta)
        with torch.no_grad():
            linear.weight.copy_(linear.weight.double() + delta.weight_update())
        detach(linear, name)


def _check_unshared(modules: dict[str, nn.Module], name: str) -> None:
    weight = modules[name].weight
    users = [other for other, module in modules.items() if any(p is weight for p in module._parameters.values())]
    if len(users) > 1:
        raise InputError(
            f"The weight of {name!r} is shared by {listed(users)}; merging would change them all.",
            hint="Keep the adapter beside the base.",
        )


def base_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors without those of adapters, under the names they have without adapters."""
    prefixes = tuple(f"{path}." for path in deltas(model))
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(prefixes)}
