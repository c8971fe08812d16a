"""Buckets, batch sizes and accumulation, against numbers worked out by hand and a slow count."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from harken.autoconfig.batches import Batches, plan_batches
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.speech import speech_of
from harken.data.sampler import BucketPlan, BucketSampler

MB = 10**6


def make(
    planning: Any,
    durations_s: list[float],
    *,
    budget_bytes: int = 3400 * MB,
    law: Any = None,
    shape: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    **settings: Any,
) -> Batches | None:
    speech = speech_of(planning.dataset_of(durations_s, **(dataset or {})), planning.Shape(**(shape or {})))
    return plan_batches(
        speech, law or planning.Law(), planning.Pace(), PlanSettings(**settings), budget_bytes=budget_bytes
    )


def test_one_duration_by_hand(planning: Any) -> None:
    # A row takes 1 + 20 * 5 + 25 = 126 MB. 19 fit beside 1000 MB, and 32 make an update of 160 s: two batches of 16
    # do, beside 200 MB of gradients.
    made = make(planning, [5.0] * 640)
    assert made is not None
    (row,) = made.rows
    assert (row.upper_edge_s, row.batch_size, row.tokens, row.utterances) == (5.0, 16, 50, 640)
    assert row.peak_bytes == (1000 + 200 + 16 * 126) * MB
    assert row.memory == {
        "parameters": 250 * MB,
        "optimizer": 750 * MB,
        "gradients": 200 * MB,
        "activations": 16 * 126 * MB,
        "workspace": 0,
    }
    assert not row.saturated
    assert (made.accumulate, made.target_s, made.update_s, made.steps, made.updates) == (2, 160.0, 160.0, 40, 20)
    assert made.epoch_s == pytest.approx(40 * (0.1 + 0.01 * 16 * 5) + 20 * 0.05)


def test_memory_for_everything_makes_one_batch_of_an_update(planning: Any) -> None:
    made = make(planning, [5.0] * 640, budget_bytes=100_000 * MB)
    assert made is not None
    assert [row.batch_size for row in made.rows] == [32]
    assert made.accumulate == 1
    assert made.rows[0].peak_bytes == (1000 + 32 * 126) * MB  # no gradients live through the forward pass


def test_accumulating_takes_memory_of_its_own(planning: Any) -> None:
    # 27 rows of 87 MB fit beside 1000 MB of states and would make an update of 108 s; with 800 MB of gradients 18 do.
    law = planning.Law(per_row=3 * MB, per_s=17 * MB, per_s2=1 * MB, gradients=800 * MB)
    assert law.largest_batch(3400 * MB, duration_s=4.0, tokens=1, accumulated=False, at_most=64) == 27
    assert law.largest_batch(3400 * MB, duration_s=4.0, tokens=1, accumulated=True, at_most=64) == 18
    made = make(planning, [4.0] * 1080, law=law, target_audio_s=216.0)
    assert made is not None
    assert (made.rows[0].batch_size, made.rows[0].saturated, made.accumulate) == (18, True, 3)
    assert made.rows[0].peak_bytes == (1000 + 800 + 18 * 87) * MB


def test_one_batch_makes_an_update_where_memory_allows_though_some_hold_less(planning: Any) -> None:
    made = make(planning, planning.log_normal(10_000), budget_bytes=100_000 * MB)
    assert made is not None
    assert made.accumulate == 1
    assert made.update_s == pytest.approx(made.target_s, rel=0.01)


def test_an_update_may_fall_a_little_short_before_it_takes_a_second_batch(planning: Any) -> None:
    made = make(planning, [5.0] * 646, target_audio_s=100.0)  # 19 of the 20 rows fit
    assert made is not None
    assert (made.rows[0].batch_size, made.accumulate, made.update_s) == (19, 1, 95.0)


def test_an_update_has_no_more_batches_than_an_epoch(planning: Any) -> None:
    made = make(planning, [5.0] * 3, target_audio_s=1000.0, max_batch_size=1)
    assert made is not None
    assert (made.accumulate, made.updates, made.update_s) == (3, 1, 15.0)


def test_the_largest_batch_size_is_a_bound(planning: Any) -> None:
    made = make(planning, [1.0] * 1000, budget_bytes=100_000 * MB, target_batch_size=100, max_batch_size=50)
    assert made is not None
    assert (made.rows[0].batch_size, made.rows[0].saturated, made.accumulate) == (50, False, 2)


def test_a_row_of_a_window_costs_the_window_in_memory_and_its_speech_in_the_update(planning: Any) -> None:
    # A row takes 1 + 600 + 900 = 1501 MB; (8500 - 1200) // 1501 = 4 rows of 6 s: 8 batches for 32 * 6 s.
    made = make(planning, [6.0] * 320, budget_bytes=8500 * MB, shape={"window_s": 30.0})
    assert made is not None
    (row,) = made.rows
    assert (row.upper_edge_s, row.batch_size, row.saturated, made.accumulate) == (30.0, 4, True, 8)
    assert (made.target_s, made.update_s, made.speech_s) == (192.0, 192.0, 1920.0)
    assert made.epoch_s == pytest.approx(80 * (0.1 + 0.01 * 4 * 30) + 10 * 0.05)


def test_what_no_window_holds_is_left_out_and_counted(planning: Any) -> None:
    made = make(planning, [6.0] * 10 + [31.0, 90.0], budget_bytes=8500 * MB, shape={"window_s": 30.0})
    assert made is not None
    assert (made.kept, made.utterances, made.rejected, made.rejected_s) == (10, 10, 2, 121.0)


def test_the_longest_that_fits_by_itself_is_kept(planning: Any) -> None:
    # One row of T s: 1 + 20 T + T² MB within 2400 MB without accumulation; 39.98 s is the root of that.
    made = make(planning, [39.0, 39.97, 39.99, 45.0], target_audio_s=1.0)
    assert made is not None
    assert (made.kept, made.rejected, made.rows[-1].upper_edge_s) == (2, 2, 39.97)


def test_what_would_share_a_bucket_with_longer_labels_than_fit_is_left_out(planning: Any) -> None:
    # 5 s with 400 labels take 2126 MB and 20 s with 10 take 851, but 20 s with 400 take 2801, beside 1000.
    law, characters = planning.Law(per_token=5 * MB), np.array([400, 10], dtype=np.int32)
    made = make(planning, [5.0, 20.0], law=law, target_audio_s=1.0, dataset={"characters": characters})
    assert made is not None
    assert (made.kept, [row.upper_edge_s for row in made.rows]) == (1, [5.0])


def test_utterances_of_one_millisecond_are_kept_or_left_out_together(planning: Any) -> None:
    law, characters = planning.Law(per_token=6 * MB), np.array([10, 10, 400], dtype=np.int32)  # 2526 MB for the last
    made = make(planning, [4.0, 5.0002, 5.0004], law=law, target_audio_s=1.0, dataset={"characters": characters})
    assert made is not None
    assert (made.kept, made.rejected, made.rows[-1].upper_edge_s) == (1, 2, 4.0)


def test_nothing_fits(planning: Any) -> None:
    assert make(planning, [39.99, 45.0]) is None


def test_one_far_beyond_the_rest_has_a_bucket_of_its_own(planning: Any) -> None:
    ordinary, law = planning.log_normal(600), planning.Law(per_s2=0)
    alone = make(planning, ordinary, law=law, target_audio_s=192.0)
    beside = make(planning, [*ordinary, 100.0, 108.0], law=law, target_audio_s=192.0)
    assert alone is not None
    assert beside is not None
    assert [row.upper_edge_s for row in beside.rows[:-1]] == [row.upper_edge_s for row in alone.rows]
    assert (beside.rows[-1].upper_edge_s, beside.rows[-1].batch_size, beside.rows[-1].utterances) == (108.0, 1, 2)
    assert beside.ordinary == 600


def test_labels_of_a_bucket_are_its_longest(planning: Any) -> None:
    characters = np.array([50, 70, 10], dtype=np.int32)
    made = make(planning, [5.0, 5.0, 5.0], dataset={"characters": characters})
    assert made is not None
    assert [row.tokens for row in made.rows] == [70]


def test_long_labels_take_memory_too(planning: Any) -> None:
    law = planning.Law(per_token=10 * MB)
    short = make(planning, [5.0] * 64, law=law, dataset={"characters": np.full(64, 10, dtype=np.int32)})
    long = make(planning, [5.0] * 64, law=law, dataset={"characters": np.full(64, 90, dtype=np.int32)})
    assert short is not None
    assert long is not None
    assert (short.rows[0].batch_size, long.rows[0].batch_size) == (9, 2)  # 2200 // 226 and 2200 // 1026


def test_a_sample_stands_for_the_whole_set(planning: Any) -> None:
    made = make(
        planning,
        [5.0] * 90 + [50.0] * 10,
        dataset={"utterances": 12_345, "exact": False, "total_s": 117_000.0},
    )
    assert made is not None
    assert (made.kept, made.utterances, made.rejected) == (90, 11_111, 1_234)  # 11110.5 and 1234.5
    assert made.rejected_s == pytest.approx(1_234 * 50)
    assert sum(row.utterances for row in made.rows) == 11_111


def test_batches_of_an_epoch_are_those_that_the_sampler_deals(planning: Any) -> None:
    durations_s = planning.log_normal(700, seed=3)
    made = make(planning, durations_s)
    assert made is not None
    plan = BucketPlan(
        edges_s=tuple(row.upper_edge_s for row in made.rows), batch_sizes=tuple(row.batch_size for row in made.rows)
    )
    sampler = BucketSampler(durations_s, plan, seed=1)
    drawn = Counter(sampler.bucket(0, step) for step in range(sampler.steps_per_epoch))
    assert [drawn[bucket] for bucket in range(len(made.rows))] == list(made.batches)
    assert sampler.updates_per_epoch(made.accumulate) == made.updates
    members = Counter(
        sampler.bucket(0, step) for step in range(sampler.steps_per_epoch) for _ in sampler.items(0, step)
    )
    assert [members[bucket] for bucket in range(len(made.rows))] == [row.utterances for row in made.rows]
