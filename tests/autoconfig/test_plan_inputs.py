"""What a user may ask of the planner."""

from typing import Any

import pytest

from harken.autoconfig.plan_inputs import PlanSettings
from harken.core import InputError, parse_settings
from harken.models.advice import REACHED_SHARE


@pytest.mark.parametrize("margin", [0.69, 0.96, 0.0, -1.0, 85.0, float("nan")])
def test_a_margin_out_of_range_is_refused_with_the_range(margin: float) -> None:
    with pytest.raises(ValueError, match=r"use a share of the memory from 0\.7 to 0\.95"):
        PlanSettings(safety_margin=margin)


@pytest.mark.parametrize("margin", [0.7, 0.85, 0.95])
def test_a_margin_in_the_range_is_taken(margin: float) -> None:
    assert PlanSettings(safety_margin=margin).safety_margin == margin


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_batch_size": 0},
        {"target_audio_s": 0.0},
        {"num_epochs": -1},
        {"learning_rate": float("inf")},
        {"max_audio_duration_s": 0.0},
        {"buckets": 0},
        {"max_batch_size": 0},
        {"utilisation": 0.0},
        {"utilisation": 1.1},
        {"price_per_hour": -0.1},
        {"workers": -1},
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PlanSettings(**wrong)


def test_the_defaults_are_the_required_ones() -> None:
    settings = PlanSettings()
    assert (settings.num_epochs, settings.target_batch_size, settings.learning_rate) == (20, 32, 3e-4)
    assert (settings.safety_margin, settings.max_batch_size) == (0.85, 64)


def test_the_utilisation_is_the_one_that_the_advice_measured() -> None:
    assert PlanSettings().utilisation == REACHED_SHARE


def test_settings_come_from_text_too() -> None:
    settings = parse_settings(PlanSettings, {"gradient_checkpointing": False, "workers": "2"}, source="request")
    assert settings.gradient_checkpointing is False
    assert settings.workers == 2
    with pytest.raises(InputError, match="gradient_checkpointing"):
        parse_settings(PlanSettings, {"gradient_checkpointing": "maybe"}, source="request")
