"""Word and character alignment: which word was recognised as which.

Modes: "sclite" follows NIST's scorer exactly, in counts and in path; "levenshtein" finds the fewest errors, with the
same tie rules. `lattice` holds the rules and their source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.scoring.encode import EncodedTexts, Offsets, WordTable, gather_runs, padded
from harken.evaluation.scoring.lattice import (
    CORRECT,
    COSTS,
    DELETED,
    INSERTED,
    SUBSTITUTED,
    Codes,
    Costs,
    StepCosts,
    align_batch,
    align_long,
)
from harken.text import find_profile
from harken.text.segmentation import UNITS, Units, split_units

Kind = Literal["C", "S", "D", "I"]

BATCH_CELLS = 1 << 20
"""Lattice cells filled at once: 2 MiB, which stays in a processor's cache."""

LARGEST_PAIR_CELLS = 1 << 32
"""Reference words times hypothesis words of the longest pair taken: 65,536 by 65,536, about seven hours of speech."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of an alignment.

    `kind` is "C" (correct), "S" (substitution), "D" (deletion) or "I" (insertion); the reference is None in an
    insertion, the hypothesis in a deletion.
    """

    kind: Kind
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorpusAlignment:
    """Alignments of many pairs, held in arrays.

    `words` names the ids. `codes` are ASCII letters C, S, D, I; those of pair n are
    `codes[offsets[n]:offsets[n + 1]]`.
    """

    words: Sequence[str]
    references: EncodedTexts
    hypotheses: EncodedTexts
    codes: Codes
    offsets: Offsets
    units: Units = "words"
    """How texts were cut into `words`; see `harken.text.segmentation`."""

    def __len__(self) -> int:
        return len(self.references)

    def count(self, code: int) -> npt.NDArray[np.int64]:
        """(pairs,) how often an operation (an ASCII letter, such as `ord("S")`) occurs in each pair."""
        ends = np.concatenate(([0], np.cumsum(self.codes == code)))[self.offsets]
        return np.diff(ends)

    def letters(self, pair: int) -> str:
        """The operations of one pair as a string, such as "CCSDI"."""
        return self.codes[self.offsets[pair] : self.offsets[pair + 1]].tobytes().decode("ascii")

    def operations(self, pair: int) -> list[Operation]:
        """The operations of one pair, with their words."""
        reference, hypothesis = self._words_of(self.references, pair), self._words_of(self.hypotheses, pair)
        return _spell(self.codes[self.offsets[pair] : self.offsets[pair + 1]], reference, hypothesis)

    def word_ids(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(operations,) ids of the reference and of the hypothesis word of every operation; -1 where there is none."""
        takes_reference, takes_hypothesis = self.codes != INSERTED, self.codes != DELETED
        reference = np.full(len(self.codes), -1, dtype=np.int64)
        hypothesis = np.full(len(self.codes), -1, dtype=np.int64)
        reference[takes_reference] = self.references.ids
        hypothesis[takes_hypothesis] = self.hypotheses.ids
        return reference, hypothesis

    def _words_of(self, texts: EncodedTexts, pair: int) -> Iterator[str]:
        ids = texts.ids[texts.offsets[pair] : texts.offsets[pair + 1]]
        return (self.words[id_] for id_ in ids.tolist())


def align_words(
    reference: str | Sequence[str],
    hypothesis: str | Sequence[str],
    alignment: str = "sclite",
    *,
    units: Units = "mixed",
) -> list[Operation]:
    """Operations that turn the reference into the hypothesis, in order.

    Strings are cut into units: at white space, and with "mixed" into characters where a script has no spaces.
    Sequences are taken as words. Nothing is normalised, so case counts (the sclite program folds it unless told not
    to). `alignment` is "sclite" or "levenshtein".

    Raises InputError for another alignment or units and for a pair above `LARGEST_PAIR_CELLS`.
    """
    check_units(units)
    return _align_units(_units(reference, units), _units(hypothesis, units), alignment)


def align_characters(reference: str, hypothesis: str, alignment: str = "sclite") -> list[Operation]:
    """Operations on characters (code points, spaces included) that turn the reference into the hypothesis."""
    return _align_units(list(reference), list(hypothesis), alignment)


def align_texts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    profile: str = "none",
    alignment: str = "sclite",
    units: Units = "mixed",
) -> CorpusAlignment:
    """Align many texts unit by unit, reference n with hypothesis n, after normalising both.

    One million words of utterances take about 0.4 s of CPU. Raises InputError as `align_words` does, and for lists of
    different lengths.
    """
    if len(references) != len(hypotheses):
        raise InputError(f"There are {len(references)} references and {len(hypotheses)} hypotheses; pair them up.")
    costs = find_costs(alignment)
    check_units(units)
    table = WordTable(find_profile(profile), units)
    encoded = table.encode(references), table.encode(hypotheses)
    codes, offsets = align_encoded(*encoded, costs)
    return CorpusAlignment(
        words=table.words, references=encoded[0], hypotheses=encoded[1], codes=codes, offsets=offsets, units=units
    )


def check_units(units: str) -> None:
    """Raise InputError that lists the ways to cut texts, if `units` is none of them."""
    if units not in UNITS:
        raise InputError(f"There are no units {units!r}.", hint=f"Use one of: {', '.join(UNITS)}.")


def find_costs(alignment: str) -> Costs:
    """Costs of an alignment mode. Raises InputError that lists the modes."""
    if alignment not in COSTS:
        raise InputError(f"There is no alignment {alignment!r}.", hint=f"Use one of: {', '.join(COSTS)}.")
    return COSTS[alignment]


def align_encoded(references: EncodedTexts, hypotheses: EncodedTexts, costs: StepCosts) -> tuple[Codes, Offsets]:
    """Codes of all pairs in order, and (pairs + 1,) where each pair's begin and end."""
    pieces: list[Codes] = []
    counts = np.zeros(len(references), dtype=np.int64)
    order = np.lexsort((hypotheses.lengths, references.lengths))
    for rows in _batches(order, references.lengths, hypotheses.lengths):
        codes, lengths = _align_rows(references, hypotheses, rows, costs)
        pieces.append(codes)
        counts[rows] = lengths
    codes = np.concatenate([np.zeros(0, dtype=np.uint8), *pieces])
    starts = np.zeros(len(references), dtype=np.int64)
    starts[order] = np.cumsum(counts[order]) - counts[order]
    return codes[gather_runs(starts, counts)], np.concatenate(([0], np.cumsum(counts)))


def _align_rows(
    references: EncodedTexts, hypotheses: EncodedTexts, rows: Offsets, costs: StepCosts
) -> tuple[Codes, npt.NDArray[np.int64]]:
    lengths = references.lengths[rows], hypotheses.lengths[rows]
    reference_IP, hypothesis_JP = padded(references, rows, -1), padded(hypotheses, rows, -2)
    if len(rows) > 1:
        return align_batch(reference_IP, hypothesis_JP, *lengths, costs)
    _check_size(len(reference_IP), len(hypothesis_JP))
    codes = align_long(reference_IP[:, 0], hypothesis_JP[:, 0], costs)
    return codes, np.array([len(codes)])


def _batches(order: Offsets, first_lengths: Offsets, second_lengths: Offsets) -> Iterator[Offsets]:
    """Cut `order` into runs whose common lattice has at most BATCH_CELLS cells (or a single pair)."""
    start = 0
    while start < len(order):
        fits = BATCH_CELLS // int((first_lengths[order[start]] + 1) * (second_lengths[order[start]] + 1))
        rows = order[start : start + max(1, fits)]
        tallest = np.maximum.accumulate(first_lengths[rows]) + 1
        widest = np.maximum.accumulate(second_lengths[rows]) + 1
        cells = tallest * widest * np.arange(1, len(rows) + 1)
        size = max(1, int(np.searchsorted(cells, BATCH_CELLS, side="right")))
        yield rows[:size]
        start += size


def _check_size(reference_words: int, hypothesis_words: int) -> None:
    if reference_words * hypothesis_words > LARGEST_PAIR_CELLS:
        raise InputError(
            f"A pair of {reference_words:,} and {hypothesis_words:,} words is too long to align.",
            hint="Cut the recording into utterances and score those.",
        )


def _units(text: str | Sequence[str], units: Units) -> list[str]:
    if not isinstance(text, str):
        return list(text)
    return text.split() if units == "words" else [unit for word in text.split() for unit in split_units(word)]


def _align_units(reference: list[str], hypothesis: list[str], alignment: str) -> list[Operation]:
    costs = find_costs(alignment)
    _check_size(len(reference), len(hypothesis))
    numbers = {unit: number for number, unit in enumerate({*reference, *hypothesis})}
    codes = align_long(
        np.array([numbers[unit] for unit in reference], dtype=np.int32),
        np.array([numbers[unit] for unit in hypothesis], dtype=np.int32),
        costs,
    )
    return _spell(codes, iter(reference), iter(hypothesis))


_KINDS: dict[int, Kind] = {CORRECT: "C", SUBSTITUTED: "S", DELETED: "D", INSERTED: "I"}


def _spell(codes: Codes, reference: Iterator[str], hypothesis: Iterator[str]) -> list[Operation]:
    return [
        Operation(
            _KINDS[code],
            next(reference) if code != INSERTED else None,
            next(hypothesis) if code != DELETED else None,
        )
        for code in codes.tolist()
    ]
