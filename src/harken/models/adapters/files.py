"""Adapters on disk: LoRA in peft's format, which peft reads and writes too; bottleneck adapters in a format of ours."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harken.core import InputError, MissingPart
from harken.core.files import replacing, write_json
from harken.models.adapters.attach import base_modules, check_free, deltas, make_delta, module_of, set_adapters
from harken.models.adapters.config import AdapterConfig, check_name, listed
from harken.models.adapters.layers import Delta, LoraDelta, attach

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BOTTLENECK_FORMAT = "harken-bottleneck-1"
_PEFT_PREFIX = "base_model.model."
_PEFT_NAMES = {"down.weight": "lora_A.weight", "up.weight": "lora_B.weight"}
# What peft can do to a LoRA adapter and this package cannot: each has to be off, or its outputs would differ.
_PEFT_EXTRAS = (
    "use_rslora", "use_dora", "use_qalora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern",
    "alpha_pattern", "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """A folder's content: the configuration, and for each module the tensors of its part."""

    config: AdapterConfig
    tensors: dict[str, dict[str, Tensor]]


def save_adapter(model: nn.Module, name: str, folder: Path | str) -> None:
    """Write one adapter to a folder: adapter_model.safetensors, then adapter_config.json. The base is not written.

    Tensor names are those of the modules in `model`. For a file that peft loads on a transformers model, pass a model
    whose modules are called as in that one.
    """
    folder = Path(folder)
    parts = {module_of(path): delta for path, delta in deltas(model, name).items()}
    lora = isinstance(next(iter(parts.values())), LoraDelta)
    tensors = {
        _file_name(module, key, lora=lora): tensor.detach().cpu().contiguous()
        for module, delta in parts.items()
        for key, tensor in delta.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    from safetensors.torch import save

    with replacing(folder / WEIGHTS) as file:
        file.write(save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, _peft_config(model, parts) if lora else _bottleneck_config(parts))


def load_adapter(model: nn.Module, folder: Path | str, name: str) -> list[str]:
    """Add a saved adapter under `name` and make it the only active one. Returns the modules it changes.

    Raises MissingPart when a file is absent, InputError when a file is damaged, asks for something unknown, or does
    not fit the model (which tensors). The model is then as it was.
    """
    try:
        check_name(name)
    except ValueError as err:
        raise InputError(f"{err}.") from err
    check_free(model, name)
    folder = Path(folder)
    saved = _read(folder)
    modules = base_modules(model)
    made: dict[str, Delta] = {}
    for module, tensors in saved.tensors.items():
        made[module] = _filled(modules.get(module), module, tensors, saved.config, source=folder / WEIGHTS)
    for module, delta in made.items():
        attach(modules[module], name, delta)
    set_adapters(model, [name])
    return list(made)


def _filled(
    module: nn.Module | None, name: str, tensors: dict[str, Tensor], config: AdapterConfig, *, source: Path
) -> Delta:
    hint = "The adapter was trained on another base model: load it on that one."
    if module is None or (config.kind == "lora" and not isinstance(module, nn.Linear)):
        what = "is not in this model" if module is None else f"is {type(module).__name__}, not a Linear layer"
        raise InputError(f"{source} does not fit: {name!r} {what}.", hint=hint)
    delta = make_delta(module, name, config)
    expected = {key: tuple(tensor.shape) for key, tensor in delta.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if expected != found:
        key = next(k for k in sorted(expected.keys() | found.keys()) if expected.get(k) != found.get(k))
        have, want = found.get(key, "absent"), expected.get(key, "no such tensor")
        raise InputError(f"{source} does not fit: {key} of {name!r} is {have} there and {want} here.", hint=hint)
    delta.load_state_dict(tensors)
    return delta


def _file_name(module: str, key: str, *, lora: bool) -> str:
    return f"{_PEFT_PREFIX}{module}.{_PEFT_NAMES[key]}" if lora else f"{module}.{key}"


def _peft_config(model: nn.Module, parts: dict[str, Delta]) -> dict[str, Any]:
    first = next(iter(parts.values()))
    assert isinstance(first, LoraDelta)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": first.down.out_features,
        "lora_alpha": first.alpha,
        "lora_dropout": first.dropout.p,
        "target_modules": _peft_targets(model, list(parts)),
        "bias": "none",
        "fan_in_fan_out": False,
    }


def _peft_targets(model: nn.Module, names: list[str]) -> list[str] | str:
    """The module names; as one regular expression where peft would take an ending for the name of another module."""
    others = [name for name in base_modules(model) if name not in names]
    if any(other.endswith(f".{name}") for other in others for name in names):
        return "|".join(re.escape(name) for name in names)
    return names


def _bottleneck_config(parts: dict[str, Delta]) -> dict[str, Any]:
    first = next(iter(parts.values()))
    return {
        "format": BOTTLENECK_FORMAT,
        "adapter_dim": first.down.out_features,
        "dropout": first.dropout.p,
        "targets": list(parts),
    }


def _read(folder: Path) -> _Saved:
    settings = _read_config(folder / CONFIG)
    config = _parse_config(settings, source=folder / CONFIG)
    tensors: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in _read_tensors(folder / WEIGHTS).items():
        module, key = _split_name(full_name, lora=config.kind == "lora")
        if not module:
            raise InputError(f"{folder / WEIGHTS} has a tensor this Harken does not know: {full_name!r}.")
        tensors.setdefault(module, {})[key] = tensor
    if not tensors:
        raise InputError(f"{folder / WEIGHTS} has no tensors.", hint="Save the adapter again.")
    return _Saved(config=config, tensors=tensors)


def _split_name(full_name: str, *, lora: bool) -> tuple[str, str]:
    """Module and tensor of a name in a file, the reverse of `_file_name`; empty for a name of another kind."""
    if not lora:
        module, *key = full_name.rsplit(".", 2)
        return (module, ".".join(key)) if len(key) == 2 else ("", "")
    for ours, theirs in _PEFT_NAMES.items():
        if full_name.startswith(_PEFT_PREFIX) and full_name.endswith(f".{theirs}"):
            return full_name.removeprefix(_PEFT_PREFIX).removesuffix(f".{theirs}"), ours
    return "", ""


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingPart(f"{path} does not exist.", hint="Give a folder that save_adapter or peft wrote.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path} is not valid JSON: {err}.", hint="Copy the folder again.") from err
    if not isinstance(data, dict):
        raise InputError(f"{path} does not describe an adapter.", hint="Copy the folder again.")
    return data


def _parse_config(data: dict[str, Any], *, source: Path) -> AdapterConfig:
    try:
        if data.get("format") == BOTTLENECK_FORMAT:
            return AdapterConfig(
                kind="bottleneck", adapter_dim=int(data["adapter_dim"]), dropout=float(data["dropout"])
            )
        if data.get("peft_type") == "LORA":
            _check_peft(data, source=source)
            return AdapterConfig(
                rank=int(data["r"]), alpha=float(data["lora_alpha"]), dropout=float(data.get("lora_dropout") or 0)
            )
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"{source} is damaged: {type(err).__name__}: {err}.", hint="Copy the folder again.") from err
    kind = data.get("peft_type") or data.get("format")
    raise InputError(f"{source} is of kind {kind!r}.", hint="Harken reads LoRA of peft, and its own bottlenecks.")


def _check_peft(data: dict[str, Any], *, source: Path) -> None:
    wanted = [key for key in _PEFT_EXTRAS if data.get(key)]
    if data.get("bias", "none") != "none":
        wanted.append("bias")
    if wanted:
        raise InputError(f"{source} uses {listed(wanted)}.", hint="Harken reads plain LoRA: merge it with peft first.")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingPart(f"{path} does not exist.", hint="Copy the adapter's folder again.")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as err:
        raise InputError(f"{path} is not readable as safetensors: {err}.", hint="Copy the file again.") from err
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{path} has values that are not finite, in {listed(broken)}.", hint="Train it again.")
    return tensors
