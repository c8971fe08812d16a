"""When activations are computed twice."""

from dataclasses import replace
from typing import Any

import pytest

DURATIONS_S = [5.0] * 640


def decided(world: Any, durations_s: list[float], **settings: Any) -> Any:
    plan = world.plan(durations_s, **settings)
    decision = plan.decision("gradient_checkpointing")
    assert decision.value == plan.gradient_checkpointing
    return decision


def same_activations(slower: float) -> Any:
    """A quarter of the activations, and time per audio-second times `slower`."""

    def way(law: Any, pace: Any) -> Any:
        small = replace(law, per_row=law.per_row // 4, per_s=law.per_s // 4, per_s2=law.per_s2 // 4)
        return small, replace(pace, per_audio_s=pace.per_audio_s * slower)

    return way


def test_off_without_asking_where_memory_bounds_no_batch(planning: Any) -> None:
    world = planning.World(memory_bytes=100_000 * planning.MB, model=planning.Shape(parameters=10**9))
    decision = decided(world, DURATIONS_S)
    assert decision.value is False
    assert decision.inputs["seconds_per_audio_s_with"] is None
    assert world.asked == [("bf16", False)]


# Without: 40 batches of 16, each fixed + 0.8 s, and 20 updates of 0.05 s for 3200 s of audio. With a quarter of the
# activations: 20 batches of 32, each fixed + 1.6 * slower.


def test_on_where_the_larger_batch_saves_more_than_computing_twice_costs(planning: Any) -> None:
    world = planning.World(pace=planning.Pace(fixed_s=0.5), checkpointed=same_activations(1.1))
    decision = decided(world, DURATIONS_S)
    assert decision.value is True
    assert decision.inputs["seconds_per_audio_s_without"] == pytest.approx((40 * 1.3 + 1) / 3200)
    assert decision.inputs["seconds_per_audio_s_with"] == pytest.approx((20 * 2.26 + 1) / 3200)
    assert decision.inputs["utterances_with"] == decision.inputs["utterances_without"] == 640
    assert world.asked == [("bf16", False), ("bf16", True)]


def test_off_where_it_does_not(planning: Any) -> None:
    decision = decided(planning.World(), DURATIONS_S)
    assert decision.value is False
    assert decision.inputs["seconds_per_audio_s_without"] == pytest.approx((40 * 0.9 + 1) / 3200)
    assert decision.inputs["seconds_per_audio_s_with"] == pytest.approx((20 * (0.1 + 1.6 * 4 / 3) + 1) / 3200)


@pytest.mark.parametrize(("parameters", "on"), [(100_000_000, False), (100_000_001, True)])
def test_the_size_breaks_a_tie(planning: Any, parameters: int, on: bool) -> None:
    world = planning.World(  # 40 * 1.3 + 1 = 53 s against 20 * (0.5 + 1.6 * 4 / 3) + 1 = 53.67 s
        pace=planning.Pace(fixed_s=0.5), model=planning.Shape(parameters=parameters)
    )
    decision = decided(world, DURATIONS_S)
    assert decision.value is on
    assert decision.inputs["parameters"] == parameters
    assert "more than 100 million parameters" in decision.rule


def test_on_where_fewer_utterances_fit_without_however_slow(planning: Any) -> None:
    world = planning.World(checkpointed=same_activations(10.0))
    decision = decided(world, [5.0] * 100 + [45.0])  # 1 + 900 + 2025 MB do not fit into 2400
    assert decision.value is True
    assert (decision.inputs["utterances_without"], decision.inputs["utterances_with"]) == (100, 101)
    assert decision.rule.startswith("On: without it, fewer")


def test_on_where_nothing_fits_without(planning: Any) -> None:
    world = planning.World(checkpointed=same_activations(10.0))
    decision = decided(world, [45.0] * 10)
    assert decision.value is True
    assert decision.inputs["seconds_per_audio_s_without"] is None


def test_one_far_beyond_the_rest_does_not_decide(planning: Any) -> None:
    world = planning.World(checkpointed=same_activations(10.0))
    plan = world.plan([5.0] * 640 + [80.0])
    assert plan.gradient_checkpointing is False  # with it, 80 s would fit: (1 + 1600 + 6400) / 4 MB
    assert plan.rejected.utterances == 1
    assert world.plan([5.0] * 640 + [80.0], gradient_checkpointing=True).rejected.utterances == 0


def test_one_far_beyond_the_rest_does_not_even_make_the_planner_ask(planning: Any) -> None:
    world = planning.World(memory_bytes=100_000 * planning.MB)
    assert world.plan([*DURATIONS_S, 10_800.0]).rejected.utterances == 1
    assert world.asked == [("bf16", False)]


@pytest.mark.parametrize("asked", [True, False])
def test_what_the_settings_say_holds(planning: Any, asked: bool) -> None:
    world = planning.World()
    decision = decided(world, DURATIONS_S, gradient_checkpointing=asked)
    assert (decision.value, decision.rule) == (asked, "As the settings say.")
    assert world.asked == [("bf16", asked)]


def test_off_where_it_would_let_fewer_fit(planning: Any) -> None:
    def worse(law: Any, pace: Any) -> Any:
        return replace(law, states=law.states + 1600 * planning.MB), pace

    decision = decided(planning.World(checkpointed=worse), [5.0] * 640 + [25.0])
    assert decision.value is False
    assert decision.rule.startswith("Off: checkpointing lets no more")
