"""Bootstrap intervals of many groups at once, as many as a test set has speakers.

One call of `bootstrap_interval` for each of 5,000 speakers would take ten seconds. Groups with the same number of units
can share their draws: which of n units are drawn how often does not depend on what is in them. Every group's interval
has exactly the distribution it would have alone; only the chance error of equally large groups goes together.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harken.core import keyed_generator
from harken.evaluation.errors.operations import Numbers
from harken.evaluation.statistics.intervals import Interval, bootstrap_interval, few_units_note

_SHARED_UNITS = 8192  # above that, putting equal units together draws less, and such groups are few
_NUMBERS_AT_ONCE = 2_000_000  # held in memory, several times: 16 MB each


def group_intervals(
    errors: Numbers,
    words: Numbers,
    group: Numbers,
    names: Sequence[str],
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> list[Interval]:
    """Percentile interval of sum(errors) / sum(words) for each group, as `bootstrap_interval` gives it.

    `errors` and `words` are (units,) counts, `group` the number of each unit's group, `names` what the units of each
    group are called ("speaker", "utterance").
    """
    order = np.lexsort((words, errors, group))  # so that the draws do not depend on the order of the test set
    counts = np.stack([errors, words], axis=1)[order]
    sizes = np.bincount(group, minlength=len(names))
    starts = np.cumsum(sizes) - sizes
    totals = np.stack([np.bincount(group, weights=column, minlength=len(names)) for column in (errors, words)], axis=1)
    # Without an error, a word, or a second unit there is nothing to draw.
    shared = (sizes >= 2) & (sizes <= _SHARED_UNITS) & np.all(totals > 0, axis=1)
    found: dict[int, Interval] = {}
    for size in np.unique(sizes[shared]).tolist():
        members = np.flatnonzero(shared & (sizes == size))
        rows_GUK = counts[starts[members][:, None] + np.arange(size)]
        low_G, high_G = _shared_draws(rows_GUK, samples, confidence, seed)
        for one, low, high in zip(members.tolist(), low_G.tolist(), high_G.tolist(), strict=True):
            if math.isnan(low):
                continue
            found[one] = Interval(
                low=low,
                high=high,
                unit=names[one],
                units=size,
                samples=samples,
                seed=seed,
                confidence=confidence,
                method="bootstrap",
                note=few_units_note(size, names[one]),
            )
    for one in set(range(len(names))) - set(found):
        rows = counts[starts[one] : starts[one] + sizes[one]]
        found[one] = bootstrap_interval(
            rows[:, 0], rows[:, 1], unit=names[one], samples=samples, confidence=confidence, seed=seed
        )
    return [found[one] for one in range(len(names))]


# G groups, U units of each, K errors and words, B samples


def _shared_draws(
    rows_GUK: npt.NDArray[np.int64], samples: int, confidence: float, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(groups,) lower and upper ends; samples without a word are left out, NaN where none has any."""
    groups, size, _ = rows_GUK.shape
    generator = keyed_generator("group bootstrap", seed, size)
    columns_UX = rows_GUK.transpose(1, 0, 2).reshape(size, 2 * groups).astype(np.float64)
    rates_BG = np.empty((samples, groups))
    step = max(1, _NUMBERS_AT_ONCE // max(size, 2 * groups))
    for first in range(0, samples, step):
        count = min(step, samples - first)
        drawn_BU = generator.integers(0, size, size=(count, size), dtype=np.int32)
        times_BU = np.empty((count, size))
        for times_U, drawn_U in zip(times_BU, drawn_BU, strict=True):
            times_U[:] = np.bincount(drawn_U, minlength=size)
        sums_BGK = (times_BU @ columns_UX).reshape(count, groups, 2)  # exact: whole numbers
        errors_BG, words_BG = sums_BGK[..., 0], sums_BGK[..., 1]
        rates_BG[first : first + count] = errors_BG / np.where(words_BG > 0, words_BG, np.nan)
    edges = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends_EG = np.quantile(rates_BG, edges, axis=0)  # NaN where one sample is without a rate
    for one in np.flatnonzero(np.isnan(rates_BG).any(axis=0)).tolist():
        rates_B = rates_BG[~np.isnan(rates_BG[:, one]), one]
        ends_EG[:, one] = np.quantile(rates_B, edges) if len(rates_B) else np.nan
    return ends_EG[0], ends_EG[1]
