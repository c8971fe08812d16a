"""Whole plans: what must hold for any data, memory and model."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.autoconfig.plan import Plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core import InputError

MB = 10**6
DURATIONS = st.lists(st.floats(0.0625, 60.0, width=32), min_size=1, max_size=80)


def test_a_plan_by_hand(planning: Any) -> None:
    plan = planning.World().plan([5.0] * 640, price_per_hour=3.6)
    assert (plan.per_device_train_batch_size, plan.gradient_accumulation_steps, plan.effective_batch_size) == (
        16,
        2,
        32,
    )
    assert (plan.target_audio_s, plan.update_audio_s, plan.updates_per_epoch) == (160.0, 160.0, 20)
    assert (plan.bf16, plan.fp16, plan.gradient_checkpointing) == (True, False, False)
    assert (plan.max_audio_duration_seconds, plan.rejected.utterances) == (5.0, 0)
    assert (plan.eval_steps, plan.save_steps, plan.logging_steps) == (20, 20, 5)
    assert (plan.epoch_s, plan.training_s, plan.cost) == (37.0, 740.0, 0.74)
    assert (plan.dataloader_num_workers, plan.use_streaming, plan.cache_audio) == (1, False, True)
    assert (plan.evaluation_batch_size, plan.budget_bytes, plan.peak_bytes) == (64, 3_400_000_000, 3_216_000_000)
    assert (plan.num_epochs, plan.learning_rate, plan.safety_margin, plan.preset) == (20, 3e-4, 0.85, None)
    assert plan.hardware["name"] == "a card"
    assert plan.dataset["utterances"] == 640
    assert plan.model["sha256"] == "5eed"


@settings(max_examples=60, deadline=None)
@given(
    durations_s=DURATIONS,
    memory_mb=st.integers(1800, 40_000),
    window_s=st.sampled_from([None, 30.0]),
    checkpointing=st.sampled_from(["auto", True, False]),
    target=st.integers(1, 64),
    margin=st.floats(0.7, 0.95),
    most=st.integers(1, 64),
)
def test_every_batch_is_within_the_budget_and_as_large_as_its_bounds_allow(
    planning: Any,
    durations_s: list[float],
    memory_mb: int,
    window_s: float | None,
    checkpointing: Any,
    target: int,
    margin: float,
    most: int,
) -> None:
    world = planning.World(memory_bytes=memory_mb * MB, model=planning.Shape(window_s=window_s))
    try:
        plan = world.plan(
            durations_s,
            gradient_checkpointing=checkpointing,
            target_batch_size=target,
            safety_margin=margin,
            max_batch_size=most,
        )
    except InputError as err:
        assert "needs" in str(err) or "allowed" in str(err)  # noqa: PT017 - one of two refusals, or a plan
        return
    law, _ = world.models(plan.precision, plan.gradient_checkpointing)
    check_rows(plan, law, durations_s, most)


def check_rows(plan: Plan, law: Any, durations_s: list[float], most: int) -> None:
    assert sum(row.utterances for row in plan.buckets) + plan.rejected.utterances == len(durations_s)
    batch_s = plan.decision("buckets").inputs["batch_audio_s"]
    accumulated = plan.gradient_accumulation_steps > 1
    low = 0.0
    for row in plan.buckets:
        point = {"duration_s": row.upper_edge_s, "tokens": row.tokens, "accumulated": accumulated}
        needed = law.peak_bytes(batch=row.batch_size, **point)
        assert needed <= row.peak_bytes <= plan.budget_bytes
        assert sum(row.memory.values()) == row.peak_bytes
        members = [value for value in durations_s if low < value and np.float32(value) <= np.float32(row.upper_edge_s)]
        assert len(members) == row.utterances
        cap = min(most, row.utterances, max(1, round(batch_s / np.mean(members))))
        assert row.batch_size <= cap + 1  # the file's batch_s is rounded
        if row.saturated:
            point["accumulated"] = True
            assert law.peak_bytes(batch=row.batch_size + 1, **point) > plan.budget_bytes
        else:
            assert row.batch_size >= cap - 1
        low = max(members)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    memory_mb=st.integers(3500, 40_000),
    target=st.integers(16, 64),
    window_s=st.sampled_from([None, 30.0]),
)
def test_updates_hold_the_audio_asked_for(
    planning: Any, seed: int, memory_mb: int, target: int, window_s: float | None
) -> None:
    durations_s = planning.log_normal(2000, seed=seed)
    world = planning.World(memory_bytes=memory_mb * MB, model=planning.Shape(window_s=window_s))
    plan = world.plan(durations_s, target_batch_size=target)
    assert abs(plan.update_audio_s / plan.target_audio_s - 1) <= 0.15
    planned_s = sum(durations_s) - plan.rejected.seconds
    assert plan.update_audio_s * plan.updates_per_epoch == pytest.approx(planned_s, rel=1e-3)


def test_the_same_inputs_give_the_same_bytes(planning: Any, tmp_path: Path) -> None:
    for name in ("first.json", "second.json"):
        planning.World().plan([*planning.log_normal(500), 10_800.0]).write(tmp_path / name)
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def test_three_hours_among_short_ones_shape_nothing_and_are_named_with_their_cost(planning: Any) -> None:
    ordinary = planning.log_normal(2000)
    alone, beside = planning.World().plan(ordinary), planning.World().plan([*ordinary, 10_800.0])
    assert beside.buckets == alone.buckets
    assert beside.gradient_checkpointing == alone.gradient_checkpointing
    assert beside.target_audio_s == alone.target_audio_s
    assert beside.max_audio_duration_seconds == alone.max_audio_duration_seconds
    (monster,) = beside.rejected.longest
    law = planning.Law()
    cost = law.peak_bytes(batch=1, duration_s=10_800.0, tokens=1, accumulated=True)
    assert (monster.id, monster.duration_s, monster.needed_bytes) == ("utt-2000", 10_800.0, cost)
    assert (beside.rejected.utterances, beside.rejected.seconds) == (1, 10_800.0)
    assert "needed_bytes: utt-2000 " in "\n".join(beside.explain("rejected"))


def test_three_hours_have_no_cost_in_a_model_with_a_window(planning: Any) -> None:
    world = planning.World(memory_bytes=10_000 * MB, model=planning.Shape(window_s=30.0))
    plan = world.plan([6.0] * 100 + [10_800.0])
    assert plan.max_audio_duration_seconds == 30.0
    assert [(item.id, item.needed_bytes) for item in plan.rejected.longest] == [("utt-100", None)]


def test_a_shorter_limit_of_the_user_holds(planning: Any) -> None:
    durations_s = [4.0] * 50 + [8.0] * 50
    plan = planning.World().plan(durations_s, max_audio_duration_s=7.0)
    assert (plan.max_audio_duration_seconds, plan.rejected.utterances, plan.rejected.seconds) == (4.0, 50, 400.0)
    window = planning.World(memory_bytes=10_000 * MB, model=planning.Shape(window_s=30.0))
    assert window.plan(durations_s, max_audio_duration_s=7.0).max_audio_duration_seconds == 7.0


def test_long_labels_may_bound_what_fits_a_window(planning: Any) -> None:
    world = planning.World(
        law=planning.Law(per_token=20 * MB),
        memory_bytes=6000 * MB,  # 5100: 1000 of states, 200 of gradients, 1501 for the window, 2399 for 119 tokens
        model=planning.Shape(window_s=30.0),
    )
    plan = world.plan([5.0] * 50 + [11.9] * 50 + [15.0] * 50, gradient_checkpointing=False)
    assert (plan.max_audio_duration_seconds, plan.rejected.utterances) == (11.9, 50)


def test_all_longer_than_allowed_is_refused(planning: Any) -> None:
    with pytest.raises(InputError, match=r"shortest utterance of train\.jsonl lasts 40\.00 s, and at most 30 s"):
        planning.World(model=planning.Shape(window_s=30.0)).plan([40.0, 50.0])


def test_an_empty_set_is_refused(planning: Any) -> None:
    with pytest.raises(InputError, match="no utterances"):
        planning.World().plan([])


def test_the_defaults_are_used_without_settings(planning: Any) -> None:
    world = planning.World()
    plan = make_plan(world.hardware(), planning.dataset_of([5.0] * 640), world.model, world.models)
    assert plan.as_json() == world.plan([5.0] * 640).as_json()
    assert PlanSettings() == PlanSettings(num_epochs=20)


def test_a_machine_without_a_gpu_plans_in_single_precision(planning: Any) -> None:
    world = planning.World(device="cpu", flops={"fp32": 1e11, "bf16": 1e11})
    plan = world.plan([5.0] * 64)
    assert (plan.precision, plan.fp16, plan.bf16) == ("fp32", False, False)
    assert {precision for precision, _ in world.asked} == {"fp32"}


def test_a_sample_stands_for_the_whole_set(planning: Any) -> None:
    dataset = planning.dataset_of([5.0] * 100, utterances=64_000, exact=False, total_s=320_000.0)
    plan = planning.World().plan_for(dataset)
    assert sum(row.utterances for row in plan.buckets) == 64_000
    assert (plan.update_audio_s, plan.updates_per_epoch) == (160.0, 2000)
    assert (plan.eval_steps, plan.cache_audio) == (1000, False)


def test_more_memory_costs_no_time(planning: Any) -> None:
    durations_s = planning.log_normal(1000)
    times = [planning.World(memory_bytes=size * MB).plan(durations_s).epoch_s for size in (4000, 8000, 16_000, 64_000)]
    for less, more in pairwise(times):
        assert more <= 1.05 * less  # larger batches have fewer buckets, which pad a little more
