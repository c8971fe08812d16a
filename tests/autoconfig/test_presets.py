"""Presets."""

import math

import pytest

from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.presets import PRESETS, find_preset, preset_names
from harken.core import InputError
from harken.models.variants import find_variant


@pytest.mark.parametrize(
    ("name", "model", "samples", "epochs"),
    [
        ("demo", "openai/whisper-tiny", (500, 100), 2),
        ("balanced", "openai/whisper-base", (1000, 200), 3),
        ("best", "openai/whisper-small", (2000, 400), 5),
    ],
)
def test_the_numbers_of_row_c17(name: str, model: str, samples: tuple[int, int], epochs: int) -> None:
    preset = find_preset(name)
    assert (preset.model, preset.train_samples, preset.validation_samples, preset.epochs) == (model, *samples, epochs)
    assert find_variant(model).hub_id == model


def test_settings_take_the_epochs_and_the_name_and_keep_the_rest() -> None:
    settings = find_preset("demo").settings(PlanSettings(safety_margin=0.7, num_epochs=9))
    assert settings == PlanSettings(safety_margin=0.7, num_epochs=2, preset="demo")
    assert find_preset("best").settings() == PlanSettings(num_epochs=5, preset="best")


@pytest.mark.parametrize(
    ("total", "split"), [(10_000, (500, 100)), (600, (500, 100)), (550, (500, 50)), (500, (500, 0)), (3, (3, 0))]
)
def test_a_set_smaller_than_asked_is_split_as_row_d14_says(total: int, split: tuple[int, int]) -> None:
    assert find_preset("demo").split(total) == split


def test_updates_are_as_many_as_the_module_says() -> None:
    def updates(samples: int, epochs: int) -> int:
        return math.ceil(samples / 32) * epochs

    assert [updates(preset.train_samples, preset.epochs) for preset in PRESETS] == [32, 96, 315]
    assert [updates(50, 1), updates(200, 2), updates(500, 3)] == [2, 14, 48]


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"No preset is called 'balance'\. Did you mean balanced\?"):
        find_preset("balance")
    with pytest.raises(InputError, match="Use one of demo, balanced, best"):
        find_preset("production")
    assert preset_names() == ["demo", "balanced", "best"]
