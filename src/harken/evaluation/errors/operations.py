"""The operations of all alignments side by side, and runs of them: what every error analysis works on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance
from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.encode import Offsets
from harken.evaluation.scoring.lattice import Codes
from harken.evaluation.scoring.metrics import Score

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Operations:
    """(operations,) arrays, in the order of the utterances.

    `codes` are ASCII letters C, S, D, I; `utterance` numbers the utterance; `reference` and `hypothesis` are ids of
    words, -1 where there is none; `place` counts the reference words of the whole set in front of the operation.
    """

    codes: Codes
    utterance: Numbers
    reference: Numbers
    hypothesis: Numbers
    place: Numbers


def operations_of(alignment: CorpusAlignment) -> Operations:
    """All operations of a test set."""
    reference, hypothesis = alignment.word_ids()
    takes_reference = reference >= 0
    return Operations(
        codes=alignment.codes,
        utterance=np.repeat(np.arange(len(alignment)), np.diff(alignment.offsets)),
        reference=reference,
        hypothesis=hypothesis,
        place=np.cumsum(takes_reference) - takes_reference,
    )


def find_runs(inside: Mask, utterance: Numbers) -> tuple[Offsets, Offsets]:
    """First places of the unbroken runs of True, and the places behind their last; no run leaves its utterance."""
    if not len(inside):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    parted = np.concatenate(([True], utterance[1:] != utterance[:-1]))
    before = np.concatenate(([False], inside[:-1]))
    after = np.concatenate((inside[1:], [False]))
    parts_next = np.concatenate((parted[1:], [True]))
    return np.flatnonzero(inside & (parted | ~before)), np.flatnonzero(inside & (parts_next | ~after)) + 1


def check_order(score: Score, utterances: Sequence[Utterance]) -> None:
    """Raises InputError unless these are the scored utterances in the scored order."""
    if len(utterances) != len(score.ids):
        raise InputError(f"There are {len(utterances)} utterances and {len(score.ids)} scored ones; give the same.")
    for utterance, id_ in zip(utterances, score.ids, strict=True):
        if utterance.id != id_:
            raise InputError(f"{utterance.id!r} stands where {id_!r} was scored; give both in the same order.")
