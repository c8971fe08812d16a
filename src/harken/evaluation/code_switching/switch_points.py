"""Where speakers change language, and whether a transcript changes there too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.text.languages import OTHER

Numbers = npt.NDArray[np.int64]

NO_LANGUAGE = 0
"""Number of the label "other"; languages are numbered from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPoint:
    """A change of language: `index` is the place of the first word in the new one, `after`."""

    index: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchCounts:
    """Switch points of the references, of the hypotheses, and how many of both belong together."""

    reference: int
    hypothesis: int
    correct: int

    @property
    def precision(self) -> float | None:
        """Share of the hypotheses' switch points that are right; None where they have none."""
        return self.correct / self.hypothesis if self.hypothesis else None

    @property
    def recall(self) -> float | None:
        """Share of the references' switch points that were found; None where they have none."""
        return self.correct / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """2 · correct / (reference + hypothesis); None where neither side switches."""
        total = self.reference + self.hypothesis
        return 2 * self.correct / total if total else None

    def as_json(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "reference": self.reference,
            "hypothesis": self.hypothesis,
            "correct": self.correct,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switches:
    """(switches,) arrays, in the order of the words of all utterances.

    `last` and `first` are places of words in the concatenation of all utterances: the last one in the language
    `before`, the first one in the language `after`. Words of no language may lie between them.
    """

    utterance: Numbers
    last: Numbers
    first: Numbers
    before: Numbers
    after: Numbers

    def __len__(self) -> int:
        return len(self.utterance)


def switch_points(labels: Sequence[str]) -> list[SwitchPoint]:
    """The changes of language in one sentence. Words labelled "other" are passed over, so a switch may span them."""
    found = []
    before = OTHER
    for index, label in enumerate(labels):
        if label == OTHER:
            continue
        if before not in (OTHER, label):
            found.append(SwitchPoint(index=index, before=before, after=label))
        before = label
    return found


def find_switches(languages: Numbers, utterances: Numbers) -> Switches:
    """The changes of language in many utterances.

    `languages` is (words,) the number of each word's language, `utterances` (words,) the number of its utterance.
    """
    words = np.flatnonzero(languages != NO_LANGUAGE)
    last, first = words[:-1], words[1:]
    here = (languages[last] != languages[first]) & (utterances[last] == utterances[first])
    last, first = last[here], first[here]
    return Switches(utterance=utterances[first], last=last, first=first, before=languages[last], after=languages[first])


def match_switches(
    references: Switches, hypotheses: Switches, span: tuple[Numbers, Numbers], tolerance: int
) -> npt.NDArray[np.bool_]:
    """(reference switches,) whether a switch of the hypothesis belongs to each.

    A reference switch lies at one of the boundaries between its last old and its first new word. `span` holds, for
    each hypothesis switch, the first and last boundary of the reference it lies at, a boundary being named by the
    word behind it. Two belong together when they are of one utterance and one direction and at most `tolerance`
    boundaries apart; each is used once, and as many as possible are matched.
    """
    kinds = 1 + max(int(array.max(initial=0)) for s in (references, hypotheses) for array in (s.before, s.after))
    keys = [(s.utterance * kinds + s.before) * kinds + s.after for s in (references, hypotheses)]
    # Within a key both sides only move forward, so taking the first partner that fits never costs a later one.
    orders = [np.argsort(key, kind="stable") for key in keys]
    reference_rows = zip(
        *(array[orders[0]].tolist() for array in (keys[0], references.last + 1, references.first)), strict=True
    )
    hypothesis_rows = list(zip(*(array[orders[1]].tolist() for array in (keys[1], *span)), strict=True))
    found = np.zeros(len(references), dtype=bool)
    at = 0
    for row, (key, low, high) in zip(orders[0].tolist(), reference_rows, strict=True):
        while at < len(hypothesis_rows):
            other_key, other_low, other_high = hypothesis_rows[at]
            if (other_key, other_high + tolerance) >= (key, low):
                break
            at += 1
        if at < len(hypothesis_rows) and other_key == key and other_low - tolerance <= high:
            found[row] = True
            at += 1
    return found
