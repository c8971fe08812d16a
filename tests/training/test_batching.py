"""How large batches and updates become, against sums done by hand and against epochs that are walked through."""

import numpy as np
import pytest

from harken.core import InputError
from harken.training.batching import Batching, plan_batching
from harken.training.recipe import BatchConfig

DURATIONS_S = [2.0] * 50 + [4.0] * 50  # 300 s, 3 s in the mean


def rows_and_batches(made: Batching, durations_s: list[float]) -> tuple[tuple[int, ...], int]:
    sampler, plan = made.bucket_sampler(durations_s, seed=1, order="shuffled")
    return plan.batch_sizes, made.accumulate(sampler, sum(durations_s))


def test_without_windows_an_update_holds_its_seconds() -> None:
    made = plan_batching(DURATIONS_S, BatchConfig(update_s=60, batch_s=20, buckets=1), window_s=None, packed=False)
    # Five rows of up to 4 s fit into 20 s, and hold 15 s of speech.
    assert rows_and_batches(made, DURATIONS_S) == ((5,), 4)
    assert made.costs_s([1.0, 2.0]) == [1.0, 2.0]
    assert made.speech_share([1.0, 2.0]) == 1.0


@pytest.mark.parametrize(
    ("config", "rows", "batches"),
    [
        (BatchConfig(update_samples=32), 32, 1),  # 32 windows
        (BatchConfig(update_samples=32, batch_s=240), 8, 4),  # as four times eight of 30 s
        (BatchConfig(update_s=96), 32, 1),  # 96 s of speech are 32 utterances
        (BatchConfig(update_samples=10, batch_s=240), 5, 2),  # not eight and two
        (BatchConfig(update_s=24, max_batch_size=2), 2, 4),
        (BatchConfig(update_s=3), 1, 1),
        (BatchConfig(update_samples=32, batch_s=20), 1, 32),  # a window is more than 20 s
        (BatchConfig(update_samples=20, accumulate=4), 5, 4),
    ],
)
def test_windows(config: BatchConfig, rows: int, batches: int) -> None:
    durations_s = DURATIONS_S[25:75] * 2
    made = plan_batching(durations_s, config, window_s=30.0, packed=False)
    assert made.plan is not None
    assert made.plan.edges_s == (30.0,)
    got, accumulate = rows_and_batches(made, durations_s)
    assert (got, accumulate) == ((rows,), batches)


def test_speech_in_windows_of_one() -> None:
    made = plan_batching(DURATIONS_S, BatchConfig(), window_s=30.0, packed=False)
    assert made.speech_share([3.0, 6.0]) == pytest.approx(0.15)
    assert plan_batching(DURATIONS_S, BatchConfig(), window_s=30.0, packed=True).speech_share([3.0]) == 1.0


def lengths_s(name: str) -> list[float]:
    """Durations of 1500 utterances."""
    draw = np.random.default_rng(7)
    made = {
        "read": draw.lognormal(np.log(5.2), 0.5, 1500).clip(0.5, 30),
        "commands": draw.uniform(0.3, 0.75, 1500),
        "even": draw.uniform(1, 20, 1500),
        "two kinds": np.concatenate([draw.uniform(0.5, 1.5, 1200), draw.uniform(15, 25, 300)]),
        "all alike": np.full(1500, 7.3),
        "long tail": (1 + draw.pareto(1.5, 1500)).clip(1, 60),
    }[name]
    return [round(float(value), 3) for value in made]


def mean_update_s(made: Batching, durations_s: list[float]) -> float:
    """Speech of an update of the first epoch, on average."""
    sampler, _ = made.bucket_sampler(durations_s, seed=3, order="shuffled")
    accumulate = made.accumulate(sampler, sum(durations_s))
    updates = sampler.updates_per_epoch(accumulate)
    places = [step for update in range(updates) for step in sampler.update_steps(update, accumulate)]
    assert places == list(range(sampler.steps_per_epoch))
    held_s = sum(durations_s[int(index)] for step in places for index in sampler.items(0, step))
    assert held_s == pytest.approx(sum(durations_s))
    return held_s / updates


