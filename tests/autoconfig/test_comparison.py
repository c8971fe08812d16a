"""Several plans at once: in order, with a reason where there is none."""

from dataclasses import dataclass
from typing import Any

import pytest

from harken.autoconfig.comparison import audio_s_per_s, compare_plans, summary_of
from harken.autoconfig.plan_inputs import PlanSettings


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model as far as a comparison asks: its profile, and its laws on a device."""

    world: Any
    asked: list[tuple[str, float]]

    @property
    def profile(self) -> Any:
        return self.world.model

    def laws(self, hardware: Any, *, utilisation: float) -> Any:
        self.asked.append((hardware.name, utilisation))
        return self.world.models


def test_every_model_on_every_device_in_order(planning: Any) -> None:
    asked: list[tuple[str, float]] = []
    large = planning.Law(states=9000 * planning.MB)
    models: list[Any] = [
        Model(world=planning.World(model=planning.Shape(name="a")), asked=asked),
        Model(world=planning.World(law=large, model=planning.Shape(name="b", way="lora")), asked=asked),
    ]
    devices = [planning.World(memory_bytes=gigabytes * 10**9).hardware() for gigabytes in (4, 16)]
    progress: list[tuple[int, int]] = []
    found = compare_plans(
        planning.dataset_of(planning.log_normal(300)),
        models,
        devices,
        PlanSettings(utilisation=0.3),
        progress=lambda done, total: progress.append((done, total)),
    )
    assert [(item.model, item.way, item.plan is not None) for item in found] == [
        ("a", "full", True),
        ("a", "full", True),
        ("b", "lora", False),
        ("b", "lora", True),
    ]
    assert [item.plan.budget_bytes for item in found if item.plan] == [3_400_000_000, 13_600_000_000, 13_600_000_000]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert asked == [("a card", 0.3)] * 4
    assert found[2].refusal.startswith("Training b on a card needs ")
    assert found[0].refusal == ""
    refused, fitting = found[2].as_json(), found[3].as_json()
    assert refused.keys() == fitting.keys()
    assert (refused["fits"], refused["peak_bytes"], fitting["fits"]) == (False, None, True)
    assert fitting["peak_bytes"] <= fitting["budget_bytes"]


def test_the_figures_that_are_compared(planning: Any) -> None:
    plan = planning.World().plan([*planning.log_normal(300), 10_800.0], price_per_hour=2.0)
    facts = summary_of(plan)
    assert (facts["left_out"], facts["precision"]) == (1, "bf16")
    assert facts["cost"] == pytest.approx(2 * plan.training_s / 3600)
    speech_s = plan.dataset["total_s"] - plan.rejected.seconds
    assert audio_s_per_s(plan) == pytest.approx(speech_s / plan.epoch_s, rel=1e-5)
    assert facts["audio_s_per_s"] == audio_s_per_s(plan)
