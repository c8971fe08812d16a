"""Batches of waveforms of similar length."""

from harken.inference.batches import batches_by_length


def test_batches_hold_at_most_the_padded_samples_asked_for() -> None:
    batches = list(batches_by_length([16_000, 40_000, 8_000, 8_000, 8_000, 15_000], limit=32_000))
    assert batches == [[1], [0, 5], [2, 3, 4]]  # longest first; the first alone is over the limit and still runs
    assert sorted(i for batch in batches for i in batch) == list(range(6))


def test_what_every_row_costs_at_least() -> None:
    assert [len(batch) for batch in batches_by_length([10] * 5, limit=60, least=30)] == [2, 2, 1]
    assert list(batches_by_length([], limit=1)) == []
