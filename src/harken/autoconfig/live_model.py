"""A model that is in memory already, as the planner sees it: its shape, and what of it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harken.core import InputError

if TYPE_CHECKING:
    from harken.autoconfig.model import PlannedModel, TrainedParts
    from harken.models.variants import Variant

_WRAPPED = ".base_layer"  # peft's name for the layer an adapter of its own is put around
_SAVED, _ORIGINAL = "modules_to_save", "original_module"  # and for a module that is trained whole beside an adapter
_HINT = (
    "Pass a WhisperForConditionalGeneration, a Wav2Vec2ForCTC, HubertForCTC or WavLMForCTC, or the name or folder of a "
    "model."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lora:
    rank: int
    alpha: float
    dropout: float


def planned_from(model: object) -> "PlannedModel":
    """The planner's view of a transformers model, with peft's LoRA or without, or of one that Harken loaded.

    Weights that do not require gradients count as frozen where they make up whole modules, and as trained otherwise:
    the plan then errs on the safe side. Weights are taken as float32, as a training that starts from them keeps them.
    Raises InputError for other objects, other kinds of models and adapters, and where nothing is trained.
    """
    from torch import nn

    from harken.autoconfig.model import planned_model
    from harken.models.pretrained import PretrainedParts

    if isinstance(model, PretrainedParts):
        model = model.model
    if not isinstance(model, nn.Module):
        raise InputError(f"A model of the type {type(model).__name__} cannot be planned for.", hint=_HINT)
    unwrap = getattr(model, "get_base_model", None)
    base: Any = model if unwrap is None else unwrap()
    variant = _variant_of(base)
    units = int(base.config.vocab_size)
    whole = planned_model(variant, units=units)
    trained_at_most = {name for name, p in whole.build().named_parameters() if p.requires_grad}
    parts = _trained_parts(base, trained_at_most)
    return planned_model(variant, parts=parts, units=units)


def _variant_of(base: Any) -> "Variant":
    from harken.models.pretrained import FAMILIES, config_settings
    from harken.models.variants import WHISPER, Variant

    config: Any = getattr(base, "config", None)
    kind = getattr(config, "model_type", None)
    family = FAMILIES.get(kind or "")
    has_output = hasattr(base, "lm_head") or (family == WHISPER and hasattr(base, "model"))
    if family is None or not has_output:
        what = f"{type(base).__name__} (model_type {kind})" if kind else type(base).__name__
        raise InputError(f"{what} is no model that Harken can plan for.", hint=_HINT)
    if getattr(base, "is_quantized", False):
        raise InputError(
            "The model's weights are quantised, which the prediction of memory does not know.",
            hint="Load it without quantization_config.",
        )
    return Variant(
        name=getattr(base, "name_or_path", "") or type(base).__name__,
        hub_id=None,
        family=family,
        config=config_settings(config),
        dimensions=int(config.num_mel_bins) if family == WHISPER else 1,
    )


def _trained_parts(base: Any, trained_at_most: set[str]) -> "TrainedParts":
    from harken.autoconfig.model import TrainedParts
    from harken.models.adapters import AdapterConfig

    layers = _lora_layers(base)
    trains = _trained_weights(base)
    if not (layers or any(trains[name] for name in trains if name in trained_at_most)):
        raise InputError("Nothing of the model is trained.", hint="Leave some weights with requires_grad, or add LoRA.")
    if not layers:
        frozen = whole_modules({name: not (trains[name] and name in trained_at_most) for name in trains})
        froze = tuple(name for name in frozen if any(_inside(weight, name) for weight in trained_at_most))
        return TrainedParts(way="frozen-encoder" if froze else "full", freeze=froze)
    lora = _one_of(layers)
    adapter = AdapterConfig(targets=tuple(layers), rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)
    return TrainedParts(way="lora", adapter=adapter, keep=tuple(whole_modules(trains)))


def whole_modules(flags: Mapping[str, bool]) -> list[str]:
    """Names of the largest modules all of whose weights, by their full names, carry a true flag; in order.

    The whole model is never one of them: what is asked for are its parts.
    """
    modules: dict[str, bool] = {}
    for weight, flag in flags.items():
        module = weight
        while "." in module:
            module = module.rpartition(".")[0]
            modules[module] = modules.get(module, True) and flag
    largest = [name for name, every in modules.items() if every and not modules.get(name.rpartition(".")[0], False)]
    return sorted(largest)


def _inside(weight: str, module: str) -> bool:
    return weight.startswith(f"{module}.")


def _trained_weights(base: Any) -> dict[str, bool]:
    """Whether each weight of the base is trained, under the name it has without adapters, whose own are left out."""
    from harken.models.adapters.layers import PREFIX

    trains: dict[str, bool] = {}
    for path, weight in base.named_parameters():
        steps = path.replace(_WRAPPED, "").split(".")
        if _ORIGINAL in steps or any(step.startswith((PREFIX, "lora_")) for step in steps):
            continue
        if _SAVED in steps:  # followed by the adapter's name
            place = steps.index(_SAVED)
            steps = steps[:place] + steps[place + 2 :]
        trains[".".join(steps)] = bool(weight.requires_grad)
    return trains


def _lora_layers(base: Any) -> dict[str, _Lora]:
    """The LoRA of each layer that has an active one. Raises InputError for adapters of other kinds."""
    from harken.models.adapters.attach import deltas, module_of
    from harken.models.adapters.layers import LoraDelta

    found = {}
    for path, delta in deltas(base).items():
        if delta.active and not isinstance(delta, LoraDelta):
            raise InputError(
                f"{module_of(path)} has a bottleneck adapter, and is planned for as a live model with LoRA only.",
                hint="Plan for the base model, with an adapter in TrainedParts.",
            )
        if delta.active:
            rank, alpha, dropout = delta.down.out_features, float(str(delta.alpha)), delta.dropout.p
            found[module_of(path)] = _Lora(rank=rank, alpha=alpha, dropout=dropout)
    _check_peft(getattr(base, "peft_config", None) or {})
    module: Any
    for path, module in base.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        names = [name for name in module.active_adapters if name in module.lora_A]
        if len(names) > 1:
            raise InputError(f"{path} has {len(names)} active adapters.", hint="Activate the one that is trained.")
        for name in names:
            dropout = float(getattr(module.lora_dropout[name], "p", 0.0))
            found[path] = _Lora(rank=int(module.r[name]), alpha=float(module.lora_alpha[name]), dropout=dropout)
    return found


def _check_peft(configs: Mapping[str, Any]) -> None:
    """Refuse what Harken's LoRA has no counterpart of."""
    for name, config in configs.items():
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if kind != "LORA":
            raise InputError(f"The adapter {name!r} is of the kind {kind}.", hint="Use LoRA, which can be planned for.")
        for setting, plain in (("use_dora", False), ("bias", "none"), ("lora_bias", False)):
            value = getattr(config, setting, plain)
            if value != plain:
                raise InputError(
                    f"The adapter {name!r} has {setting}={value!r}, which the prediction of memory does not know.",
                    hint=f"Leave {setting} at {plain!r}.",
                )


def _one_of(layers: Mapping[str, _Lora]) -> _Lora:
    """What all layers share; the largest rank where they differ, so that the plan errs on the safe side."""
    return max(layers.values(), key=lambda lora: (lora.rank, lora.dropout > 0, lora.dropout, lora.alpha))
