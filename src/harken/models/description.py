"""What a model folder says about its model, read without torch: harken.json, and what the model hears and writes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Tokenizer, parse_settings
from harken.models.overview import DESCRIPTION, WEIGHTS_HASH
from harken.text.tokenize import load_tokenizer

FORMAT = 1
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
class ModelInterface:
    """What is around the weights, whatever runs them: features in, units out. `weights_sha256` is harken.json's."""

    folder: Path
    description: ModelDescription
    features: FeatureConfig
    tokenizer: Tokenizer
    weights_sha256: str | None


def read_interface(folder: Path) -> ModelInterface:
    """Everything of a model folder but the weights.

    Raises MissingPart for an absent folder or file, InputError for a tokenizer that does not fit the description.
    """
    description = read_description(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != description.vocab_size:
        raise InputError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size} units, the model {description.vocab_size}.",
            hint="Both must come from the same run: copy the model folder again.",
        )
    return ModelInterface(
        folder=folder,
        description=description,
        features=parse_settings(FeatureConfig, description.features, source=str(folder / DESCRIPTION)),
        tokenizer=tokenizer,
        weights_sha256=read_harken_json(folder).get(WEIGHTS_HASH),
    )


def read_description(folder: Path) -> ModelDescription:
    """What harken.json in a model folder says.

    Raises MissingPart when the folder is absent or is no model folder, InputError when its description is damaged or
    of a newer format.
    """
    data = dict(read_harken_json(folder))
    for key in (WEIGHTS_HASH, ADAPTERS_HASH):
        data.pop(key, None)
    return parse_settings(ModelDescription, data, source=str(folder / DESCRIPTION))


def read_harken_json(folder: Path) -> dict[str, Any]:
    """The content of harken.json as it is, hashes included. Errors are those of `read_description`."""
    path = folder / DESCRIPTION
    if not path.is_file():
        what = "does not exist"
        if folder.exists():
            what = (
                "is not a model folder: it has no harken.json" if folder.is_dir() else "is a file, not a model folder"
            )
        hint = "Give the model/ folder of a finished run."
        if (folder / "config.json").is_file():
            hint += f" A model of transformers becomes one: harken models import {folder} --out NEW; or fine-tune it."
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
