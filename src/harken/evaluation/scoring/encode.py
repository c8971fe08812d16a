"""Texts as arrays of word numbers, so that alignment works on integers and each distinct word is touched once."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from harken.text import Profile
from harken.text.segmentation import Units, split_units

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTexts:
    """Texts as runs of ids: text number n is `ids[offsets[n]:offsets[n + 1]]`."""

    ids: Ids
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Offsets:
        """(texts,) ids in each text."""
        lengths: Offsets = self.offsets[1:] - self.offsets[:-1]
        return lengths


class _Interner(dict[str, int]):
    """Numbers words in the order in which they are met."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class WordTable:
    """One numbering of words for references and hypotheses, normalised by a profile and cut into units.

    Where the profile works word by word, a text is cut at white space first and the profile runs once per distinct
    word, which on speech corpora is a hundredth of the running words. So does the cutting into units.
    """

    def __init__(self, profile: Profile, units: Units = "words") -> None:
        self._profile = profile
        self._units = units
        self._raw = _Interner()
        self._normal = _Interner()
        self._pieces: list[list[int]] = []  # by raw number: the units it becomes

    @property
    def words(self) -> list[str]:
        """Normalised units by id."""
        return list(self._normal)

    def encode(self, texts: Iterable[str]) -> EncodedTexts:
        """Ids of the normalised units of each text."""
        if not self._profile.by_word:
            texts = map(self._profile.function, texts)
        raw_ids, offsets = _number(texts, self._raw)
        for word in islice(self._raw, len(self._pieces), None):
            self._pieces.append([self._normal[unit] for unit in self._units_of(word)])
        counts = np.fromiter(map(len, self._pieces), np.int64, len(self._pieces))
        flat = np.fromiter(chain.from_iterable(self._pieces), np.int32, int(counts.sum()))
        return EncodedTexts(*_expand(raw_ids, offsets, counts, flat))

    def _units_of(self, word: str) -> list[str]:
        words = self._profile.function(word).split() if self._profile.by_word else [word]
        return words if self._units == "words" else [unit for word in words for unit in split_units(word)]


def count_words(texts: Iterable[str], profile: Profile, units: Units = "mixed") -> dict[str, int]:
    """How often each unit occurs in normalised texts, such as those of a training set."""
    table = WordTable(profile, units)
    counts = np.bincount(table.encode(texts).ids, minlength=len(table.words))
    return dict(zip(table.words, counts.tolist(), strict=True))


def _number(texts: Iterable[str], interner: _Interner) -> tuple[Ids, Offsets]:
    """Ids of white-space separated words, and where each text ends."""
    number = interner.__getitem__
    ids: list[int] = []
    ends = [0]
    pieces: list[Ids] = []
    done = 0
    for text in texts:
        ids.extend(map(number, text.split()))
        ends.append(done + len(ids))
        if len(ids) > 1_000_000:  # a Python list costs twice as much as the array it becomes
            pieces.append(np.array(ids, dtype=np.int32))
            done += len(ids)
            ids.clear()
    pieces.append(np.array(ids, dtype=np.int32))
    return np.concatenate(pieces), np.array(ends, dtype=np.int64)


def _expand(raw_ids: Ids, offsets: Offsets, counts: Offsets, flat: Ids) -> tuple[Ids, Offsets]:
    """Replace raw word r by its `counts[r]` normalised words, which follow each other in `flat`."""
    if np.all(counts == 1):
        return flat[raw_ids], offsets
    ids = flat[gather_runs(np.concatenate(([0], np.cumsum(counts)))[raw_ids], counts[raw_ids])]
    ends = np.concatenate(([0], np.cumsum(counts[raw_ids])))
    return ids, ends[offsets]


def gather_runs(starts: Offsets, lengths: Offsets) -> Offsets:
    """Indices start, start + 1, ... of every run, one run after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: Offsets = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return places


def take(texts: EncodedTexts, rows: npt.NDArray[np.integer]) -> EncodedTexts:
    """Some of the texts, in the order of `rows`; a row may occur more than once."""
    lengths = texts.lengths[rows]
    return EncodedTexts(texts.ids[gather_runs(texts.offsets[rows], lengths)], np.concatenate(([0], np.cumsum(lengths))))


def padded(texts: EncodedTexts, rows: Offsets, fill: int) -> npt.NDArray[np.int32]:
    """(longest, rows) ids of some texts, one text per column, `fill` behind their ends."""
    lengths = texts.lengths[rows]
    longest = int(lengths.max(initial=0))
    places = np.arange(longest)[:, None]
    inside = places < lengths
    at = np.where(inside, texts.offsets[rows] + places, 0)
    if not len(texts.ids):
        return np.full((longest, len(rows)), fill, dtype=np.int32)
    return np.where(inside, texts.ids[at], np.int32(fill))
