"""How far a rate can be trusted: bootstrap intervals of pooled rates.

A rate is pooled, sum of errors over sum of words, and utterances of one speaker are alike, so whole speakers (or
recordings) are drawn where they are known. M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR
performance evaluation", ICASSP 2004; blocks: Z. Liu and F. Peng, "Statistical testing on ASR performance via blockwise
bootstrap", Interspeech 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import Utterance, keyed_generator
from harken.evaluation.statistics.resampling import Rows, bootstrap_sums, check_draws, checked_columns, sum_by_unit

FEW_UNITS = 10
"""Below this many units a percentile interval is known to come out too narrow."""

BLOCKS = ("speaker", "recording")
"""What ties utterances together, the wider first."""


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

    Samples without any word have no rate and are left out. Without any error every sample would be zero; then the
    upper limit is Wilson's (1927), which takes words as independent.

    Raises InputError for lengths that differ, negative counts, fewer than 1 sample, or a confidence outside (0, 1).
    """
    check_draws(samples, confidence)
    rows = sum_by_unit(checked_columns(units, errors=errors, words=words), units)
    count, (total_errors, total_words) = len(rows), rows.sum(axis=0).tolist()
    low: float | None = None
    high: float | None = None
    method: Literal["bootstrap", "wilson", "none"] = "none"
    name = unit or ("utterance" if units is None else "unit")
    note = ""
    if total_words == 0:
        note = "There are no reference words, so there is no rate."
    elif total_errors == 0:
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        low, high, method = 0.0, z * z / (total_words + z * z), "wilson"
        note = f"There was no error to resample; the upper limit takes the {total_words} chances as independent."
    elif count < 2:
        note = f"One {name} says nothing about how much they differ; an interval needs 2 or more."
    else:
        rates = _resampled_rates(rows, samples, keyed_generator("bootstrap", seed))
        if len(rates) == 0:
            note = "No sample drew a unit that has words; draw more samples."
        else:
            tail = (1 - confidence) / 2
            low, high = (float(edge) for edge in np.quantile(rates, [tail, 1 - tail]))
            method = "bootstrap"
            note = few_units_note(count, name)
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


def few_units_note(units: int, name: str) -> str:
    """What to say of a percentile interval of so few units; "" where there are enough."""
    if units >= FEW_UNITS:
        return ""
    return f"Only {units} {name}s: the true rate lies outside more often than the confidence says."


def choose_units(utterances: Sequence[Utterance]) -> tuple[str, list[str] | None]:
    """What to draw for an interval, and its label for each utterance (None: utterances themselves).

    Speakers where every utterance names one and there are two or more; else recordings, likewise; else utterances.
    """
    return pick_unit({name: [getattr(utterance, name) for utterance in utterances] for name in BLOCKS})


def pick_unit(labels: Mapping[str, Sequence[str | None]], *, fewest: int = 2) -> tuple[str, list[str] | None]:
    """The first of `labels` (by name, (utterances,) each) that is complete and has `fewest` units or more.

    Returns its name and labels, or ("utterance", None) where there is none.
    """
    for name, values in labels.items():
        known = [value for value in values if value is not None]
        if len(known) == len(values) and len(set(known)) >= fewest:
            return name, known
    return "utterance", None


def _resampled_rates(rows: Rows, samples: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """(samples,) pooled rate of each resample; those without a word left out."""
    rates = []
    for sums in bootstrap_sums(rows, samples, generator):
        some = sums[:, 1] > 0
        rates.append(sums[some, 0] / sums[some, 1])
    return np.concatenate(rates)
