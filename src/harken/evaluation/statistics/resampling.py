"""What every resampling method shares: counts summed by speaker, equal units put together, draws in bulk.

Units with equal counts are exchangeable, so drawing how often each distinct row of counts ("cell") occurs has exactly
the distribution of drawing units one by one, at a fraction of the work.
"""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from harken.core import InputError

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
"""(units, columns) counts, such as errors and words."""

_DRAWS_AT_ONCE = 4_000_000  # numbers held in memory: 32 MB


def checked_columns(units: Sequence[object] | None, **columns: npt.ArrayLike) -> Rows:
    """(utterances, columns) of the counts given by name; `units` has to be as long.

    Raises InputError for what is not a list of whole numbers from 0, and for lengths that differ.
    """
    checked = []
    for name, values in columns.items():
        array = np.asarray(values)
        with np.errstate(invalid="ignore"):  # a NaN is refused below
            whole = array.astype(np.int64)
        if array.ndim != 1 or np.any(whole != array) or np.any(whole < 0):
            raise InputError(f"{name} has to be a list of whole numbers, 0 or more.")
        checked.append(whole)
    lengths = {len(column) for column in checked} | ({len(units)} if units is not None else set())
    if len(lengths) > 1:
        names = ", ".join(columns)
        raise InputError(f"{names} and units have different lengths: {sorted(lengths)}.")
    return np.stack(checked, axis=1)


def check_draws(samples: int, confidence: float) -> None:
    """Raises InputError for fewer than 1 sample or a confidence outside (0, 1)."""
    if samples < 1:
        raise InputError(f"samples is {samples}; use 1 or more (1000 is usual).")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; use a share between 0 and 1, such as 0.95.")


def number_labels(labels: Sequence[object]) -> tuple[npt.NDArray[np.int64], int]:
    """(labels,) numbers 0, 1, ... in the order in which labels are first met, and how many there are."""
    numbers = dict(zip(dict.fromkeys(labels), count()))
    return np.fromiter(map(numbers.__getitem__, labels), np.int64, len(labels)), len(numbers)


def sum_by_unit(rows: Rows, units: Sequence[object] | None) -> Rows:
    """(units, columns) sums over the utterances of each unit; the rows themselves where `units` is None."""
    if units is None:
        return rows
    unit_of, size = number_labels(units)
    # Sums of doubles are exact up to 2**53, which no corpus reaches.
    sums = [np.bincount(unit_of, weights=column, minlength=size) for column in rows.T]
    return np.stack(sums, axis=1).astype(np.int64)


def distinct_rows(rows: Rows) -> tuple[Rows, Counts]:
    """(cells, columns) the distinct rows in lexicographic order, and how often each occurs."""
    if len(rows) == 0:
        return rows, np.zeros(0, dtype=np.int64)
    lowest = rows.min(axis=0)
    ranges = (rows.max(axis=0) - lowest + 1).tolist()
    width = 1
    for size in ranges:
        width *= int(size)
    if width >= 1 << 62:
        cells, sizes = np.unique(rows, axis=0, return_counts=True)
        return cells, sizes
    keys = np.zeros(len(rows), dtype=np.int64)  # one number per row, ordered as the rows are
    for column, size in zip((rows - lowest).T, ranges, strict=True):
        keys = keys * size + column
    _, first, sizes = np.unique(keys, return_index=True, return_counts=True)
    return rows[first], sizes


def bootstrap_sums(rows: Rows, samples: int, generator: np.random.Generator) -> Iterator[Rows]:
    """Batches of (samples, columns) sums over as many units as there are, drawn with replacement."""
    cells, sizes = distinct_rows(rows)
    step = max(1, _DRAWS_AT_ONCE // len(cells))
    for first in range(0, samples, step):
        drawn = generator.multinomial(len(rows), sizes / len(rows), size=min(step, samples - first))
        yield drawn @ cells


def subset_sums(rows: Rows, samples: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """(samples, columns) sums over random subsets of the units, each unit taken with probability one half."""
    cells, sizes = distinct_rows(rows)
    sums = np.zeros((samples, rows.shape[1]))
    for cell, size in zip(cells[sizes > 1], sizes[sizes > 1].tolist(), strict=True):
        sums += np.multiply.outer(generator.binomial(size, 0.5, size=samples), cell)
    # Sums of whole numbers are exact in either type, whatever the order of addition; the smaller one is faster.
    kind = np.float32 if np.abs(rows).sum(axis=0).max(initial=0) < 1 << 24 else np.float64
    single = cells[sizes == 1].astype(kind)
    step = max(1, _DRAWS_AT_ONCE // max(1, len(single)))
    for first in range(0, samples if len(single) else 0, step):
        part = sums[first : first + step]
        bits = generator.integers(0, 256, size=(len(part), -(-len(single) // 8)), dtype=np.uint8)
        part += np.unpackbits(bits, axis=1, count=len(single)).astype(kind) @ single
    return sums


def every_subset_sum(rows: Rows) -> npt.NDArray[np.float64]:
    """(2 ** units, columns) sums over every subset of the units, the empty one first."""
    sums = np.zeros((1, rows.shape[1]))
    for row in rows:
        sums = np.concatenate([sums, sums + row])
    return sums
