"""Read a .nemo checkpoint into Harken's own model, features and tokenizer; NeMo need not be installed."""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harken.audio.features import FeatureConfig
from harken.core import InputError, Tokenizer
from harken.core.files import sha256_file
from harken.models.description import ModelDescription
from harken.models.folder import describe, save_model
from harken.models.nemo.archive import NemoArchive, open_nemo
from harken.models.nemo.config import NemoDescription, read_config
from harken.models.nemo.encoder import FAMILY, NemoConformerCtc
from harken.models.nemo.settings import NemoConformerSettings
from harken.models.nemo.tokenizer import SentencePieceTokenizer
from harken.models.nemo.weights import check_equal_biases, check_filters, check_layers, convert_state
from harken.text.closed import CharTokenizer
from harken.text.vocabulary import BLANK

_log = logging.getLogger(__name__)

_LANGUAGE = re.compile(r"stt_([a-z]{2})_")


@dataclass(frozen=True, slots=True, kw_only=True)
class NemoCheckpoint:
    """A .nemo file in memory. `model` is in evaluation mode on the CPU, the blank its id 0.

    `languages` is read from file names such as stt_hi_conformer_ctc_medium.nemo, NVIDIA's rule for naming; a .nemo
    file does not say its language elsewhere, so the list is empty for other names.
    """

    path: Path
    model: NemoConformerCtc
    settings: NemoConformerSettings
    features: FeatureConfig
    tokenizer: Tokenizer
    class_name: str
    version: str
    languages: list[str] = field(default_factory=list)


def import_nemo(path: Path | str) -> NemoCheckpoint:
    """Read a Conformer-CTC or FastConformer-CTC checkpoint, or the CTC half of a hybrid one.

    Raises InputError for a file that is no .nemo archive, for classes, modules and settings the import does not
    compute as NeMo does (each by name), and for weights or a tokenizer that do not fit the configuration.
    """
    path = Path(path)
    with open_nemo(path) as archive:
        description = read_config(archive.config(), source=str(path))
        tokenizer = _tokenizer(archive, description)
        model = _model(archive, description, tokenizer)
    _log.info("imported %s: %s of NeMo %s, %d units", path, description.class_name, description.version or "unknown",
              tokenizer.vocab_size)  # fmt: skip
    language = _LANGUAGE.match(path.name)
    return NemoCheckpoint(
        path=path,
        model=model,
        settings=description.settings,
        features=description.features,
        tokenizer=tokenizer,
        class_name=description.class_name,
        version=description.version,
        languages=[language[1]] if language else [],
    )


def convert_nemo(path: Path | str, folder: Path | str, *, normalizer: str = "none") -> ModelDescription:
    """Write the model folder of a .nemo file; returns its description. Raises what `import_nemo` raises.

    `normalizer` names the text profile the training labels went through, if it is known.
    """
    checkpoint = import_nemo(path)
    description = describe(
        checkpoint.model,
        family=FAMILY.name,
        settings=checkpoint.settings,
        features=checkpoint.features,
        tokenizer=checkpoint.tokenizer,
        normalizer=normalizer,
        languages=checkpoint.languages,
        provenance={
            "imported_from": checkpoint.path.name,
            "sha256": sha256_file(checkpoint.path),
            "nemo_class": checkpoint.class_name,
            "nemo_version": checkpoint.version,
        },
    )
    save_model(
        Path(folder),
        model=checkpoint.model,
        description=description,
        tokenizer=checkpoint.tokenizer,
        name=checkpoint.path.stem,
    )
    return description


def _tokenizer(archive: NemoArchive, description: NemoDescription) -> Tokenizer:
    source = str(archive.path)
    if not description.tokenizer:
        return _characters(description.labels, source=source)
    block: dict[str, Any] = description.tokenizer
    if block.get("type") != "bpe":
        what = "several tokenizers, one for each language" if block.get("type") == "agg" else repr(block.get("type"))
        raise InputError(
            f"{source}: its tokenizer is {what}; the import knows 'bpe' (SentencePiece) and characters.",
            hint="Transcribe with NeMo, or change the model's vocabulary there.",
        )
    name = block.get("model_path")
    if not isinstance(name, str):
        raise InputError(f"{source}: tokenizer.model_path is {name!r}.", hint="Save the model with NeMo again.")
    return SentencePieceTokenizer(archive.member(name), source=f"{source}: {name}")


def _characters(labels: list[str], *, source: str) -> CharTokenizer:
    if not labels:
        raise InputError(f"{source} has no vocabulary: neither a tokenizer nor labels.", hint="Copy the file again.")
    try:
        return CharTokenizer([BLANK, *labels])
    except InputError as err:
        raise InputError(f"{source}: its labels are not a character vocabulary: {err.message}") from err


def _model(archive: NemoArchive, description: NemoDescription, tokenizer: Tokenizer) -> NemoConformerCtc:
    source = str(archive.path)
    if description.labels and len(description.labels) + 1 != tokenizer.vocab_size:
        raise InputError(
            f"{source}: the tokenizer has {tokenizer.vocab_size - 1} units, the output layer "
            f"{len(description.labels)}.",
            hint="Save the model with NeMo again.",
        )  # fmt: skip
    state = archive.state()
    check_layers(state, description, source=source)
    with torch.device("meta"):  # shapes without memory: the configuration may ask for more than the file holds
        model = NemoConformerCtc(description.settings, description.features.dimensions, tokenizer.vocab_size)
    converted = convert_state(state, description, model.state_dict(), source=source)
    check_equal_biases(state, description, source=source)
    check_filters(state, description.features, source=source)
    model.load_state_dict(converted, assign=True)
    model.eval()
    return model
