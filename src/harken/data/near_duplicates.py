"""Recordings that a data set holds twice, at another level, rate or in another codec."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

TOLERANCE_S = 0.05
"""Codecs lengthen a recording by up to a frame or two."""

_ROWS, _COLUMNS = 1_024, 8_192


def find_near_duplicates(
    fingerprints: Sequence[npt.NDArray[np.float16]], durations_s: Sequence[float], *, similarity: float
) -> list[tuple[int, int, float]]:
    """Pairs (earlier index, later index, similarity) of recordings that are nearly the same, sorted by the later one.

    A recording is compared with those whose duration is within TOLERANCE_S; of several that are like it, the one that
    comes first is named. `fingerprints` are those of `harken.audio.fingerprint`, one for each duration.
    """
    if not len(fingerprints):
        return []
    durations = np.asarray(durations_s, dtype=np.float64)
    order = np.argsort(durations, kind="stable")
    prints = np.stack([fingerprints[index] for index in order.tolist()])
    first_like: dict[int, tuple[int, float]] = {}
    for one, other, alike in _pairs(prints, durations[order], similarity):
        earlier, later = sorted((int(order[one]), int(order[other])))
        if later not in first_like or earlier < first_like[later][0]:
            first_like[later] = earlier, alike
    return [(earlier, later, alike) for later, (earlier, alike) in sorted(first_like.items())]


def _pairs(
    prints: npt.NDArray[np.float16], durations_s: npt.NDArray[np.float64], similarity: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows, which are sorted by duration; a block of the matrix of all similarities at a time."""
    ends = np.searchsorted(durations_s, durations_s + TOLERANCE_S, side="right")
    for top in range(0, len(prints), _ROWS):
        rows = prints[top : top + _ROWS].astype(np.float32)
        last = int(ends[top + len(rows) - 1])
        for left in range(top, last, _COLUMNS):
            columns = prints[left : min(left + _COLUMNS, last)].astype(np.float32)
            alike = rows @ columns.T
            for row, column in np.argwhere(alike >= similarity).tolist():
                one, other = top + row, left + column
                if one < other < ends[one]:
                    yield one, other, float(alike[row, column])
