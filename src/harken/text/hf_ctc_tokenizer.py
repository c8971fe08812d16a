"""The vocabulary of a Hugging Face CTC model (Wav2Vec2CTCTokenizer) as a Harken tokenizer.

vocab.json maps units to ids in any order; its padding token is the CTC blank, "|" stands between words, and <s>, </s>
and <unk> have rows that nothing is trained to use. Here the blank is id 0 and the others follow in their old order.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from harken.core import InputError
from harken.core.files import write_json
from harken.text.vocabulary import (
    CONFIG_FILE,
    VOCABULARY_FILE,
    TokenizerConfig,
    UnknownUnitError,
    check_ids,
    clean_text,
    read_json_object,
    write_config,
)

KIND = "hf-ctc"
ADDED_FILE = "added_tokens.json"
SPECIAL_FILE = "special_tokens_map.json"
_DEFAULTS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


class HfCtcTokenizer:
    """One unit per character, as transformers splits text; longer units of the vocabulary are decoded only.

    A vocabulary whose letters are all capitals (LibriSpeech's) carries no case: text is matched in capitals and
    decoded in small letters, as transformers does with `do_lower_case`.
    """

    def __init__(
        self, units: Sequence[str], *, delimiter: str, specials: Mapping[str, str | None], hub_ids: Sequence[int] = ()
    ) -> None:
        """`units` by id, the blank first; `delimiter` is the unit between words; `specials` maps pad_token, unk_token,
        bos_token and eos_token to units (or None); `hub_ids` are the ids the units had where they came from.
        """
        if not units or units[0] != specials["pad_token"] or len(set(units)) != len(units):
            raise InputError(
                f"Unit 0 of a CTC vocabulary is its blank, {specials['pad_token']!r}, and each is there once."
            )
        if delimiter not in units:
            raise InputError(f"The word delimiter {delimiter!r} is not in the vocabulary.")
        self.units = tuple(units)
        self.delimiter = delimiter
        self.specials = dict(specials)
        self.hub_ids = tuple(hub_ids) or tuple(range(len(units)))
        silent = {unit for unit in self.specials.values() if unit is not None} - {delimiter}
        self._silent = {id_ for id_, unit in enumerate(units) if unit in silent or unit.startswith("<unused")}
        self._ids = {unit: id_ for id_, unit in enumerate(units) if id_ not in self._silent and len(unit) == 1}
        self._space = self.units.index(delimiter)
        letters = [unit for unit in self._ids if unit != delimiter]
        self.capitals = any(map(str.isupper, letters)) and not any(map(str.islower, letters))

    @classmethod
    def train(cls, config: TokenizerConfig, texts: object) -> Self:
        """Always refused: this kind comes with a pretrained model."""
        raise InputError("A tokenizer of kind hf-ctc comes with a pretrained model.", hint="Train kind char or bpe.")

    @classmethod
    def from_hub(cls, folder: Path) -> Self:
        """The vocabulary of a folder as transformers writes it.

        Raises MissingPart when it has none (train one of yours then), InputError when it is not one of a CTC model.
        """
        table = dict(read_json_object(folder / VOCABULARY_FILE))
        if any(isinstance(value, dict) for value in table.values()):
            raise InputError(
                f"{folder / VOCABULARY_FILE} holds a vocabulary per language.",
                hint=f"Keep the one you need: {', '.join(sorted(table)[:10])}.",
            )
        config = dict(read_json_object(folder / CONFIG_FILE)) if (folder / CONFIG_FILE).is_file() else {}
        specials, delimiter = _named_tokens(folder, config)
        table |= _added(folder, config)
        ids = list(table.values())
        if not ids or not all(type(id_) is int and id_ >= 0 for id_ in ids) or len(set(ids)) != len(ids):
            raise InputError(f"{folder / VOCABULARY_FILE}: the ids are not whole numbers, each once.")
        pad = specials["pad_token"]
        if pad not in table:
            raise InputError(
                f"{folder / VOCABULARY_FILE} has no unit {pad!r}, the CTC blank.",
                hint="Name it as pad_token in tokenizer_config.json, or train with a vocabulary of your own.",
            )
        order = sorted(table, key=lambda unit: (unit != pad, table[unit]))
        kept = {name: unit if unit in table else None for name, unit in specials.items()}
        return cls(order, delimiter=delimiter, specials=kept, hub_ids=[table[unit] for unit in order])

    def fill_up(self, rows: int) -> Self:
        """The tokenizer with a unit for each of the model's `rows`; those without a name become <unused…>.

        Raises InputError when a unit has no row: tokenizer and model are then not of one model.
        """
        beyond = [unit for unit, id_ in zip(self.units, self.hub_ids, strict=True) if id_ >= rows]
        if beyond:
            raise InputError(
                f"The tokenizer has {len(self.units)} units, the model rows for {rows}: {beyond[0]!r} has none.",
                hint="config.json and vocab.json must come from the same model: copy the folder again.",
            )
        free = sorted(set(range(rows)) - set(self.hub_ids))
        named = list(zip(self.units[1:], self.hub_ids[1:], strict=True))
        rest = sorted([*((id_, unit) for unit, id_ in named), *((id_, f"<unused{id_}>") for id_ in free)])
        return type(self)(
            [self.units[0], *(unit for _, unit in rest)],
            delimiter=self.delimiter,
            specials=self.specials,
            hub_ids=[self.hub_ids[0], *(id_ for id_, _ in rest)],
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer saved in `folder`."""
        return cls.from_hub(folder)

    @property
    def vocab_size(self) -> int:
        return len(self.units)

    def id_of(self, name: str) -> int | None:
        """The id of a special token by its role, such as "eos_token"; None where the vocabulary has none."""
        unit = self.specials.get(name)
        return None if unit is None else self.units.index(unit)

    def encode(self, text: str) -> list[int]:
        text = clean_text(text)
        return [self._space if character == " " else self._id(character, text) for character in text]

    def _id(self, character: str, text: str) -> int:
        for form in (character, character.upper() if self.capitals else character):
            if form in self._ids and form != self.delimiter:
                return self._ids[form]
        raise UnknownUnitError(character, text)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        check_ids(ids, self.vocab_size)
        edges = [-1, *(place for place, id_ in enumerate(ids) if id_ == self._space), len(ids)]
        words = []
        for first, end in ((before + 1, after) for before, after in pairwise(edges)):
            word = "".join(self.units[id_] for id_ in ids[first:end] if id_ not in self._silent)
            if word:
                words.append((unicodedata.normalize("NFC", word.lower() if self.capitals else word), first, end))
        return words

    def save(self, folder: Path) -> None:
        write_json(folder / VOCABULARY_FILE, {unit: id_ for id_, unit in enumerate(self.units)})
        write_config(
            folder,
            kind=KIND,
            tokenizer_class="Wav2Vec2CTCTokenizer",
            word_delimiter_token=self.delimiter,
            replace_word_delimiter_char=" ",
            do_lower_case=self.capitals,
            **self.specials,
        )


def _named_tokens(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Special tokens by their role, and the word delimiter; transformers' defaults where no file says otherwise."""
    older = dict(read_json_object(folder / SPECIAL_FILE)) if (folder / SPECIAL_FILE).is_file() else {}
    merged = {**older, **config}
    specials = {name: _content(merged[name]) if merged.get(name) else plain for name, plain in _DEFAULTS.items()}
    return specials, _content(merged.get("word_delimiter_token") or "|")


def _added(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    """Tokens kept outside vocab.json."""
    found = dict(read_json_object(folder / ADDED_FILE)) if (folder / ADDED_FILE).is_file() else {}
    listed = config.get("added_tokens_decoder") or {}
    return {**found, **{_content(token): int(id_) for id_, token in listed.items()}}


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
