"""What all tokenizers share: settings, the error for unknown units, and the files they are kept in."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart, Strict
from harken.core.files import write_json

BLANK = "<pad>"
"""Name of unit 0, the CTC blank; the padding token plays this role in Hugging Face's CTC models."""

CONFIG_FILE = "tokenizer_config.json"
VOCABULARY_FILE = "vocab.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig(Strict):
    """Which tokenizer to train.

    `kind` is "char", "bpe", "word", or the name of an installed plugin of the group `harken.tokenizers`. `size` is
    the largest number of units, the blank not counted: for "bpe" None means 500, for "word" None means all words.
    """

    kind: str = "char"
    size: int | None = None

    def __post_init__(self) -> None:
        if not self.kind:
            raise ValueError("kind is empty; use char, bpe or word")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is {self.size}; use the number of units, 1 or more")
        if self.size is not None and self.kind == "char":
            raise ValueError(f"size is {self.size}; leave it out for kind char, which takes every character")


class UnknownUnitError(InputError):
    """A text holds a unit (character or word) the tokenizer does not know.

    `unit` is that unit, `text` the text it stands in.
    """

    def __init__(self, unit: str, text: str) -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(
            f"{describe_unit(unit)} is not in the tokenizer's vocabulary; it stands in {shown!r}.",
            hint="Normalise the text, leave the utterance out, or train the tokenizer on texts that hold it.",
        )
        self.unit = unit
        self.text = text


def describe_unit(unit: str) -> str:
    """A unit for people: "z (U+007A)", or a word in quotes."""
    if len(unit) == 1:
        shown = unit if unit.isprintable() and not unicodedata.combining(unit) else repr(unit)
        return f"{shown} (U+{ord(unit):04X})"
    return repr(unit)


def clean_text(text: str) -> str:
    """NFC, words joined by single spaces: the form in which all tokenizers read text."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Raise ValueError when an id is the blank or outside the vocabulary."""
    for id_ in ids:
        if not 0 < id_ < vocab_size:
            what = "the blank; collapse the CTC output first" if id_ == 0 else f"outside 1..{vocab_size - 1}"
            raise ValueError(f"id {id_} is {what}")


def write_config(folder: Path, *, kind: str, tokenizer_class: str, **fields: Any) -> None:
    """Write `tokenizer_config.json`; `kind` is what `load_tokenizer` goes by, the rest is for Hugging Face."""
    write_json(folder / CONFIG_FILE, {"tokenizer_class": tokenizer_class, "kind": kind, "pad_token": BLANK, **fields})


def write_vocabulary(folder: Path, units: Sequence[str]) -> None:
    """Write `vocab.json`: unit to id, in the order of the ids."""
    write_json(folder / VOCABULARY_FILE, {unit: id_ for id_, unit in enumerate(units)})


def read_vocabulary(folder: Path) -> list[str]:
    """Units of `vocab.json` by id. Raises MissingPart or InputError for a file that is absent or not one of ours."""
    path = folder / VOCABULARY_FILE
    table = read_json_object(path)
    ids = list(table.values())
    if not all(type(id_) is int for id_ in ids) or sorted(ids) != list(range(len(ids))):
        raise InputError(f"{path}: the ids are not 0, 1, 2, ... each once.", hint="Save the tokenizer again.")
    if table.get(BLANK) != 0:
        raise InputError(f"{path}: unit 0 is not {BLANK!r}, the CTC blank.", hint="Save the tokenizer with Harken.")
    return sorted(table, key=table.__getitem__)


def read_json_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file. Raises MissingPart when it is absent, InputError when it is not a JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="A model folder holds its tokenizer's files.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{path} cannot be read as JSON: {err}.") from err
    if not isinstance(data, dict):
        raise InputError(f"{path} holds {type(data).__name__}, not an object of names and values.")
    return data
