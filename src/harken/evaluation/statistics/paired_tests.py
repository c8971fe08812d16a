"""Is one system really better than another on the same test set?

Both tests draw whole speakers (or recordings), because a change of the model helps some speakers and harms others;
tests that take utterances as independent then find differences that another set of speakers would not show.

- `sign_flip_test`: if the systems were alike, swapping their labels within a speaker would change nothing. E. Pitman,
  "Significance tests which may be applied to samples from any populations" (1937). Exact for any number of speakers.
  Its interval holds every shift that the test would not reject; that makes its limits quantiles of the difference in
  random halves of the speakers: J. Hartigan, "Using subsample values as typical values", JASA 64 (1969).
- `paired_bootstrap`: both systems on the same redrawn speakers. M. Bisani and H. Ney, ICASSP 2004. With fewer than
  some thirty speakers it rejects more often than it says.
- `paired_t_test`: the test of textbooks, kept for comparison with older work; see its docstring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError, keyed_generator
from harken.evaluation.statistics.intervals import FEW_UNITS
from harken.evaluation.statistics.resampling import (
    Rows,
    bootstrap_sums,
    check_draws,
    checked_columns,
    every_subset_sum,
    subset_sums,
    sum_by_unit,
)

LARGEST_EXACT = 14
"""Up to this many units every one of the 2 ** units swaps is tried."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Rate of B minus rate of A (fractions; above zero: B makes more errors), and what the data say about it.

    `low` and `high` enclose it at `confidence`; `lower` and `upper` are limits each of which holds at `confidence` by
    itself (one-sided). A limit is None where there are too few units for one. `p_value` is two-sided; `p_worse` is
    that of the observed rise, or a larger one, if B were no worse. Both are None where nothing can be tested.
    `unit` is what was drawn, `units` how many there are. `exact` says that every draw was tried, not `samples` of them.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None
    p_worse: float | None = None
    method: Literal["sign-flip", "bootstrap"]
    unit: str
    units: int
    samples: int
    seed: int
    confidence: float
    exact: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TTest:
    """Paired t-test on the rates of single utterances; None where there are too few, or where they are all equal."""

    mean: float | None
    t: float | None
    p_value: float | None
    utterances: int
    note: str


def sign_flip_test(
    errors_a: npt.ArrayLike,
    words_a: npt.ArrayLike,
    errors_b: npt.ArrayLike,
    words_b: npt.ArrayLike,
    units: Sequence[object] | None = None,
    *,
    unit: str | None = None,
    samples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 42,
) -> PairedDifference:
    """Test of the pooled difference, B minus A, under swaps of the two systems within units.

    Counts are (utterances,) of both systems on the same utterances. `units` names the speaker or recording of each;
    without it each utterance is a unit. `unit` is what the units are called in the result. Up to `LARGEST_EXACT` units
    are enumerated; above, `samples` random swaps are taken, and for each the swap of all other units.

    Raises InputError for lengths that differ, negative counts, fewer than 1 sample, or a confidence outside (0, 1).
    """
    check_draws(samples, confidence)
    rows = _paired_rows(errors_a, words_a, errors_b, words_b, units)
    start = _start(rows, "sign-flip", unit or _unit_name(units), samples, seed, confidence)
    if start.value is None or start.note:
        return start
    value, exact = start.value, len(rows) <= LARGEST_EXACT
    subsets = every_subset_sum(rows) if exact else _drawn_subsets(rows, samples, seed)
    swapped = _differences(_swap(rows, subsets))
    rounding = 1e-12 + 1e-9 * abs(value)

    def share(hits: npt.NDArray[np.bool_]) -> float:
        return int(np.count_nonzero(hits)) / len(subsets)

    low, high, lower, upper = _typical_limits(_differences(subsets), confidence)
    informative = int(np.count_nonzero(_swap_effect(rows)))
    smallest = 2.0 ** (1 - informative)
    note = ""
    if smallest > 1 - confidence:
        note = f"The systems differ in {informative} of {_named(start)}: no p-value below {smallest:.2g} is possible."
    return replace(
        start,
        low=low,
        high=high,
        lower=lower,
        upper=upper,
        p_value=share(np.abs(swapped) >= abs(value) - rounding),
        p_worse=share(swapped >= value - rounding),
        exact=exact,
        note=note,
    )


