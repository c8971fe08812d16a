"""May the candidate replace the baseline? Pass, regression or inconclusive, for the set and for every part of it.

- regression: worse by more than `max_regression` points, and worse beyond chance (the one-sided sign-flip test).
- pass: not worse by more than that, at the comparison's confidence (the one-sided upper limit).
- inconclusive: the data show neither.

`docs/decisions/0007-the-regression-gate.md` says why, and what it costs.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from harken.core import Strict
from harken.evaluation.comparison.comparison import Comparison
from harken.evaluation.statistics.paired_tests import PairedDifference
from harken.evaluation.statistics.power import SampleSize

Verdict = Literal["pass", "regression", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig(Strict):
    """What the gate lets through.

    `max_regression` is in points of WER (0.5 is from 10.0 % to 10.5 %). `false_alarms` is the largest chance that a
    candidate which is no worse is called a regression; where parts of the set are judged too, they get half of it.
    """

    max_regression: float = 0.5
    false_alarms: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.max_regression < 100:
            raise ValueError(f"max_regression is {self.max_regression}; use points of WER, 0 or more")
        if not 0 < self.false_alarms < 0.5:
            raise ValueError(f"false_alarms is {self.false_alarms}; use a share above 0 and below 0.5, such as 0.02")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceVerdict:
    """The verdict on one part of the set."""

    dimension: str
    label: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The verdict and its reason.

    `level` is the largest `p_worse` of a regression, of the whole set, or, after Holm's adjustment, of a part. `needed`
    is, where the set is inconclusive, how much of the same kind would show a true difference of `max_regression` with
    a power of 0.8.
    """

    verdict: Verdict
    reason: str
    max_regression: float
    level: float
    needed: SampleSize | None
    slices: tuple[SliceVerdict, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dictionaries and lists."""
        return asdict(self)


def judge(comparison: Comparison, config: GateConfig | None = None) -> GateResult:
    """Verdict on a comparison. A part that regresses makes it a regression; an inconclusive part changes nothing."""
    config = config or GateConfig()
    level = config.false_alarms / 2 if comparison.slices else config.false_alarms
    verdict = judge_difference(comparison.difference, comparison.difference.p_worse, level, config.max_regression)
    reason = explain(comparison.difference, comparison.difference.p_worse, level, config.max_regression)
    slices = tuple(
        SliceVerdict(
            dimension=part.dimension,
            label=part.label,
            verdict=judge_difference(part.difference, part.adjusted_p_worse, level, config.max_regression),
            reason=explain(part.difference, part.adjusted_p_worse, level, config.max_regression),
        )
        for part in comparison.slices
    )
    worse = [part for part in slices if part.verdict == "regression"]
    if worse and verdict != "regression":
        names = ", ".join(f"{part.dimension} {part.label}" for part in worse)
        verdict, reason = "regression", f"In {names}: {worse[0].reason} The whole set: {reason}"
    return GateResult(
        verdict=verdict,
        reason=reason,
        max_regression=config.max_regression,
        level=level,
        needed=_needed(comparison, level, config.max_regression) if verdict == "inconclusive" else None,
        slices=slices,
    )


def judge_difference(
    difference: PairedDifference, p_worse: float | None, level: float, max_regression: float
) -> Verdict:
    """Verdict on one difference: `p_worse` against `level`, the difference in points against `max_regression`."""
    if difference.value is None:
        return "inconclusive"
    if 100 * difference.value > max_regression and p_worse is not None and p_worse <= level:
        return "regression"
    if difference.upper is not None and 100 * difference.upper <= max_regression:
        return "pass"
    return "inconclusive"


def explain(difference: PairedDifference, p_worse: float | None, level: float, max_regression: float) -> str:
    """One sentence that says what led to the verdict."""
    verdict = judge_difference(difference, p_worse, level, max_regression)
    if difference.value is None:
        return difference.note
    points, sure = 100 * difference.value, f"{100 * difference.confidence:g} % confidence"
    change = "no difference" if points == 0 else f"{abs(points):.2f} points {'worse' if points > 0 else 'better'}"
    if verdict == "regression":
        return f"{change} where {max_regression:g} is allowed, and beyond chance (p = {p_worse:.2g})."
    if difference.upper is None:
        return f"{change}, but {difference.units} {difference.unit}s are too few to tell."
    worst = 100 * difference.upper
    limit = f"no more than {worst:.2f} points worse" if worst >= 0 else f"at least {-worst:.2f} points better"
    if verdict == "pass":
        return f"{change}, and {limit} at {sure}." if points or worst else "no difference."
    if points > max_regression:
        return f"{change} where {max_regression:g} is allowed, but chance is not ruled out (p = {p_worse:.2g})."
    return f"{change}, but up to {worst:.2f} points worse cannot be ruled out at {sure}."


def _needed(comparison: Comparison, level: float, max_regression: float) -> SampleSize | None:
    """How much would settle the question at the gate's own level; None where nothing is allowed or varies."""
    if max_regression == 0:
        return None
    return replace(comparison.detectable, alpha=min(2 * level, 0.5)).needed(max_regression / 100)
