from itertools import combinations

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.statistics.resampling import (
    bootstrap_sums,
    check_draws,
    checked_columns,
    distinct_rows,
    every_subset_sum,
    number_labels,
    subset_sums,
    sum_by_unit,
)

ROWS = np.array([[3, 10], [0, 7], [3, 10], [1, 4], [3, 10]])


def test_labels_are_numbered_as_they_are_met() -> None:
    numbers, count = number_labels(["b", "a", "b", "ў", None])
    assert (numbers.tolist(), count) == ([0, 1, 0, 2, 3], 4)
    assert number_labels([])[1] == 0


def test_sums_by_unit() -> None:
    assert sum_by_unit(ROWS, ["x", "y", "x", "y", "z"]).tolist() == [[6, 20], [1, 11], [3, 10]]
    assert sum_by_unit(ROWS, None) is ROWS
    assert sum_by_unit(ROWS[:0], []).shape == (0, 2)


@pytest.mark.parametrize("factor", [1, 1 << 40])  # the larger one does not fit into one number per row
def test_distinct_rows_are_those_of_numpy(factor: int) -> None:
    rows = np.random.default_rng(0).integers(-3, 4, size=(500, 3)) * factor
    cells, sizes = distinct_rows(rows)
    expected, counts = np.unique(rows, axis=0, return_counts=True)
    assert cells.tolist() == expected.tolist()
    assert sizes.tolist() == counts.tolist()
    assert [len(part) for part in distinct_rows(rows[:0])] == [0, 0]


def test_every_subset() -> None:
    rows = ROWS[:4]
    expected = sorted(
        [sum(rows[i, 0] for i in chosen), sum(rows[i, 1] for i in chosen)]
        for size in range(5)
        for chosen in combinations(range(4), size)
    )
    found = every_subset_sum(rows)
    assert found[0].tolist() == [0, 0]
    assert sorted(found.tolist()) == expected


def test_random_subsets_have_the_frequencies_of_all_of_them() -> None:
    drawn = subset_sums(ROWS, 40_000, np.random.default_rng(1))
    values, counts = np.unique(drawn[:, 0] * 100 + drawn[:, 1], return_counts=True)
    every, times = np.unique(every_subset_sum(ROWS) @ [100, 1], return_counts=True)
    assert values.tolist() == every.tolist()
    assert np.abs(counts / 40_000 - times / 32).max() < 0.01


def test_bootstrap_draws_as_many_units_as_there_are() -> None:
    sums = np.concatenate(list(bootstrap_sums(np.ones((5, 1), dtype=np.int64), 100, np.random.default_rng(2))))
    assert sums.tolist() == [[5]] * 100
    drawn = np.concatenate(list(bootstrap_sums(ROWS, 40_000, np.random.default_rng(3))))
    assert drawn.mean(axis=0) == pytest.approx(ROWS.sum(axis=0), rel=0.01)
    assert drawn[:, 0].var() == pytest.approx(5 * ROWS[:, 0].var(), rel=0.03)


def test_what_is_refused() -> None:
    assert checked_columns(None, errors=[1, 0], words=[2, 3]).tolist() == [[1, 2], [0, 3]]
    with pytest.raises(InputError, match=r"words has to be a list of whole numbers"):
        checked_columns(None, errors=[1], words=[-1])
    with pytest.raises(InputError, match=r"errors, words and units have different lengths: \[1, 2\]"):
        checked_columns(["a"], errors=[1, 1], words=[2, 2])
    with pytest.raises(InputError, match="samples is 0"):
        check_draws(0, 0.95)
    with pytest.raises(InputError, match="confidence is 1"):
        check_draws(10, 1)
