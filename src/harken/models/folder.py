"""Model folders: everything needed to use a model, in one directory.

harken.json               family, settings, features, normaliser, languages, metrics, provenance
config.json               the model's settings under the name other tools look for
model.safetensors         weights
preprocessor_config.json  feature settings
adapters/<name>/          adapters that are kept apart, in peft's format where they are LoRA; the weights are the base's
vocab.json / tokenizer.json …   written by the tokenizer
README.md                 model card
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Tokenizer, dump_settings, parse_settings
from harken.core.files import sha256_file, write_json, write_text
from harken.models.adapters import adapter_names, base_state_dict, load_adapter, save_adapter, set_adapters
from harken.models.adapters.files import WEIGHTS as ADAPTER_WEIGHTS
from harken.models.card import model_card
from harken.models.family import AcousticModel, count_parameters, find_family
from harken.models.overview import DESCRIPTION, WEIGHTS, WEIGHTS_HASH, check_weights
from harken.text.tokenize import load_tokenizer

FORMAT = 1
ADAPTERS = "adapters"
ADAPTERS_HASH = "adapters_sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What harken.json says: identity and settings of a model, without its weights.

    `normalizer` is the text profile the training labels went through; `metrics` the figures of its last evaluation;
    `provenance` the run it came from and the hashes of what it was trained on. `adapters` are those kept apart from the
    weights, `active_adapters` those of them that the metrics are about and that loading switches on.
    """

    family: str
    settings: dict[str, Any]
    features: dict[str, Any]
    vocab_size: int
    tokenizer: str
    normalizer: str
    parameters: int
    languages: list[str] = field(default_factory=list)
    sample_rate_hz: int = 16_000
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    adapters: list[str] = field(default_factory=list)
    active_adapters: list[str] = field(default_factory=list)
    format: int = FORMAT


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


def read_description(folder: Path) -> ModelDescription:
    """What harken.json in a model folder says.

    Raises MissingPart when the folder is absent or is no model folder, InputError when its description is damaged or
    of a newer format.
    """
    data = dict(_read_harken_json(folder))
    for key in (WEIGHTS_HASH, ADAPTERS_HASH):
        data.pop(key, None)
    return parse_settings(ModelDescription, data, source=str(folder / DESCRIPTION))


def _read_harken_json(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        what = "does not exist"
        if folder.exists():
            what = (
                "is not a model folder: it has no harken.json" if folder.is_dir() else "is a file, not a model folder"
            )
        hint = "Give the model/ folder of a finished run."
        if (folder / "config.json").is_file():
            hint += " A model of transformers is fine-tuned first: name it as model.pretrained in a recipe."
        raise MissingPart(f"{folder} {what}.", hint=hint)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path} is not valid JSON: {err}.", hint="Copy the model folder again.") from err
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(data, dict) or type(found) is not int:
        raise InputError(f"{path} does not describe a model: it has no format.", hint="Copy the model folder again.")
    if found != FORMAT:
        raise InputError(f"{path} has format {found}; this Harken reads {FORMAT}.", hint="Update Harken.")
    return data


def load_model(folder: Path | str) -> LoadedModel:
    """Read a model folder.

    Raises MissingPart for an absent folder or file, InputError for weights or a tokenizer that do not fit the
    description, and for weights that are not those the description was written for.
    """
    folder = Path(folder)
    description = read_description(folder)
    source = str(folder / DESCRIPTION)
    features = parse_settings(FeatureConfig, description.features, source=source)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != description.vocab_size:
        raise InputError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size} units, the model {description.vocab_size}.",
            hint="Both must come from the same run: copy the model folder again.",
        )
    family = find_family(description.family)
    settings = family.parse(description.settings, source=source)
    model = family.build(settings, features.dimensions, description.vocab_size)
    load_weights(folder / WEIGHTS, model)
    recorded = _read_harken_json(folder)
    if WEIGHTS_HASH in recorded:
        check_weights(folder, str(recorded[WEIGHTS_HASH]))
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
