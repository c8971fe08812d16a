"""Tokenizers with a closed list of units: characters or whole words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from harken.core import InputError
from harken.text.vocabulary import (
    BLANK,
    TokenizerConfig,
    UnknownUnitError,
    check_ids,
    clean_text,
    read_vocabulary,
    write_config,
    write_vocabulary,
)

SPACE = " "


class CharTokenizer:
    """One unit per Unicode code point of the NFC text; the space between words is a unit.

    Code points, not grapheme clusters: a cluster vocabulary of Devanagari or Thai grows with every combination of
    consonant and vowel signs, most of which a training set shows only a few times.
    """

    def __init__(self, units: Sequence[str]) -> None:
        """`units` by id; the first is the blank and " " is among the others, each of which is one code point."""
        _check_units(units)
        if SPACE not in units or any(len(unit) != 1 for unit in units[1:]):
            raise InputError("A character vocabulary holds single characters, the space among them.")
        self.units = tuple(units)
        self._ids = {unit: id_ for id_, unit in enumerate(units) if id_}
        self._space = self._ids[SPACE]

    @classmethod
    def train(cls, config: TokenizerConfig, texts: Iterable[str]) -> Self:
        """Every character of `texts`, by code point; `config` has nothing more to say."""
        characters: set[str] = set()
        for text in texts:
            characters.update(clean_text(text))
        if not characters:
            raise InputError("There is no text to train a character tokenizer on.")
        return cls([BLANK, *sorted(characters | {SPACE})])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer saved in `folder`."""
        return cls(read_vocabulary(folder))

    @property
    def vocab_size(self) -> int:
        return len(self.units)

    def encode(self, text: str) -> list[int]:
        text = clean_text(text)
        try:
            return [self._ids[character] for character in text]
        except KeyError as err:
            raise UnknownUnitError(err.args[0], text) from None

    def decode(self, ids: Sequence[int]) -> str:
        return SPACE.join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        check_ids(ids, self.vocab_size)
        edges = [-1, *(place for place, id_ in enumerate(ids) if id_ == self._space), len(ids)]
        spans = [(before + 1, after) for before, after in pairwise(edges) if after > before + 1]
        return [("".join(self.units[id_] for id_ in ids[first:end]), first, end) for first, end in spans]

    def save(self, folder: Path) -> None:
        write_vocabulary(folder, self.units)
        # transformers' tokenizer for character CTC models; its defaults would add <s>, </s>, <unk> and "|".
        write_config(
            folder,
            kind="char",
            tokenizer_class="Wav2Vec2CTCTokenizer",
            word_delimiter_token=SPACE,
            unk_token=BLANK,
            bos_token=None,
            eos_token=None,
            do_lower_case=False,
        )


class WordTokenizer:
    """One unit per word, for small closed vocabularies such as digits or commands."""

    def __init__(self, units: Sequence[str]) -> None:
        """`units` by id; the first is the blank, the others are words without white space."""
        _check_units(units)
        if any(unit.split() != [unit] for unit in units):
            raise InputError("A word vocabulary holds words without white space.")
        self.units = tuple(units)
        self._ids = {unit: id_ for id_, unit in enumerate(units) if id_}

    @classmethod
    def train(cls, config: TokenizerConfig, texts: Iterable[str]) -> Self:
        """The `config.size` most frequent words of `texts` (all where it is None); ties go by code point."""
        counts = Counter(word for text in texts for word in clean_text(text).split())
        if not counts:
            raise InputError("There is no text to train a word tokenizer on.")
        if BLANK in counts:
            raise InputError(f"The texts hold {BLANK!r}, the name of the blank.", hint="Normalise the texts.")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([BLANK, *sorted(ranked[: config.size])])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer saved in `folder`."""
        return cls(read_vocabulary(folder))

    @property
    def vocab_size(self) -> int:
        return len(self.units)

    def encode(self, text: str) -> list[int]:
        text = clean_text(text)
        try:
            return [self._ids[word] for word in text.split()]
        except KeyError as err:
            raise UnknownUnitError(err.args[0], text) from None

    def decode(self, ids: Sequence[int]) -> str:
        return SPACE.join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        check_ids(ids, self.vocab_size)
        return [(self.units[id_], place, place + 1) for place, id_ in enumerate(ids)]

    def save(self, folder: Path) -> None:
        write_vocabulary(folder, self.units)
        # No class of transformers reads whole words; the name tells readers whose file this is.
        write_config(folder, kind="word", tokenizer_class="HarkenWordTokenizer")


def _check_units(units: Sequence[str]) -> None:
    if len(units) < 2 or units[0] != BLANK or len(set(units)) != len(units):
        raise InputError(f"A vocabulary begins with {BLANK!r} and holds at least one more unit, each once.")
