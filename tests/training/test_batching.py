"""How large batches and updates become, against sums done by hand."""

import pytest

from harken.training.batching import plan_batching
from harken.training.recipe import BatchConfig

DURATIONS_S = [2.0] * 50 + [4.0] * 50  # 300 s, 3 s in the mean


def test_without_windows_an_update_holds_its_seconds() -> None:
    made = plan_batching(DURATIONS_S, BatchConfig(update_s=60, batch_s=20, buckets=1), window_s=None, packed=False)
    assert made.accumulate == 3
    assert made.plan.batch_sizes == (5,)
    assert made.costs_s([1.0, 2.0]) == [1.0, 2.0]
    assert made.speech_share([1.0, 2.0]) == 1.0


@pytest.mark.parametrize(
    ("config", "packed", "rows", "accumulate"),
    [
        (BatchConfig(update_samples=32), False, 32, 1),  # 32 windows
        (BatchConfig(update_samples=32, batch_s=240), False, 8, 4),  # as four times eight of 30 s
        (BatchConfig(update_s=96), False, 32, 1),  # 96 s of speech are 32 utterances
        (BatchConfig(update_s=96), True, 3, 1),  # and three windows of them
        (BatchConfig(update_s=480, batch_s=120), True, 4, 4),
        (BatchConfig(update_s=480, max_batch_size=2), True, 2, 8),
        (BatchConfig(update_s=3), True, 1, 1),
    ],
)
def test_windows(config: BatchConfig, packed: bool, rows: int, accumulate: int) -> None:
    made = plan_batching(DURATIONS_S, config, window_s=30.0, packed=packed)
    assert (made.plan.batch_sizes, made.accumulate) == ((rows,), accumulate)
    assert made.plan.edges_s == (30.0,)


def test_speech_in_windows_of_one() -> None:
    made = plan_batching(DURATIONS_S, BatchConfig(), window_s=30.0, packed=False)
    assert made.speech_share([3.0, 6.0]) == pytest.approx(0.15)
    assert plan_batching(DURATIONS_S, BatchConfig(), window_s=30.0, packed=True).speech_share([3.0]) == 1.0
