"""Rules about batches and updates, on batches worked out by hand (see test_batches)."""

from typing import Any

import pytest

from harken.autoconfig import rules, update_rules
from harken.autoconfig.batches import Batches, plan_batches
from harken.autoconfig.plan import RejectedUtterance
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.speech import speech_of

MB = 10**6
BUDGET = 3400 * MB


def made_of(planning: Any, durations_s: list[float], **settings: Any) -> Batches:
    speech = speech_of(planning.dataset_of(durations_s), planning.Shape())
    made = plan_batches(speech, planning.Law(), planning.Pace(), PlanSettings(**settings), budget_bytes=BUDGET)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def made(planning: Any) -> Batches:
    """640 utterances of 5 s: batches of 16, two of which make an update of 160 s."""
    return made_of(planning, [5.0] * 640)


def test_the_updates_of_one_duration(made: Batches) -> None:
    settings = PlanSettings()
    target = update_rules.target_audio_s(made, settings)
    assert (target.value, target.inputs) == (160.0, {"target_batch_size": 32, "mean_duration_s": 5.0})
    assert update_rules.per_device_train_batch_size(made).value == 16
    accumulation = update_rules.gradient_accumulation_steps(made)
    assert accumulation.value == 2
    assert accumulation.inputs == {"target_audio_s": 160.0, "mean_batch_audio_s": 80.0, "batches_per_epoch": 40}
    assert update_rules.updates_per_epoch(made).value == 20
    assert update_rules.update_audio_s(made).value == 160.0
    assert update_rules.effective_batch_size(made).value == 32
    assert update_rules.buckets(made, settings).value == {"edges_s": [5.0], "batch_sizes": [16]}
    assert sum(update_rules.memory(made).value.values()) == update_rules.memory(made).inputs["peak_bytes"] == 3216 * MB


def test_a_target_in_seconds_takes_the_place_of_one_in_utterances(planning: Any) -> None:
    settings = PlanSettings(target_audio_s=320.0)
    made = made_of(planning, [5.0] * 640, target_audio_s=320.0)
    assert update_rules.target_audio_s(made, settings).value == 320.0
    assert update_rules.target_audio_s(made, settings).rule == "As the settings say."
    assert update_rules.effective_batch_size(made).value == 64


@pytest.mark.parametrize(("short", "long", "edge_s"), [(300, 400, 10.0), (400, 300, 2.0), (350, 350, 2.0)])
def test_the_batch_size_is_that_of_the_median_utterance(planning: Any, short: int, long: int, edge_s: float) -> None:
    made = made_of(planning, [2.0] * short + [10.0] * long)
    sizes = {row.upper_edge_s: row.batch_size for row in made.rows}
    assert sorted(sizes) == [2.0, 10.0]
    assert sizes[2.0] > sizes[10.0]
    assert update_rules.per_device_train_batch_size(made).value == sizes[edge_s]


def test_the_largest_batch_that_validates_within_the_budget(planning: Any, made: Batches) -> None:
    # (3400 - 1000) MB hold 76 rows of 126 / 4 MB, 21 rows of 450 / 4.
    decision = update_rules.evaluation_batch_size(
        made, planning.Law(), budget=BUDGET, settings=PlanSettings(max_batch_size=500)
    )
    assert (decision.value, decision.inputs["needed_bytes"]) == (76, 3394 * MB)
    capped = update_rules.evaluation_batch_size(made, planning.Law(), budget=BUDGET, settings=PlanSettings())
    assert capped.value == 64
    tight = update_rules.evaluation_batch_size(made, planning.Law(), budget=MB, settings=PlanSettings())
    assert tight.value == 1


def test_time_and_cost(made: Batches) -> None:
    epoch, training, cost = rules.time_and_cost(made, PlanSettings(price_per_hour=3.6))
    assert (epoch.name, epoch.value) == ("epoch_s", 37.0)  # 40 batches of 0.9 s, 20 updates of 0.05 s
    assert (training.value, training.inputs) == (740.0, {"epoch_s": 37.0, "num_epochs": 20})
    assert cost.value == pytest.approx(0.74)
    assert epoch.inputs["utilisation"] == 0.4
    assert epoch.inputs["audio_s_per_s"] == pytest.approx(3200 / 37)


def test_without_a_price_there_is_no_cost(made: Batches) -> None:
    cost = rules.time_and_cost(made, PlanSettings())[2]
    assert (cost.value, cost.rule) == (None, "No price is given.")


def test_the_limit_says_whether_anything_is_beyond_it() -> None:
    all_fit = update_rules.max_audio_duration_seconds(12.0, longest_s=12.0, window_s=None, asked_s=None)
    some_do_not = update_rules.max_audio_duration_seconds(12.0, longest_s=12.5, window_s=30.0, asked_s=12.0)
    assert all_fit.rule == "Every utterance fits."
    assert some_do_not.rule.startswith("The longest that fits in memory")
    assert some_do_not.inputs == {"longest_s": 12.5, "window_s": 30.0, "max_audio_duration_s": 12.0}


def test_what_is_left_out_is_named_with_its_cost(planning: Any) -> None:
    made = made_of(planning, [5.0] * 10 + [100.0])
    named = RejectedUtterance(id="utt-10", duration_s=100.0, needed_bytes=13_201 * MB)
    decision = update_rules.rejected(made, [named], budget=BUDGET)
    assert decision.value == {"utterances": 1, "seconds": 100.0}
    assert decision.inputs == {"planned": 10, "budget_bytes": BUDGET, "needed_bytes": {"utt-10": 13_201 * MB}}
