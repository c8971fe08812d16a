"""How far a rate can be trusted: bootstrap intervals of pooled rates.

A rate is pooled, sum of errors over sum of words, and utterances of one speaker are alike, so whole speakers (or
recordings) are drawn where they are known. M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR
performance evaluation", ICASSP 2004; blocks: Z. Liu and F. Peng, "Statistical testing on ASR performance via blockwise
bootstrap", Interspeech 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance, keyed_generator

FEW_UNITS = 10
"""Below this many units a percentile interval is known to come out too narrow."""

_SAMPLES_AT_ONCE = 4_000_000  # draws held in memory: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval of a rate, as fractions; `low` and `high` are None where none can be given.

    `unit` is what was drawn ("utterance", "speaker", ...), `units` how many of them there were. `method` is
    "bootstrap", or "wilson" where there was no error to resample. `note` says why there is no interval, or why this
    one needs care.
    """

    low: float | None
    high: float | None
    unit: str
    units: int
    samples: int
    seed: int
    confidence: float
    method: Literal["bootstrap", "wilson", "none"]
    note: str = ""


def bootstrap_interval(
    errors: npt.ArrayLike,
    words: npt.ArrayLike,
    units: Sequence[object] | None = None,
    *,
    unit: str | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> Interval:
    """Percentile interval of sum(errors) / sum(words).

    `errors` and `words` are (utterances,) counts. `units` names the speaker or recording of each utterance; utterances
    of one unit are drawn together. Without it each utterance is a unit of its own. `unit` is what the units are called
    in the result.

    Units with equal counts are drawn together: one multinomial draw over the distinct (errors, words) cells per
    sample has exactly the distribution of drawing units one by one, at a fraction of the work. Samples without any
    word have no rate and are left out. Without any error every sample would be zero; then the upper limit is Wilson's
    (1927), which takes words as independent.

    Raises InputError for lengths that differ, negative counts, fewer than 1 sample, or a confidence outside (0, 1).
    """
    error_counts, word_counts = _checked(errors, words, units, samples, confidence)
    if units is not None:
        error_counts, word_counts = _sum_by_unit(error_counts, word_counts, units)
    count, total_words = len(word_counts), int(word_counts.sum())
    low: float | None = None
    high: float | None = None
    method: Literal["bootstrap", "wilson", "none"] = "none"
    name = unit or ("utterance" if units is None else "unit")
    note = ""
    if total_words == 0:
        note = "There are no reference words, so there is no rate."
    elif error_counts.sum() == 0:
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        low, high, method = 0.0, z * z / (total_words + z * z), "wilson"
        note = f"There was no error to resample; the upper limit takes the {total_words} chances as independent."
    elif count < 2:
        note = f"One {name} says nothing about how much they differ; an interval needs 2 or more."
    else:
        rates = _resampled_rates(error_counts, word_counts, samples, keyed_generator("bootstrap", seed))
        if len(rates) == 0:
            note = "No sample drew a unit that has words; draw more samples."
        else:
            tail = (1 - confidence) / 2
            low, high = (float(edge) for edge in np.quantile(rates, [tail, 1 - tail]))
            method = "bootstrap"
        if len(rates) and count < FEW_UNITS:
            note = f"Only {count} units ({name}): the true rate lies outside more often than the confidence says."
    return Interval(
        low=low,
        high=high,
        unit=name,
        units=count,
        samples=samples,
        seed=seed,
        confidence=confidence,
        method=method,
        note=note,
    )


def choose_units(utterances: Sequence[Utterance]) -> tuple[str, list[str] | None]:
    """What to draw for an interval, and its label for each utterance (None: utterances themselves).

    Speakers where every utterance names one and there are two or more; else recordings, likewise; else utterances.
    """
    for name in ("speaker", "recording"):
        labels = [getattr(utterance, name) for utterance in utterances]
        if None not in labels and len(set(labels)) > 1:
            return name, labels
    return "utterance", None


def _checked(
    errors: npt.ArrayLike, words: npt.ArrayLike, units: Sequence[object] | None, samples: int, confidence: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    counts = []
    for name, values in (("errors", errors), ("words", words)):
        array = np.asarray(values)
        with np.errstate(invalid="ignore"):  # a NaN is refused below
            whole = array.astype(np.int64)
        if array.ndim != 1 or np.any(whole != array) or np.any(whole < 0):
            raise InputError(f"{name} has to be a list of whole numbers, 0 or more.")
        counts.append(whole)
    lengths = {len(counts[0]), len(counts[1])} | ({len(units)} if units is not None else set())
    if len(lengths) > 1:
        raise InputError(f"errors, words and units have different lengths: {sorted(lengths)}.")
    if samples < 1:
        raise InputError(f"samples is {samples}; use 1 or more (1000 is usual).")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; use a share between 0 and 1, such as 0.95.")
    return counts[0], counts[1]


def _sum_by_unit(
    errors: npt.NDArray[np.int64], words: npt.NDArray[np.int64], units: Sequence[object]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    numbers: dict[object, int] = {}
    unit_of = np.array([numbers.setdefault(label, len(numbers)) for label in units], dtype=np.int64)
    sums = []
    for counts in (errors, words):
        total = np.zeros(len(numbers), dtype=np.int64)
        np.add.at(total, unit_of, counts)
        sums.append(total)
    return sums[0], sums[1]


def _resampled_rates(
    errors: npt.NDArray[np.int64], words: npt.NDArray[np.int64], samples: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(samples,) pooled rate of each resample; those without a word left out."""
    cells, sizes = np.unique(np.stack([errors, words], axis=1), axis=0, return_counts=True)
    count = len(errors)
    rates = []
    step = max(1, _SAMPLES_AT_ONCE // len(cells))
    for first in range(0, samples, step):
        drawn = generator.multinomial(count, sizes / count, size=min(step, samples - first))
        sums = drawn @ cells
        some = sums[:, 1] > 0
        rates.append(sums[some, 0] / sums[some, 1])
    return np.concatenate(rates)
