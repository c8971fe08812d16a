"""Greedy CTC decoding: the best id of each frame, repeats merged, blanks removed (Graves et al. 2006, section 3.2).

Shapes: B batch, T output frames, V vocab.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLANK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One emitted id with the frames `[first, end)` it was the best of, and its mean probability there."""

    id: int
    first: int
    end: int
    probability: float


def collapse(ids_T: npt.NDArray[np.int64], probabilities_T: npt.NDArray[np.float32]) -> list[Token]:
    """Tokens of one utterance from the best id and its probability in each frame."""
    if not len(ids_T):
        return []
    starts = np.flatnonzero(np.concatenate([[True], ids_T[1:] != ids_T[:-1]]))
    ends = np.append(starts[1:], len(ids_T))
    sums = np.add.reduceat(probabilities_T, starts)
    return [
        Token(id=int(ids_T[first]), first=int(first), end=int(end), probability=float(total / (end - first)))
        for first, end, total in zip(starts, ends, sums, strict=True)
        if ids_T[first] != BLANK
    ]
