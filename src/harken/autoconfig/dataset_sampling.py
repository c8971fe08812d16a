"""Drawing utterances at random, and what a sample says about the whole."""

import math

import numpy as np
import numpy.typing as npt

from harken.core import keyed_generator


def draw(positions: npt.NDArray[np.int64], count: int, seed: int, purpose: str) -> npt.NDArray[np.int64]:
    """Up to `count` of the positions, ascending, each as likely as any other."""
    if len(positions) <= count:
        return positions
    drawn = keyed_generator(seed, purpose).choice(positions, count, replace=False, shuffle=False)
    return np.sort(drawn)


def evenly_sampled(
    durations_s: npt.NDArray[np.float64], missing: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.int64]:
    """Positions of known durations; where some stay unknown, of those given as large a share as was drawn."""
    known = np.flatnonzero(~np.isnan(durations_s))
    if drawn.size == missing.size:
        return known
    given = np.setdiff1d(known, drawn, assume_unique=True)
    return np.union1d(drawn, draw(given, round(len(given) * drawn.size / missing.size), seed, "given"))


def estimate_mean(values: npt.NDArray[np.float64], population: int) -> tuple[float, float]:
    """The mean of a finite population from a simple random sample, and the half width of its 95 % interval.

    `values` (drawn,) are 2 or more of `population`, or all of it, which leaves no error. The interval is Student's,
    with the correction for drawing without replacement: Cochran, Sampling Techniques (1977), chapter 2.
    """
    count = len(values)
    if count >= population:
        return float(values.mean()), 0.0
    from scipy.special import stdtrit

    standard_error = float(values.std(ddof=1)) * math.sqrt((1 - count / population) / count)
    return float(values.mean()), float(stdtrit(count - 1, 0.975)) * standard_error
