"""Recipes that leave batch sizes to a plan: what a planner is told, and what it answers.

A planner is found by name through the entry point group `harken.planners`; Harken's own is `auto`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from harken.core import InputError, load_plugin
from harken.training.plan_config import PlanConfig
from harken.training.preparation import Rejection, Subset
from harken.training.recipe import Recipe

GROUP = "harken.planners"
PLANNER = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningRequest:
    """What there is to plan for. `settings` are the family's, `dimensions` those of a feature frame.

    `durations_s` and `label_lengths` are those of all utterances to train on; augmentation may draw them out to
    1 / `slowest` of their duration. `window_s` is the length of every row where that is fixed, and with `packed` a row
    holds several utterances. `new_head` says that the output layer is trained beside an adapter.
    """

    recipe: Recipe
    choice: PlanConfig
    family: str
    settings: Mapping[str, Any]
    dimensions: int
    output_units: int
    durations_s: Sequence[float]
    label_lengths: Sequence[int]
    slowest: float
    window_s: float | None
    packed: bool
    new_head: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """The recipe with what was left to the plan, the plan as JSON, and lines about it for people.

    `verify` says whether real steps are to be taken first; None leaves it to the device.
    """

    recipe: Recipe
    verify: bool | None
    plan: Mapping[str, Any]
    lines: Sequence[str]


class Planner(Protocol):
    """Raises InputError where nothing fits, and for a plan that is for something else."""

    def __call__(self, request: PlanningRequest) -> PlannedRun: ...


def find_planner() -> Planner:
    """The installed planner. Raises MissingPart where there is none."""
    return cast(Planner, load_plugin(GROUP, PLANNER))


def check_free(recipe: Recipe) -> None:
    """Refuse what a recipe fixes although its plan decides it."""
    batches = recipe.batches
    fixed = {
        "batches.edges_s": batches.edges_s,
        "batches.batch_s": batches.batch_s,
        "batches.accumulate": batches.accumulate,
        "training.validation_batch_s": recipe.training.validation_batch_s,
    }
    for name, value in fixed.items():
        if value:
            raise InputError(f"plan and {name} are both given.", hint="The plan decides it; keep one of them.")


def within_plan(train: Subset, recipe: Recipe) -> Subset:
    """The utterances that the planned buckets hold; the others rejected by name."""
    edges_s = recipe.batches.edges_s
    if not edges_s:
        return train
    fits = [utterance.duration_s <= edges_s[-1] + 1e-6 for utterance in train.utterances]
    if all(fits):
        return train
    kept = train.only([place for place, ok in enumerate(fits) if ok])
    left_out = tuple(
        Rejection(
            id=utterance.id,
            reason="longer than max_duration_s",
            detail=f"{utterance.duration_s:.3f} s, and training on more than {edges_s[-1]:g} s does not fit in memory",
        )
        for utterance, ok in zip(train.utterances, fits, strict=True)
        if not ok
    )
    return replace(kept, rejected=train.rejected + left_out)
