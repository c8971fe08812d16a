"""Plans side by side: which of several models, ways of training and devices go together, and what that takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harken.autoconfig.dataset import DatasetProfile
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan import Plan, rounded
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core import InputError

if TYPE_CHECKING:
    from harken.autoconfig.model import PlannedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPlan:
    """A model, trained in one way on one device. `plan` is None where that cannot be; `refusal` says why."""

    model: str
    way: str
    hardware: str
    plan: Plan | None
    refusal: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values: what the plan comes to, None where there is none."""
        return {
            "model": self.model,
            "way": self.way,
            "hardware": self.hardware,
            "fits": self.plan is not None,
            "refusal": self.refusal,
            **(dict.fromkeys(_SUMMARY) if self.plan is None else rounded(summary_of(self.plan))),
        }


_SUMMARY = (
    "precision",
    "gradient_checkpointing",
    "per_device_train_batch_size",
    "peak_bytes",
    "budget_bytes",
    "audio_s_per_s",
    "training_s",
    "cost",
    "left_out",
)


def summary_of(plan: Plan) -> dict[str, Any]:
    """The figures by which plans are compared. `left_out` counts utterances, the other names are the plan's."""
    own = {"audio_s_per_s": audio_s_per_s(plan), "left_out": plan.rejected.utterances}
    return {name: own[name] if name in own else getattr(plan, name) for name in _SUMMARY}


def audio_s_per_s(plan: Plan) -> float:
    """Predicted seconds of speech trained on in a second, padding not counted."""
    return plan.update_audio_s * plan.updates_per_epoch / plan.epoch_s


def compare_plans(
    dataset: DatasetProfile,
    models: Sequence["PlannedModel"],
    hardware: Sequence[HardwareProfile],
    settings: PlanSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[ComparedPlan]:
    """A plan for every model on every device, in the order given, devices of a model together.

    What the planner refuses (a device too small, a precision it lacks) is an entry without a plan. `progress` is called
    with how many are done and how many there are.
    """
    settings = settings or PlanSettings()
    pairs = [(model, device) for model in models for device in hardware]
    found: list[ComparedPlan] = []
    for model, device in pairs:
        plan, refusal = None, ""
        try:
            laws = model.laws(device, utilisation=settings.utilisation)
            plan = make_plan(device, dataset, model.profile, laws, settings)
        except InputError as err:
            refusal = str(err)
        profile = model.profile
        found.append(
            ComparedPlan(model=profile.name, way=profile.way, hardware=device.name, plan=plan, refusal=refusal)
        )
        if progress is not None:
            progress(len(found), len(pairs))
    return found
