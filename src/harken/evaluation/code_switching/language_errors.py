"""Errors sorted by the languages of the words they fall on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.evaluation.code_switching.language_mix import count_words
from harken.evaluation.code_switching.switch_points import NO_LANGUAGE, Numbers, Switches
from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.lattice import DELETED, INSERTED, SUBSTITUTED
from harken.evaluation.scoring.metrics import Counts, WordErrors
from harken.text.languages import OTHER

Labels = Sequence[Sequence[str]]
"""A label per word of each utterance: a language, or "other"."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorCounts(WordErrors):
    """(utterances,) counts over a part of the words, such as those of one language."""

    def as_json(self) -> dict[str, Any]:
        names = ("words", "errors", "substitutions", "deletions", "insertions")
        return {"wer": self.wer, **{name: int(getattr(self, name).sum()) for name in names}}


class LanguageTable:
    """Numbers of languages and utterances for all words, and the operations that join them."""

    def __init__(self, alignment: CorpusAlignment, reference_labels: Labels, hypothesis_labels: Labels) -> None:
        found = {label for labels in chain(reference_labels, hypothesis_labels) for label in labels}
        self.names = (OTHER, *sorted(found - {OTHER}))
        numbers = {name: number for number, name in enumerate(self.names)}
        self.reference = _number(reference_labels, numbers)
        self.hypothesis = _number(hypothesis_labels, numbers)
        self.count = len(alignment)
        self.reference_utterance = _owners(alignment.references.offsets)
        self.hypothesis_utterance = _owners(alignment.hypotheses.offsets)
        self._utterance = _owners(alignment.offsets)
        self._codes = alignment.codes
        self._ends = alignment.references.offsets[1:]
        takes_reference, takes_hypothesis = self._codes != INSERTED, self._codes != DELETED
        self._behind = np.cumsum(takes_reference)  # (operations,) reference words up to and with each operation
        self._before = self._behind - takes_reference
        self._hypothesis_at = np.flatnonzero(takes_hypothesis)  # (hypothesis words,) operation of each
        self._reference_language = np.full(len(self._codes), -1)
        self._reference_language[takes_reference] = self.reference
        self._hypothesis_language = np.full(len(self._codes), -1)
        self._hypothesis_language[takes_hypothesis] = self.hypothesis

    def agreement(self) -> tuple[int, int]:
        """Aligned pairs of words that are both in a language, and those of them in the same one."""
        ours, theirs = self._reference_language, self._hypothesis_language
        pairs = (ours > NO_LANGUAGE) & (theirs > NO_LANGUAGE)
        return int(pairs.sum()), int((pairs & (ours == theirs)).sum())

    def errors_by_language(self) -> dict[str, ErrorCounts]:
        """Errors by language, sorted; "other" behind them where there is any."""
        language = np.where(self._codes == INSERTED, self._hypothesis_language, self._reference_language)
        numbers = [
            *range(NO_LANGUAGE + 1, len(self.names)),
            *([NO_LANGUAGE] if (language == NO_LANGUAGE).any() else []),
        ]
        return {self.names[n]: self._count(language == n, self.reference == n) for n in numbers}

    def errors_at(self, points: npt.NDArray[np.bool_]) -> ErrorCounts:
        """Errors on some words of the references; an insertion belongs to the word behind it, or to the last one."""
        if not len(points):
            return self._count(np.zeros(len(self._codes), dtype=bool), points)
        beside = np.where(self._codes == INSERTED, self._before, self._behind - 1)
        beside = np.minimum(beside, self._ends[self._utterance] - 1)
        at = np.maximum(beside, 0)
        return self._count(points[at] & (self.reference_utterance[at] == self._utterance), points)

    def embedded(self) -> npt.NDArray[np.bool_]:
        """(reference words,) whether a word is not in the main language of its utterance, which most words are in.

        Where two are level, the one with more words in the whole set is the main one, then the first by name.
        """
        words_UL = count_words(self.reference, self.reference_utterance, kinds=len(self.names), count=self.count)
        words_UL[:, NO_LANGUAGE] = -1
        totals = words_UL.sum(axis=0)
        main = (words_UL * (int(totals.max(initial=0)) + 1) + totals).argmax(axis=1)
        embedded: npt.NDArray[np.bool_] = self.reference != main[self.reference_utterance]
        embedded &= self.reference != NO_LANGUAGE
        return embedded

    def boundaries(self, switches: Switches) -> tuple[Numbers, Numbers]:
        """First and last boundary of the references that each switch of the hypotheses lies at.

        Reference words deleted between its two words lie at the same place of the hypothesis, so all their boundaries
        are one there.
        """
        last, first = self._hypothesis_at[switches.last], self._hypothesis_at[switches.first]
        return self._behind[last], self._before[first]

    def _count(self, operations: npt.NDArray[np.bool_], words: npt.NDArray[np.bool_]) -> ErrorCounts:
        def per_utterance(code: int) -> Counts:
            return np.bincount(self._utterance[operations & (self._codes == code)], minlength=self.count)

        return ErrorCounts(
            words=np.bincount(self.reference_utterance[words], minlength=self.count),
            substitutions=per_utterance(SUBSTITUTED),
            deletions=per_utterance(DELETED),
            insertions=per_utterance(INSERTED),
        )


def _number(labels: Labels, numbers: Mapping[str, int]) -> Numbers:
    return np.fromiter((numbers[label] for label in chain.from_iterable(labels)), np.int64)


def _owners(offsets: Numbers) -> Numbers:
    """(words,) which text each word is of."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
