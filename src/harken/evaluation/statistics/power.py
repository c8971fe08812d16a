"""How small a difference a test set can show, and how large a set it takes to show a given one.

The standard error of a pooled rate comes from the residuals of its units, errors - rate * words (the linearised ratio
estimator: W. Cochran, "Sampling Techniques", 3rd ed., chapter 6); a test at level alpha finds a true difference of
(t(1 - alpha/2) + t(power)) standard errors with that power, t being Student's quantiles for units - 1 degrees of
freedom (H. Bloom, "Minimum detectable effects", Evaluation Review 19, 1995).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.statistics.resampling import checked_columns, sum_by_unit


def fewest_units(alpha: float) -> int:
    """Below this a two-sided sign-flip test cannot reach `alpha`: its smallest p-value is 2 ** (1 - units)."""
    return max(2, ceil(1 - log2(alpha)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How much it takes: whole units (speakers, ...) with as many utterances each as in the set at hand."""

    difference: float
    units: int
    utterances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """The smallest true difference of two rates (a fraction) that a two-sided test at `alpha` finds with `power`.

    `correlation` is that of the two systems' residuals by unit: measured where both systems are known, else assumed.
    `standard_error` is that of the difference. Both and `value` are None where the counts cannot tell; `note` says why,
    or what was assumed.
    """

    value: float | None
    standard_error: float | None
    correlation: float | None
    measured: bool
    alpha: float
    power: float
    unit: str
    units: int
    utterances: int
    note: str = ""

    def needed(self, difference: float) -> SampleSize | None:
        """What it takes to find a true difference (a fraction) with the same alpha, power and kind of utterances.

        None where the counts at hand cannot tell. Raises InputError unless the difference is above 0.
        """
        if not difference > 0:
            raise InputError(f"difference is {difference}; use a fraction above 0, such as 0.005 for half a point.")
        if not self.standard_error:
            return None
        spread = self.standard_error * self.units**0.5

        def enough(units: int) -> bool:
            return bool(_quantiles(self.alpha, self.power, units) * spread / units**0.5 <= difference * (1 + 1e-9))

        above = fewest_units(self.alpha)
        below = above - 1
        while not enough(above):
            below, above = above, 2 * above
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (below, middle) if enough(middle) else (middle, above)
        return SampleSize(difference=difference, units=above, utterances=-(-above * self.utterances // self.units))


def minimum_detectable_difference(
    errors: npt.ArrayLike,
    words: npt.ArrayLike,
    units: Sequence[object] | None = None,
    *,
    other_errors: npt.ArrayLike | None = None,
    correlation: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    unit: str | None = None,
) -> Detectable:
    """What a test set can show, from (utterances,) counts of a baseline on it.

    `units` names the speaker or recording of each utterance; without it utterances count as units. Where a second
    system is known, `other_errors` are its errors on the same utterances, and how alike the two fail is measured.
    Without it the second is taken to vary as the first does, with `correlation` between them: 0, independent errors,
    is the worst case; versions of one model share many of their errors.

    Raises InputError for counts as `bootstrap_interval` does, and for alpha, power or correlation outside (0, 1),
    (0, 1) and [0, 1).
    """
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}; use a share between 0 and 1.")
    if not 0 <= correlation < 1:
        raise InputError(f"correlation is {correlation}; use a number from 0 to below 1.")
    other = errors if other_errors is None else other_errors
    rows = checked_columns(units, errors=errors, words=words, other_errors=other)
    utterances, rows = len(rows), sum_by_unit(rows, units)
    rows = rows[np.lexsort(rows.T)]  # sums to the same last bit whatever the order of the test set
    measured = other_errors is not None
    error, found_correlation, note = _standard_error(rows, correlation, measured, alpha)
    return Detectable(
        value=None if error is None else _quantiles(alpha, power, len(rows)) * error,
        standard_error=error,
        correlation=found_correlation,
        measured=measured,
        alpha=alpha,
        power=power,
        unit=unit or ("utterance" if units is None else "unit"),
        units=len(rows),
        utterances=utterances,
        note=note,
    )


def _standard_error(
    rows: npt.NDArray[np.int64], assumed: float, measured: bool, alpha: float
) -> tuple[float | None, float | None, str]:
    """(standard error of the difference, correlation, note), from (units, 3) errors, words, errors of the other."""
    words, count = int(rows[:, 1].sum()), len(rows)
    correlation = None if measured else assumed
    if words == 0:
        return None, correlation, "There are no reference words, so there is no rate."
    if count < 2:
        return None, correlation, "One unit says nothing about how much they differ; it takes 2 or more."
    residuals = [column - column.sum() / words * rows[:, 1] for column in (rows[:, 0], rows[:, 2])]
    squares = [float(residual @ residual) for residual in residuals]
    note = f"Errors of the two systems are taken to correlate by {assumed:g}."
    if measured:
        note = ""
        total = float(np.sum((residuals[1] - residuals[0]) ** 2))
        if min(squares) > 0:
            correlation = float(residuals[0] @ residuals[1]) / (squares[0] * squares[1]) ** 0.5
    else:
        total = 2 * (1 - assumed) * squares[0]
    if total <= 1e-18 * words:
        same = "Nothing varies between the units, so the counts do not tell what a difference has to stand out from."
        return None, correlation, same
    if count < fewest_units(alpha):
        note = f"Only {count} units: no sign-flip test of them reaches p < {alpha:g}. {note}".strip()
    return (count / (count - 1) * total) ** 0.5 / words, correlation, note


def _quantiles(alpha: float, power: float, units: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(units - 1, 1 - alpha / 2) + stdtrit(units - 1, power))
