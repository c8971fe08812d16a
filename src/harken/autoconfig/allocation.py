"""Which of several cards a training needs: the smallest that takes its batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harken.autoconfig import rules
from harken.autoconfig.dataset import DatasetProfile
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan import Plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core import InputError
from harken.core.units import format_bytes

if TYPE_CHECKING:
    from harken.autoconfig.model import PlannedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsideredCard:
    """A card and whether the batches fit: the predicted peak on it, and what of its memory may be used.

    `needed_bytes` is None for a card that cannot compute as asked; `refusal` says why.
    """

    name: str
    needed_bytes: int | None
    budget_bytes: int
    refusal: str = ""

    @property
    def fits(self) -> bool:
        """Whether the peak is within the budget."""
        return self.needed_bytes is not None and self.needed_bytes <= self.budget_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The chosen card with the plan for it, and in `considered` the cards in order of their memory, up to it."""

    hardware: HardwareProfile
    plan: Plan
    reason: str
    considered: tuple[ConsideredCard, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, the plan aside."""
        cards = [
            {"name": card.name, "needed_bytes": card.needed_bytes, "budget_bytes": card.budget_bytes, "fits": card.fits}
            for card in self.considered
        ]
        return {"hardware": self.hardware.name, "reason": self.reason, "considered": cards}


def allocate_card(
    cards: Sequence[HardwareProfile],
    dataset: DatasetProfile,
    model: "PlannedModel",
    settings: PlanSettings | None = None,
) -> Allocation:
    """The card with the least memory that takes the batches of the plan for the card with the most.

    Each is judged in its own precision, with gradient checkpointing as in that plan. Raises InputError without cards,
    and what `make_plan` raises where even the largest is too small.
    """
    if not cards:
        raise InputError("There are no GPUs to choose from.", hint="Name at least one, such as 't4'.")
    settings = settings or PlanSettings()
    by_memory = sorted(cards, key=lambda card: (card.memory_bytes, max(card.flops.values())))
    largest = by_memory[-1]
    wanted = make_plan(largest, dataset, model.profile, model.laws(largest, utilisation=settings.utilisation), settings)
    considered: list[ConsideredCard] = []
    for card in by_memory[:-1]:
        considered.append(_consider(card, wanted, model, settings))
        if considered[-1].fits:
            plan = make_plan(card, dataset, model.profile, model.laws(card, utilisation=settings.utilisation), settings)
            reason = _reason(considered[-1], wanted, f"the smallest of {len(cards)}")
            return Allocation(hardware=card, plan=plan, reason=reason, considered=tuple(considered))
    last = ConsideredCard(name=largest.name, needed_bytes=wanted.peak_bytes, budget_bytes=wanted.budget_bytes)
    place = "the only one" if len(cards) == 1 else f"the smallest of {len(cards)}"
    return Allocation(
        hardware=largest, plan=wanted, reason=_reason(last, wanted, place), considered=(*considered, last)
    )


def _consider(card: HardwareProfile, wanted: Plan, model: "PlannedModel", settings: PlanSettings) -> ConsideredCard:
    budget_bytes = rules.budget_bytes(card.memory_bytes, settings.safety_margin).value
    try:
        precision = rules.choose_precision(card, settings.precision)
    except InputError as err:
        return ConsideredCard(name=card.name, needed_bytes=None, budget_bytes=budget_bytes, refusal=str(err))
    memory, _ = model.laws(card, utilisation=settings.utilisation)(precision, wanted.gradient_checkpointing)
    window_s = model.profile.window_s
    needed_bytes = max(
        memory.peak_bytes(
            batch=row.batch_size,
            duration_s=row.upper_edge_s if window_s is None else window_s,
            tokens=row.tokens,
            accumulated=wanted.gradient_accumulation_steps > 1,
        )
        for row in wanted.buckets
    )
    return ConsideredCard(name=card.name, needed_bytes=needed_bytes, budget_bytes=budget_bytes)


def _reason(card: ConsideredCard, wanted: Plan, place: str) -> str:
    needed = format_bytes(card.needed_bytes or 0)
    batch = max(row.batch_size for row in wanted.buckets)
    return (
        f"{card.name} is {place} that takes the batches, up to {batch} utterances at once: they need {needed} of the "
        f"{format_bytes(card.budget_bytes)} that may be used."
    )
