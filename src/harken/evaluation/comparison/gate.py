"""May the candidate replace the baseline? Pass, regression or inconclusive, for the set and for every part of it.

- regression: worse by more than `max_regression` points, and worse beyond chance (the one-sided sign-flip test).
- pass: not worse by more than that, at the comparison's confidence (the one-sided upper limit).
- inconclusive: the data show neither.

`docs/decisions/0007-the-regression-gate.md` says why, and what it costs.
"""

from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

from harken.core import InputError, Strict
from harken.evaluation.comparison.comparison import Comparison
from harken.evaluation.comparison.slices import SliceComparison
from harken.evaluation.statistics.p_values import p_text
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
    """Verdict on a comparison. A part that regresses makes it a regression; an inconclusive part changes nothing.

    Raises InputError where the comparison took so few random swaps that nothing could be called a regression.
    """
    config = config or GateConfig()
    level = config.false_alarms / 2 if comparison.slices else config.false_alarms
    _check_samples(comparison, level)
    verdict = judge_difference(comparison.difference, comparison.difference.p_worse, level, config.max_regression)
    reason = explain(comparison.difference, comparison.difference.p_worse, level, config.max_regression)
    slices = tuple(
        SliceVerdict(
            dimension=part.dimension,
            label=part.label,
            verdict=judge_difference(part.difference, part.adjusted_p_worse, level, config.max_regression),
            reason=_explain_part(part, len(comparison.slices), level, config.max_regression),
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
    if _is_above(difference.value, max_regression) and p_worse is not None and p_worse <= level:
        return "regression"
    if difference.upper is not None and not _is_above(difference.upper, max_regression):
        return "pass"
    return "inconclusive"


def _is_above(difference: float, points: float) -> bool:
    return 100 * difference > points + 1e-9  # 0.007 is 0.7 points, which 100 * 0.007 misses by a last bit


def _check_samples(comparison: Comparison, level: float) -> None:
    tested = [(comparison.difference, 1)]
    # The number of parts is the most that Holm's method multiplies by.
    tested += [(part.difference, len(comparison.slices)) for part in comparison.slices]
    drawn = [(one.samples, factor) for one, factor in tested if one.p_worse is not None and not one.exact]
    # A p-value is a share of the swaps and their opposites, those of no unit and of every unit among them.
    smallest = max((factor / (2 * samples + 2) for samples, factor in drawn), default=0.0)
    if smallest > level:
        raise InputError(
            f"The random swaps that were taken give no p-value below {smallest:.2g}, and the gate needs {level:g}.",
            hint=f"Compare with samples {ceil(max(factor for _, factor in drawn) / (2 * level)):,} or more.",
        )


def explain(difference: PairedDifference, p_worse: float | None, level: float, max_regression: float) -> str:
    """One sentence that says what led to the verdict."""
    verdict = judge_difference(difference, p_worse, level, max_regression)
    if difference.value is None:
        return difference.note
    points, sure = 100 * difference.value, f"{100 * difference.confidence:g} % confidence"
    change = "no difference" if points == 0 else f"{abs(points):.2f} points {'worse' if points > 0 else 'better'}"
    if verdict == "regression":
        return f"{change} where {max_regression:g} is allowed, and beyond chance ({p_text(p_worse)})."
    if difference.upper is None:
        return f"{change}, but {_counted(difference)} too few to tell."
    worst = 100 * difference.upper
    limit = f"no more than {worst:.2f} points worse" if worst >= 0 else f"at least {-worst:.2f} points better"
    if verdict == "pass":
        return f"{change}, and {limit} at {sure}." if points or worst else "no difference."
    if _is_above(difference.value, max_regression):
        return f"{change} where {max_regression:g} is allowed, but chance is not ruled out ({p_text(p_worse)})."
    return f"{change}, but up to {worst:.2f} points worse cannot be ruled out at {sure}."


def _explain_part(part: SliceComparison, parts: int, level: float, max_regression: float) -> str:
    reason = explain(part.difference, part.adjusted_p_worse, level, max_regression)
    # Whatever happens in it, the p-value of n units is 2 ** -n or more, and Holm's method multiplies it.
    if part.adjusted_p_worse is not None and parts * 2.0**-part.difference.units > level:
        reason += f" In a part of {part.difference.units} {part.difference.unit}s no rise counts as beyond chance."
    return reason


def _counted(difference: PairedDifference) -> str:
    return f"1 {difference.unit} is" if difference.units == 1 else f"{difference.units} {difference.unit}s are"


def _needed(comparison: Comparison, level: float, max_regression: float) -> SampleSize | None:
    """How much would settle the question at the gate's own level; None where nothing is allowed or varies."""
    if max_regression == 0:
        return None
    return replace(comparison.detectable, alpha=min(2 * level, 0.5)).needed(max_regression / 100)