@pytest.mark.parametrize("window_s", [None, 60.0])
@pytest.mark.parametrize(
    "config",
    [
        BatchConfig(),
        BatchConfig(update_samples=8),
        BatchConfig(update_samples=8, buckets=2),
        BatchConfig(update_s=90),
        BatchConfig(update_samples=40, batch_s=100),
        BatchConfig(update_s=200, batch_s=70, max_batch_size=8),
        BatchConfig(update_samples=24, accumulate=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["read", "commands", "even", "two kinds", "all alike", "long tail"])
def test_updates_hold_what_they_are_meant_to(name: str, config: BatchConfig, window_s: float | None) -> None:
    durations_s = lengths_s(name)
    made = plan_batching(durations_s, config, window_s=window_s, packed=False)
    wanted_s = config.target_s(sum(durations_s) / len(durations_s))
    assert made.update_s == wanted_s
    # Rows are whole: a bucket of half the speech has two or three, and nothing between.
    coarse = config.buckets == 2 and name == "long tail"
    assert mean_update_s(made, durations_s) == pytest.approx(wanted_s, rel=0.11 if coarse else 0.1)
    assert made.plan is not None
    for edge_s, rows in zip(made.plan.edges_s, made.plan.batch_sizes, strict=True):
        assert rows <= config.max_batch_size
        assert rows == 1 or config.batch_s is None or rows * edge_s <= config.batch_s


def test_batches_of_one_bucket_hold_as_much_as_those_of_another() -> None:
    durations_s = lengths_s("read")
    made = plan_batching(durations_s, BatchConfig(), window_s=None, packed=False)
    sampler, _ = made.bucket_sampler(durations_s, seed=3, order="shuffled")
    held_s = [sum(durations_s[int(i)] for i in sampler.items(0, step)) for step in range(sampler.steps_per_epoch)]
    assert max(held_s) < 1.6 * min(held_s)


PLANNED = BatchConfig(edges_s=(3.0, 8.0, 20.0), batch_sizes=(16, 6, 2), update_s=60)


def test_planned_buckets_are_taken_as_they_are() -> None:
    durations_s = [value for value in lengths_s("even") if value <= 20]
    made = plan_batching(durations_s, PLANNED, window_s=None, packed=False)
    sampler, plan = made.bucket_sampler(durations_s, seed=3, order="shuffled")
    assert (plan.edges_s, plan.batch_sizes) == ((3.0, 8.0, 20.0), (16, 6, 2))
    batches = [sampler.items(0, step) for step in range(sampler.steps_per_epoch)]
    assert {sampler.bucket(0, step) for step in range(sampler.steps_per_epoch)} == {0, 1, 2}
    padded_s = np.mean([len(batch) * max(durations_s[int(i)] for i in batch) for batch in batches])
    speech_s = sum(durations_s) / len(batches)
    # The same by padded seconds as by speech: an update of 60 s of speech has this many padded seconds.
    wanted_padded_s = 60 * padded_s / speech_s
    assert made.accumulate(sampler, sum(durations_s)) == max(1, round(wanted_padded_s / padded_s))
    assert mean_update_s(made, durations_s) == pytest.approx(60, rel=0.15)  # batches are whole


def test_the_number_of_batches_can_be_set() -> None:
    config = BatchConfig(edges_s=(20.0,), batch_sizes=(4,), accumulate=5)
    durations_s = [value for value in lengths_s("even") if value <= 20]
    made = plan_batching(durations_s, config, window_s=None, packed=False)
    assert rows_and_batches(made, durations_s) == ((4,), 5)


def test_a_planned_window_is_the_models_own() -> None:
    made = plan_batching(
        DURATIONS_S, BatchConfig(edges_s=(30,), batch_sizes=(7,), update_s=42), window_s=30.0, packed=False
    )
    assert rows_and_batches(made, DURATIONS_S) == ((7,), 2)
    with pytest.raises(
        InputError, match=r"edges_s is \[3.0, 8.0, 20.0\], but every row of this model is a window of 3"
    ):
        plan_batching(DURATIONS_S, PLANNED, window_s=30.0, packed=True)
