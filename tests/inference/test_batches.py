"""Batches of waveforms of similar length."""

import random

import pytest

from harken.inference.batches import batches_by_length


def test_batches_hold_at_most_the_padded_samples_asked_for() -> None:
    batches = list(batches_by_length([16_000, 40_000, 8_000, 8_000, 8_000, 15_000], limit=32_000))
    assert batches == [[1], [0, 5], [2, 3, 4]]  # longest first; the first alone is over the limit and still runs
    assert sorted(i for batch in batches for i in batch) == list(range(6))


def test_what_every_row_costs_at_least() -> None:
    assert [len(batch) for batch in batches_by_length([10] * 5, limit=60, least=30)] == [2, 2, 1]
    assert list(batches_by_length([], limit=1)) == []


@pytest.mark.parametrize(
    ("files", "at_a_time", "sizes"),
    [(12, 2, [3, 3, 3, 3]), (9, 2, [4, 4, 1]), (17, 3, [3, 3, 3, 3, 3, 2]), (8, 2, [4, 4]), (12, 1, [4, 4, 4])],
)
def test_batches_that_run_at_a_time_end_together(files: int, at_a_time: int, sizes: list[int]) -> None:
    batches = batches_by_length([10] * files, limit=40, at_a_time=at_a_time)
    assert [len(batch) for batch in batches] == sizes


def test_they_never_end_later_than_without() -> None:
    draw = random.Random(5)

    def cost(batch: list[int]) -> int:
        return max(lengths[i] for i in batch) * len(batch)

    def end(batches: list[list[int]]) -> int:
        free = [0] * at_a_time
        for batch in batches:
            free[free.index(min(free))] += cost(batch)
        return max(free)

    earlier = 0
    for _ in range(200):
        lengths = [draw.randint(1, 4_000) for _ in range(draw.randint(1, 120))]
        limit, at_a_time = draw.randint(2_000, 30_000), draw.randint(2, 4)
        usual = batches_by_length(lengths, limit=limit)
        even = batches_by_length(lengths, limit=limit, at_a_time=at_a_time)
        assert sorted(i for batch in even for i in batch) == list(range(len(lengths)))
        assert all(cost(batch) <= limit or len(batch) == 1 for batch in even)
        assert end(even) <= end(usual)
        earlier += end(even) < 0.95 * end(usual)
    assert earlier > 50
