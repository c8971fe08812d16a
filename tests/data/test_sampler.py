"""Batches as a pure function of (seed, epoch, step, rank)."""

import itertools
import math
import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harken.core import InputError, parse_settings
from harken.data.sampler import BucketPlan, BucketSampler, _sort, permute, plan_buckets

DURATIONS = st.lists(st.floats(0.05, 30.0), min_size=1, max_size=120)


def log_normal(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Durations like those of read speech: mean 6 s, 95th percentile 13.5 s."""
    spread = 0.606
    draws = np.random.default_rng(seed).lognormal(math.log(6) - spread**2 / 2, spread, count)
    return draws.clip(0.3, 40.0)


def sampler_of(
    durations: npt.ArrayLike, *, batch_seconds: float = 40.0, buckets: int = 5, **options: object
) -> BucketSampler:
    plan = plan_buckets(durations, buckets=buckets, batch_seconds=batch_seconds)
    return BucketSampler(durations, plan, **{"seed": 1, **options})  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(durations=DURATIONS, ranks=st.integers(1, 5), epoch=st.integers(0, 3), seed=st.integers(0, 2**63))
def test_every_utterance_once_an_epoch_over_all_ranks(
    durations: list[float], ranks: int, epoch: int, seed: int
) -> None:
    samplers = [sampler_of(durations, seed=seed, world_size=ranks, rank=rank) for rank in range(ranks)]
    seen: list[int] = []
    for step in range(samplers[0].steps_per_epoch):
        parts = [s.batch(epoch, step) for s in samplers]
        bucket = {s.bucket(epoch, step) for s in samplers}
        assert len(bucket) == 1
        (number,) = bucket
        plan = samplers[0].plan
        low = plan.edges_s[number - 1] if number else 0.0
        for part in parts:
            assert len(part) <= plan.batch_sizes[number]
            assert all(np.float32(low) < np.float32(durations[i]) <= np.float32(plan.edges_s[number]) for i in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert sorted(np.concatenate(parts)) == sorted(samplers[0].global_batch(epoch, step))
        seen += np.concatenate(parts).tolist()
    assert sorted(seen) == list(range(len(durations)))


@settings(max_examples=30, deadline=None)
@given(durations=DURATIONS, ranks=st.integers(1, 4), short_first=st.booleans())
def test_the_written_out_epoch_is_what_the_steps_give(durations: list[float], ranks: int, short_first: bool) -> None:
    order = "short-first-epoch" if short_first else "shuffled"
    sampler = sampler_of(durations, world_size=ranks, order=order)
    for epoch in (0, 1):
        written = sampler.epoch_order(epoch)
        assert len(written.buckets) == sampler.steps_per_epoch
        for step in range(sampler.steps_per_epoch):
            whole = written.indices[written.starts[step] : written.starts[step + 1]]
            assert whole.tolist() == sampler.global_batch(epoch, step).tolist()
            assert whole[0::ranks].tolist() == sampler.batch(epoch, step).tolist()
            assert written.buckets[step] == sampler.bucket(epoch, step)


def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    durations = log_normal(3000)
    used, fresh = sampler_of(durations), sampler_of(durations)
    expected = [used.batch(e, s).tolist() for e in range(3) for s in range(used.steps_per_epoch)]
    places = [(e, s) for e in range(3) for s in range(used.steps_per_epoch)]
    for number in np.random.default_rng(0).permutation(len(places))[:200]:
        assert fresh.batch(*places[number]).tolist() == expected[number]


def test_order_is_the_same_on_every_machine_and_version() -> None:
    """Pinned: a change here breaks the resume of every run made before it."""
    durations = np.arange(1, 61) / 10
    sampler = BucketSampler(durations, BucketPlan(edges_s=(3.0, 6.0), batch_sizes=(7, 5)), seed=42)
    assert sampler.batch(2, 3).tolist() == [48, 40, 46, 54, 45]
    assert permute(np.arange(5), 100_000, 7).tolist() == [50026, 68414, 98939, 52639, 45272]


def test_two_devices_with_half_the_batch_see_the_batches_of_one() -> None:
    durations = log_normal(2000)
    edges = (4.0, 8.0, 40.0)
    one = BucketSampler(durations, BucketPlan(edges_s=edges, batch_sizes=(16, 8, 4)), seed=5)
    two = BucketSampler(durations, BucketPlan(edges_s=edges, batch_sizes=(8, 4, 2)), seed=5, world_size=2)
    four = BucketSampler(durations, BucketPlan(edges_s=edges, batch_sizes=(4, 2, 1)), seed=5, world_size=4, rank=3)
    assert one.steps_per_epoch == two.steps_per_epoch == four.steps_per_epoch
    for step in range(one.steps_per_epoch):
        assert one.batch(1, step).tolist() == two.global_batch(1, step).tolist() == four.global_batch(1, step).tolist()


def test_sorting_is_by_duration_and_then_by_index() -> None:
    durations = np.random.default_rng(0).integers(1, 50, 3000).astype(np.float32) / 8
    order, sorted_s = _sort(durations)
    assert order.tolist() == np.argsort(durations, kind="stable").tolist()
    assert sorted_s.tolist() == sorted(durations.tolist())


def test_epochs_differ_in_order_and_in_company() -> None:
    sampler = sampler_of(log_normal(3000), batch_seconds=200.0)
    first, second = sampler.epoch_order(1), sampler.epoch_order(2)
    assert first.indices.tolist() != second.indices.tolist()
    companies = [
        {frozenset(o.indices[a:b].tolist()) for a, b in itertools.pairwise(o.starts.tolist())} for o in (first, second)
    ]
    assert not companies[0] & companies[1]
    assert (
        sampler_of(log_normal(3000), batch_seconds=200.0, seed=2).epoch_order(1).indices.tolist()
        != first.indices.tolist()
    )


def test_numpy_integers_mean_the_same_as_python_ones() -> None:
    python, numpy = sampler_of(log_normal(100)), sampler_of(log_normal(100), seed=np.int64(1))
    assert numpy.batch(np.int64(3), np.int64(2)).tolist() == python.batch(3, 2).tolist()  # type: ignore[arg-type]


def test_short_first_goes_up_through_the_buckets_in_epoch_0_only() -> None:
    sampler = sampler_of(log_normal(1000), order="short-first-epoch")
    buckets = sampler.epoch_order(0).buckets.tolist()
    assert buckets == sorted(buckets)
    assert sampler.epoch_order(1).buckets.tolist() != sorted(sampler.epoch_order(1).buckets.tolist())
    shuffled = sampler_of(log_normal(1000))
    assert shuffled.epoch_order(1).indices.tolist() == sampler.epoch_order(1).indices.tolist()


def test_a_rank_gets_nothing_only_where_a_bucket_has_fewer_utterances_than_ranks() -> None:
    plan = BucketPlan(edges_s=(2.0, 10.0), batch_sizes=(2, 2))
    durations = [1.0] * 9 + [5.0] * 3
    ranks = [BucketSampler(durations, plan, seed=0, world_size=4, rank=rank) for rank in range(4)]
    assert ranks[0].steps_per_epoch == 3  # 9 utterances in two batches of up to 8, 3 in one
    sizes = {ranks[0].bucket(0, s): [] for s in range(3)}
    for step in range(3):
        sizes[ranks[0].bucket(0, step)].append(sorted(len(r.batch(0, step)) for r in ranks))
    assert sorted(sizes[0]) == [[1, 1, 1, 1], [1, 1, 1, 2]]
    assert sizes[1] == [[0, 1, 1, 1]]
    empty = next(r.batch(0, s) for s in range(3) for r in ranks if not len(r.batch(0, s)))
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


def test_empty_buckets_of_a_plan_made_elsewhere_have_no_steps() -> None:
    plan = BucketPlan(edges_s=(1.0, 2.0, 3.0, 9.0), batch_sizes=(4, 4, 4, 4))
    sampler = BucketSampler([0.5] * 5 + [2.5] * 4, plan, seed=0)
    assert Counter(sampler.bucket(0, s) for s in range(sampler.steps_per_epoch)) == {0: 2, 2: 1}
    assert sorted(sampler.epoch_order(0).indices.tolist()) == list(range(9))


def test_one_utterance() -> None:
    sampler = sampler_of([3.0])
    assert (sampler.steps_per_epoch, sampler.batch(7, 0).tolist(), sampler.padding_share()) == (1, [0], 0.0)


def test_a_later_change_of_the_durations_outside_changes_nothing() -> None:
    durations = log_normal(100)
    sampler = sampler_of(durations)
    before = sampler.epoch_order(0).indices.tolist(), sampler.padding_share()
    durations[:] = 1.0
    assert (sampler.epoch_order(0).indices.tolist(), sampler.padding_share()) == before


def test_padding_share_against_a_loop() -> None:
    durations = log_normal(700)
    for ranks in (1, 3):
        samplers = [sampler_of(durations, world_size=ranks, rank=r) for r in range(ranks)]
        processed = 0.0
        for sampler in samplers:
            for step in range(sampler.steps_per_epoch):
                part = durations[sampler.batch(2, step)]
                processed += part.max() * len(part) if len(part) else 0.0
        assert samplers[0].padding_share(2) == pytest.approx(1 - durations.sum() / processed, abs=1e-6)


@pytest.mark.parametrize("batch_seconds", [200, 1000])
def test_thirty_buckets_pad_at_most_5_percent(batch_seconds: float) -> None:
    durations = log_normal(200_000)
    sampler = sampler_of(durations, buckets=30, batch_seconds=batch_seconds)
    assert len(sampler.plan.edges_s) == 30
    assert 0.02 < sampler.padding_share() <= 0.05


def test_least_padding_edges_against_every_possible_choice() -> None:
    durations = np.array([1.0, 1.1, 1.2, 2.0, 2.1, 3.5, 3.6, 3.7, 9.0])

    def padded(edges: tuple[float, ...]) -> float:
        upper = np.array(edges)
        return float((upper[np.searchsorted(upper, durations)] - durations).sum())

    plan = plan_buckets(durations, buckets=4, batch_seconds=1.0)
    candidates = itertools.combinations(sorted(set(durations)), 3)
    best = min(padded((*inner, 9.0)) for inner in candidates if 9.0 not in inner)
    assert len(plan.edges_s) == 4
    assert padded(plan.edges_s) == pytest.approx(best)


def test_batch_sizes_fill_the_budget() -> None:
    plan = plan_buckets([2.0] * 100 + [10.0] * 100 + [30.0] * 10, buckets=3, batch_seconds=60.0)
    assert (plan.edges_s, plan.batch_sizes) == ((2.0, 10.0, 30.0), (30, 6, 2))
    attention = plan_buckets([2.0] * 100 + [10.0] * 100 + [30.0] * 10, buckets=3, batch_seconds=60.0, quadratic_s=20.0)
    assert attention.batch_sizes == (27, 4, 1)  # an utterance counts 2.2, 15 and 75 s
    capped = plan_buckets([2.0] * 100 + [10.0] * 100 + [30.0] * 10, buckets=3, batch_seconds=60.0, max_batch_size=8)
    assert capped.batch_sizes == (8, 6, 2)


def test_edges_are_whole_milliseconds_that_still_hold_everything() -> None:
    durations = np.random.default_rng(0).uniform(0.5, 9.0, 500)
    plan = plan_buckets(durations, buckets=6, batch_seconds=20)
    assert all(edge == round(edge, 3) for edge in plan.edges_s)
    assert plan.edges_s[-1] >= durations.max()
    BucketSampler(durations, plan, seed=0)


def test_no_bucket_is_a_handful_of_very_long_utterances() -> None:
    durations = np.concatenate([np.random.default_rng(0).uniform(1, 10, 2000), [100.0, 101.0, 102.0]])
    plan = plan_buckets(durations, buckets=8, batch_seconds=110.0)
    assert len(plan.edges_s) == 8
    lower = (0.0, *plan.edges_s[:-1])
    held = [
        durations[(durations > low) & (durations <= edge)].sum() for low, edge in zip(lower, plan.edges_s, strict=True)
    ]
    assert min(held) >= durations.sum() / 8 / 4


def test_small_sets_get_fewer_buckets_instead_of_tiny_batches() -> None:
    durations = log_normal(60)  # about 360 s: nine batches of 40 s
    plan = plan_buckets(durations, buckets=30, batch_seconds=40.0)
    assert len(plan.edges_s) == 2
    assert len(plan_buckets(durations, buckets=30, batch_seconds=1e6).edges_s) == 1
    assert len(plan_buckets([1.0] * 1000, buckets=30, batch_seconds=5.0).edges_s) == 1


def test_updates_share_out_the_steps_of_an_epoch_evenly() -> None:
    sampler = BucketSampler([1.0] * 10, BucketPlan(edges_s=(1.0,), batch_sizes=(1,)), seed=0)
    assert (sampler.steps_per_epoch, sampler.updates_per_epoch(4)) == (10, 3)
    spans = [sampler.update_steps(update, 4) for update in range(6)]
    assert spans == [range(3), range(3, 6), range(6, 10), range(10, 13), range(13, 16), range(16, 20)]
    assert sampler.update_steps(5, 1) == range(5, 6)
    with pytest.raises(ValueError, match="accumulate is 0; use 1"):
        sampler.updates_per_epoch(0)
    with pytest.raises(ValueError, match="update is -1"):
        sampler.update_steps(-1, 1)


def test_short_permutations_are_all_equally_likely() -> None:
    draws, count = 12_000, 4
    seen = Counter(tuple(permute(np.arange(count), count, key * 0x9E3779B97F4A7C15 % 2**64)) for key in range(draws))
    assert len(seen) == math.factorial(count)
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 2047, 2048, 2049, 4097, 10_000])
def test_permutations_are_permutations_and_random_access(count: int) -> None:
    whole = permute(np.arange(count), count, 99)
    assert sorted(whole.tolist()) == list(range(count))
    some = np.array([count - 1, 0, count // 2])
    assert permute(some, count, 99).tolist() == whole[some].tolist()


def test_long_permutations_pass_for_random() -> None:
    count, cells, keys = 5000, 20, 60
    images = np.stack([permute(np.arange(count), count, 1000 + key) for key in range(keys)])
    # Where positions go: a table of source cell by target cell, which has (cells - 1)² degrees of freedom.
    table, _, _ = np.histogram2d(np.tile(np.arange(count), keys), images.ravel(), bins=cells)
    expected = count * keys / cells**2
    p = stats.chi2.sf(((table - expected) ** 2 / expected).sum(), (cells - 1) ** 2)
    assert p > 1e-3
    # Neighbours end up anywhere: the distance of the images of i and i + 1 has a triangular distribution.
    distance = np.abs(np.diff(images, axis=1)).ravel()
    assert np.mean(distance) == pytest.approx(count / 3, rel=0.01)
    # Two keys agree in one position on average, and a place goes to every other under some key.
    assert np.mean([np.sum(a == b) for a, b in itertools.pairwise(images)]) == pytest.approx(1.0, abs=0.5)


def test_where_an_utterance_comes_in_the_epoch_is_uniform() -> None:
    durations = log_normal(400)
    sampler = sampler_of(durations, batch_seconds=30.0)
    steps, epochs, cells = sampler.steps_per_epoch, 300, 8
    counts = np.zeros((3, cells))
    for epoch in range(epochs):
        order = sampler.epoch_order(epoch)
        step_of = np.empty(400, dtype=int)
        step_of[order.indices] = np.repeat(np.arange(steps), np.diff(order.starts))
        for row, utterance in enumerate((0, 17, 399)):
            counts[row, step_of[utterance] * cells // steps] += 1
    weights = np.bincount(np.arange(steps) * cells // steps, minlength=cells) / steps
    for row in counts:
        assert stats.chisquare(row, weights * epochs).pvalue > 1e-3


def test_a_million_utterances_are_quick_to_order_and_to_resume() -> None:
    durations = log_normal(1_000_000)
    began = time.process_time()
    plan = plan_buckets(durations, buckets=30, batch_seconds=200)
    sampler = BucketSampler(durations, plan, seed=3)
    order = sampler.epoch_order(0)
    assert time.process_time() - began < 2.0  # about 0.25 s on an idle machine
    assert np.array_equal(np.sort(order.indices), np.arange(1_000_000))
    began = time.process_time()
    resumed = BucketSampler(durations, plan, seed=3)
    built = time.process_time()
    batch = resumed.batch(*divmod(100_000, sampler.steps_per_epoch))
    assert time.process_time() - built < 0.05  # a millisecond
    assert built - began < 0.5  # about 0.03 s
    assert batch.tolist() == sampler.batch(*divmod(100_000, sampler.steps_per_epoch)).tolist()


@pytest.mark.parametrize(
    ("edges", "sizes", "message"),
    [
        ((), (), "edges_s is empty"),
        ((1.0, 2.0), (4,), "one size for each of the 2 edges_s"),
        ((2.0, 1.0), (4, 4), "ascending upper edges"),
        ((1.0, 1.0), (4, 4), "ascending"),
        ((0.0, 1.0), (4, 4), "ascending"),
        ((1.0, math.inf), (4, 4), "ascending"),
        ((math.nan,), (4,), "ascending"),
        ((1.0,), (0,), "use 1 or more utterances"),
    ],
)
def test_plans_check_themselves(edges: tuple[float, ...], sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BucketPlan(edges_s=edges, batch_sizes=sizes)


def test_plans_enter_as_settings() -> None:
    plan = parse_settings(BucketPlan, {"edges_s": [2, 4.5], "batch_sizes": [8, 4]}, source="plan.json")
    assert plan == BucketPlan(edges_s=(2.0, 4.5), batch_sizes=(8, 4))
    with pytest.raises(InputError, match="did you mean 'edges_s'"):
        parse_settings(BucketPlan, {"edge_s": [2], "batch_sizes": [8]}, source="plan.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": 0}, "buckets is 0"),
        ({"batch_seconds": 0}, "batch_seconds is 0"),
        ({"batch_seconds": math.nan}, "batch_seconds is nan"),
        ({"max_batch_size": 0}, "max_batch_size is 0"),
        ({"quadratic_s": -1.0}, "quadratic_s is -1.0"),
    ],
)
def test_planning_refuses_settings_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_buckets([1.0, 2.0], **{"batch_seconds": 10.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("durations", "message"),
    [
        ([], "no utterances"),
        ([[1.0]], "no utterances"),
        ([1.0, 0.0], "number 1 has a duration of 0.0 s"),
        ([1.0, math.nan], "number 1 has a duration of nan"),
        ([math.inf], "number 0 has a duration of inf"),
        ([1.0, 2.0, 5.0, 3.0], "number 2 lasts 5.000 s, and the last bucket ends at 2.500 s"),
    ],
)
def test_bad_durations_are_named(durations: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BucketSampler(durations, BucketPlan(edges_s=(2.5,), batch_sizes=(1,)), seed=0)


def test_misuse_is_refused() -> None:
    plan = BucketPlan(edges_s=(2.5,), batch_sizes=(1,))
    with pytest.raises(ValueError, match="world_size is 0"):
        BucketSampler([1.0], plan, seed=0, world_size=0)
    with pytest.raises(ValueError, match="rank is 2; use 0 to 1"):
        BucketSampler([1.0], plan, seed=0, world_size=2, rank=2)
    with pytest.raises(ValueError, match="order is 'random'"):
        BucketSampler([1.0], plan, seed=0, order="random")  # type: ignore[arg-type]
    sampler = BucketSampler([1.0, 2.0], plan, seed=0)
    with pytest.raises(ValueError, match="step is 2; use 0 to 1"):
        sampler.batch(0, 2)
    with pytest.raises(ValueError, match="epoch is -1"):
        sampler.batch(-1, 0)


def test_identity_tells_apart_what_would_change_the_order() -> None:
    durations = log_normal(50)
    same, other = durations.copy(), durations.copy()
    other[3] += 0.001
    base = sampler_of(durations).identity()
    assert sampler_of(same).identity() == base
    assert base["utterances"] == 50
    assert BucketSampler(other, sampler_of(durations).plan, seed=1).identity() != base
    assert sampler_of(durations, seed=2).identity() != base
    assert sampler_of(durations, world_size=2).identity() != base