def paired_bootstrap(
    errors_a: npt.ArrayLike,
    words_a: npt.ArrayLike,
    errors_b: npt.ArrayLike,
    words_b: npt.ArrayLike,
    units: Sequence[object] | None = None,
    *,
    unit: str | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> PairedDifference:
    """Percentile interval of the pooled difference, B minus A: the same units drawn for both systems.

    Arguments and errors are those of `sign_flip_test`. The p-value is twice the smaller share of samples on either
    side of zero, the data themselves counted among them.
    """
    check_draws(samples, confidence)
    rows = _paired_rows(errors_a, words_a, errors_b, words_b, units)
    start = _start(rows, "bootstrap", unit or _unit_name(units), samples, seed, confidence)
    if start.value is None or start.note:
        return start
    sums = np.concatenate(list(bootstrap_sums(rows, samples, keyed_generator("paired-bootstrap", seed))))
    drawn = _differences(sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)].astype(np.float64))
    if len(drawn) == 0:
        return replace(start, note="No sample drew a unit that has words; draw more samples.")
    tail = 1 - confidence
    low, high, lower, upper = np.quantile(drawn, [tail / 2, 1 - tail / 2, tail, 1 - tail]).tolist()
    not_above, not_below = (1 + int(np.count_nonzero(side)) for side in (drawn <= 0, drawn >= 0))
    return replace(
        start,
        low=low,
        high=high,
        lower=lower,
        upper=upper,
        p_value=min(1.0, 2 * min(not_above, not_below) / (1 + len(drawn))),
        p_worse=not_above / (1 + len(drawn)),
        note=f"Only {_named(start)}: the interval is too narrow." if len(rows) < FEW_UNITS else "",
    )


def paired_t_test(
    errors_a: npt.ArrayLike, words_a: npt.ArrayLike, errors_b: npt.ArrayLike, words_b: npt.ArrayLike
) -> TTest:
    """Student's paired test on (utterances,) word error rates, B minus A; utterances without words are left out.

    It tests the mean of the rates, in which an utterance of one word weighs as much as one of eighty, so it has less
    power than tests of the pooled rate; and it takes utterances of one speaker as independent, so it finds differences
    where there are none once the systems suit some speakers better. Use `sign_flip_test` to decide.
    """
    rows = checked_columns(None, errors_a=errors_a, words_a=words_a, errors_b=errors_b, words_b=words_b)
    some = rows[(rows[:, 1] > 0) & (rows[:, 3] > 0)]
    note = "Mean of utterance rates, not the pooled rate; not valid where the difference varies by speaker."
    if len(some) < 2:
        return TTest(
            mean=None, t=None, p_value=None, utterances=len(some), note="It needs 2 or more utterances with words."
        )
    differences = np.sort(some[:, 2] / some[:, 3] - some[:, 0] / some[:, 1])  # sums to the same last bit in any order
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= 1e-12 * abs(mean):
        same = "The difference is the same in every utterance, so there is no spread to compare it with."
        return TTest(mean=mean, t=None, p_value=None, utterances=len(some), note=same)
    from scipy.special import stdtr

    t = mean / (spread / len(some) ** 0.5)
    return TTest(mean=mean, t=t, p_value=2 * float(stdtr(len(some) - 1, -abs(t))), utterances=len(some), note=note)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many there are, in their order. S. Holm, Scand. J. Statistics 6 (1979).

    Raises InputError for one outside [0, 1].
    """
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise InputError(f"{wrong[0]} is not a p-value.", hint="Use numbers from 0 to 1.")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


# Rows of a pair are (errors of A, words of A, errors of B, words of B).


def _start(
    rows: Rows, method: Literal["sign-flip", "bootstrap"], unit: str, samples: int, seed: int, confidence: float
) -> PairedDifference:
    """The result without a test; it carries a note where there is nothing to test, and is final then."""
    start = PairedDifference(
        value=None, method=method, unit=unit, units=len(rows), samples=samples, seed=seed, confidence=confidence
    )
    if rows[:, 1].sum() == 0 or rows[:, 3].sum() == 0:
        return replace(start, note="There are no reference words, so there is no rate.")
    start = replace(start, value=float(_differences(rows.sum(axis=0, keepdims=True))[0]))
    if not _swap_effect(rows).any():
        same = f"No {unit} has more errors in one than in the other."
        return replace(start, low=0.0, high=0.0, lower=0.0, upper=0.0, p_value=1.0, p_worse=1.0, note=same)
    if len(rows) < 2:
        return replace(start, note=f"One {unit} says nothing about how much they differ; a test needs 2 or more.")
    return start


def _named(result: PairedDifference) -> str:
    return f"{result.units:,} {result.unit}s"


def _paired_rows(
    errors_a: npt.ArrayLike,
    words_a: npt.ArrayLike,
    errors_b: npt.ArrayLike,
    words_b: npt.ArrayLike,
    units: Sequence[object] | None,
) -> Rows:
    """(units, 4) sums by unit, A's errors taken off both sides where the words are the same (fewer distinct rows)."""
    rows = checked_columns(units, errors_a=errors_a, words_a=words_a, errors_b=errors_b, words_b=words_b)
    rows = sum_by_unit(rows, units)
    if np.array_equal(rows[:, 1], rows[:, 3]):
        rows = rows - rows[:, :1] * np.array([1, 0, 1, 0])
    return rows


