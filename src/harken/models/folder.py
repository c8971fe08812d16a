"""Model folders: everything needed to use a model, in one directory.

harken.json               family, settings, features, normaliser, languages, metrics, provenance
config.json               the model's settings under the name other tools look for
model.safetensors         weights
preprocessor_config.json  feature settings
adapters/<name>/          adapters that are kept apart, in peft's format where they are LoRA; the weights are the base's
vocab.json / tokenizer.json …   written by the tokenizer
README.md                 model card
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Tokenizer, dump_settings, parse_settings
from harken.core.files import sha256_file, write_json, write_text
from harken.models.adapters import adapter_names, base_state_dict, load_adapter, save_adapter, set_adapters
from harken.models.adapters.files import WEIGHTS as ADAPTER_WEIGHTS
from harken.models.card import model_card
from harken.models.description import ADAPTERS_HASH, ModelDescription, read_harken_json, read_interface
from harken.models.family import AcousticModel, count_parameters, find_family
from harken.models.overview import DESCRIPTION, WEIGHTS, WEIGHTS_HASH, check_weights

ADAPTERS = "adapters"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model folder in memory. `model` is in evaluation mode on the CPU."""

    folder: Path
    description: ModelDescription
    model: AcousticModel
    features: FeatureConfig
    tokenizer: Tokenizer


def save_model(
    folder: Path,
    *,
    model: AcousticModel,
    description: ModelDescription,
    tokenizer: Tokenizer,
    name: str | None = None,
) -> None:
    """Write a model folder. harken.json is written last, so a folder that has one is complete.

    `name` is the title of its card; None takes that of the folder around it, which is the run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    tokenizer.save(folder)
    write_hub_files = getattr(model, "write_hub_files", None)
    if write_hub_files is not None:  # a model of transformers, which reads these files itself
        write_hub_files(folder, parse_settings(FeatureConfig, description.features, source="the features"))
    else:
        write_json(folder / "config.json", config_json(description))
        write_json(folder / "preprocessor_config.json", description.features)
    write_weights(folder / WEIGHTS, model)
    shutil.rmtree(folder / ADAPTERS, ignore_errors=True)
    for adapter in description.adapters:
        save_adapter(model, adapter, folder / ADAPTERS / adapter)
    write_text(folder / "README.md", model_card(name or folder.resolve().parent.name, dump_settings(description)))
    hashes: dict[str, Any] = {WEIGHTS_HASH: sha256_file(folder / WEIGHTS)}
    if description.adapters:
        hashes[ADAPTERS_HASH] = {name: sha256_file(_adapter_weights(folder, name)) for name in description.adapters}
    write_json(folder / DESCRIPTION, dump_settings(description) | hashes)


def _adapter_weights(folder: Path, name: str) -> Path:
    return folder / ADAPTERS / name / ADAPTER_WEIGHTS


def describe(
    model: AcousticModel, *, family: str, settings: Any, features: FeatureConfig, tokenizer: Tokenizer, **more: Any
) -> ModelDescription:
    """The description of a model in memory; `more` are further fields of ModelDescription."""
    return ModelDescription(
        family=family,
        settings=dump_settings(settings),
        features=dump_settings(features),
        vocab_size=tokenizer.vocab_size,
        tokenizer=type(tokenizer).__name__,
        parameters=count_parameters(model),
        sample_rate_hz=features.sample_rate_hz,
        adapters=adapter_names(model),
        active_adapters=adapter_names(model, active_only=True),
        **more,
    )


def config_json(description: ModelDescription) -> dict[str, Any]:
    """The content of config.json: flat, with `model_type`, as the Hugging Face tools expect of any model."""
    return {
        "model_type": f"harken-{description.family}",
        "vocab_size": description.vocab_size,
        "pad_token_id": 0,
        **description.settings,
    }


def write_weights(path: Path, model: nn.Module) -> None:
    """All parameters and buffers but those of adapters as safetensors, under a temporary name until complete."""
    from safetensors.torch import save

    from harken.core.files import replacing

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in base_state_dict(model).items()}
    with replacing(path) as file:
        file.write(save(tensors, metadata={"format": "pt"}))


def load_model(folder: Path | str) -> LoadedModel:
    """Read a model folder.

    Raises MissingPart for an absent folder or file, InputError for weights or a tokenizer that do not fit the
    description, and for weights that are not those the description was written for.
    """
    folder = Path(folder)
    interface = read_interface(folder)
    description, features, tokenizer = interface.description, interface.features, interface.tokenizer
    family = find_family(description.family)
    settings = family.parse(description.settings, source=str(folder / DESCRIPTION))
    model = family.build(settings, features.dimensions, description.vocab_size)
    load_weights(folder / WEIGHTS, model)
    recorded = read_harken_json(folder)
    if interface.weights_sha256 is not None:
        check_weights(folder, interface.weights_sha256)
    for adapter in description.adapters:
        _check_adapter(folder, adapter, recorded.get(ADAPTERS_HASH, {}).get(adapter))
        load_adapter(model, folder / ADAPTERS / adapter, adapter)
    set_adapters(model, description.active_adapters)
    model.eval()
    return LoadedModel(folder=folder, description=description, model=model, features=features, tokenizer=tokenizer)


def _check_adapter(folder: Path, name: str, expected: str | None) -> None:
    """Two adapters of one base have the same tensors, so only the hash tells that one took the other's place."""
    path = _adapter_weights(folder, name)
    if expected is not None and path.is_file() and sha256_file(path) != expected:
        raise InputError(
            f"{path} is not what {DESCRIPTION} was written for: its SHA-256 is another one.",
            hint=f"Copy the model folder again; if the adapter was changed on purpose, remove {ADAPTERS_HASH}.",
        )


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill `model` from a safetensors file. Raises InputError that names the tensors that are absent or do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingPart(f"{path} does not exist.", hint="Copy the model folder again.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as err:
        raise InputError(f"{path} is not readable as safetensors: {err}.", hint="Copy the file again.") from err
    expected = model.state_dict()
    wrong = [
        name
        for name in sorted(expected.keys() | tensors.keys())
        if name not in tensors or name not in expected or tensors[name].shape != expected[name].shape
    ]
    if wrong:
        raise InputError(
            f"{path} does not fit its description: {len(wrong)} tensors differ, first {wrong[0]!r}.",
            hint="harken.json and model.safetensors must come from the same run.",
        )
    model.load_state_dict(tensors)
