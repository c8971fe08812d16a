"""How well words are recognised, by how often they occur here and by how often the model met them in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harken.core import InputError
from harken.evaluation.errors.operations import Numbers, operations_of
from harken.evaluation.scoring.lattice import CORRECT
from harken.evaluation.scoring.metrics import Score

BANDS = ((1, 1), (2, 9), (10, 99), (100, 999), (1000, None))
"""Lowest and highest number of occurrences of a word."""

LEAST_COUNT = 3
"""Words that occur less often are not listed among the worst: one error would decide."""


def vocabulary_accuracy(score: Score, *, known: Mapping[str, int] | None = None, most: int = 50) -> dict[str, Any]:
    """Share of reference words recognised as they stand, by frequency.

    `known` counts the words of the training text, normalised as the score is; without it "known" is None. Returns
    {"types", "bands", "worst", "known": {"types", "unseen_types", "unseen_words", "bands"} | None}. A band is {"name",
    "lowest", "highest" (None: no limit), "types", "words", "correct", "accuracy" (None without words)}; those of
    "known" go by the count in training and begin with the unseen (out-of-vocabulary) words. "worst" lists the `most`
    words of lowest accuracy among those that occur `LEAST_COUNT` times or more: {"word", "count", "correct",
    "accuracy"}.

    Raises InputError for a training count that is no whole number or negative.
    """
    words = score.alignments.words
    operations = operations_of(score.alignments)
    occurring = np.bincount(score.alignments.references.ids, minlength=len(words)).astype(np.int64)
    correct = np.bincount(operations.reference[operations.codes == CORRECT], minlength=len(words)).astype(np.int64)
    return {
        "types": int(np.count_nonzero(occurring)),
        "bands": _bands(occurring, occurring, correct, unseen=False),
        "worst": _worst(words, occurring, correct, most),
        "known": None if known is None else _by_training(words, occurring, correct, known),
    }


def _by_training(
    words: Sequence[str], occurring: Numbers, correct: Numbers, known: Mapping[str, int]
) -> dict[str, Any]:
    for word, count in known.items():
        if not isinstance(count, int | np.integer) or count < 0:
            raise InputError(f"The training count of {word!r} is {count!r}; use a whole number, 0 or more.")
    trained = np.fromiter((known.get(word, 0) for word in words), np.int64, len(words))
    unseen = (trained == 0) & (occurring > 0)
    return {
        "types": len(known),
        "unseen_types": int(np.count_nonzero(unseen)),
        "unseen_words": int(occurring[unseen].sum()),
        "bands": _bands(trained, occurring, correct, unseen=True),
    }


def _bands(frequency: Numbers, occurring: Numbers, correct: Numbers, *, unseen: bool) -> list[dict[str, Any]]:
    bands = []
    for lowest, highest in ((0, 0), *BANDS) if unseen else BANDS:
        inside = (frequency >= lowest) & (occurring > 0)
        if highest is not None:
            inside &= frequency <= highest
        total, right = int(occurring[inside].sum()), int(correct[inside].sum())
        bands.append(
            {
                "name": _name(lowest, highest),
                "lowest": lowest,
                "highest": highest,
                "types": int(np.count_nonzero(inside)),
                "words": total,
                "correct": right,
                "accuracy": right / total if total else None,
            }
        )
    return bands


def _name(lowest: int, highest: int | None) -> str:
    if highest is None:
        return f"{lowest} or more"
    return ("unseen" if lowest == 0 else str(lowest)) if lowest == highest else f"{lowest} to {highest}"


def _worst(words: Sequence[str], occurring: Numbers, correct: Numbers, most: int) -> list[dict[str, Any]]:
    wrong = np.flatnonzero((occurring >= LEAST_COUNT) & (correct < occurring)).tolist()
    ranked = sorted((correct[id_] / occurring[id_], -int(occurring[id_]), words[id_], id_) for id_ in wrong)
    return [
        {"word": word, "count": -negative_count, "correct": int(correct[id_]), "accuracy": float(accuracy)}
        for accuracy, negative_count, word, id_ in ranked[:most]
    ]