def _unit_name(units: Sequence[object] | None) -> str:
    return "utterance" if units is None else "unit"


def _differences(sums: npt.NDArray[np.float64] | Rows) -> Values:
    """(draws,) rate of B minus rate of A; infinite or not a number where a draw has no words."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.array_equal(sums[:, 1], sums[:, 3]):
            return np.asarray((sums[:, 2] - sums[:, 0]) / sums[:, 1], dtype=np.float64)
        return np.asarray(sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1], dtype=np.float64)


def _drawn_subsets(rows: Rows, samples: int, seed: int) -> Values:
    """(2 * (samples + 1), 4) sums over random subsets of the units and the empty one; each, and the rest of the units.

    A subset and the rest of the units swap to differences of equal size and opposite sign. With both, as in the
    enumeration, limits and p-values count the same subsets, so that neither can contradict the other.
    """
    drawn = subset_sums(rows, samples, keyed_generator("sign-flip", seed))
    drawn = np.concatenate([np.zeros((1, rows.shape[1])), drawn])
    return np.concatenate([drawn, rows.sum(axis=0) - drawn])


def _swap(rows: Rows, subsets: Values) -> Values:
    """(draws, 4) totals after A and B have traded places in the units of each subset."""
    swapped: Values = rows.sum(axis=0) - subsets + subsets[:, [2, 3, 0, 1]]
    return swapped


def _swap_effect(rows: Rows) -> npt.NDArray[np.bool_]:
    """(units,) whether trading places in this unit changes anything."""
    changes: npt.NDArray[np.bool_] = np.any(rows != rows[:, [2, 3, 0, 1]], axis=1)
    return changes


def _typical_limits(halves: Values, confidence: float) -> list[float | None]:
    """[low, high, lower, upper] of the shifts that the test does not reject, from differences in random subsets.

    A shift counts as rejected from below when it lies under the difference of few subsets only; the empty subset,
    whose difference is 0 / 0, lies on neither side of any.
    """
    from_below = np.sort(np.where(np.isnan(halves), -np.inf, halves))
    from_above = np.sort(np.where(np.isnan(halves), np.inf, halves))
    limits = []
    for tail in ((1 - confidence) / 2, 1 - confidence):
        place = floor(tail * len(halves) + 1e-9)
        limits.append([from_below[place], from_above[-1 - place]])
    (low, high), (lower, upper) = limits
    return [float(limit) if np.isfinite(limit) else None for limit in (low, high, lower, upper)]
