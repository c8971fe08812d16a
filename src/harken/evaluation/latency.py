"""How long an answer takes, and what a system is worth that may not take longer.

Percentiles interpolate linearly between the sorted values (numpy's and Excel's method; R's type 7).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.scoring.metrics import Score
from harken.evaluation.statistics.intervals import Interval, bootstrap_interval

DEFAULT_BUDGET_MS = 200.0
FEW_LATENCIES = 20
"""Below this many, the 95th percentile lies between the two largest values and says little more than they do."""

REAL_TIME_RTF = 1.0
PRODUCTION_RTF = 0.3
"""Real-time factor that leaves room for bursts and for other work on the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Latencies of utterances recognised alone, in milliseconds, and real-time factors (processing over audio time).

    `rtf` pools the times, `rtf_mean` is the mean of the utterances' own factors, in which short ones weigh as much as
    long ones. `real_time` says whether the pooled factor is below REAL_TIME_RTF, `production` whether it is below
    PRODUCTION_RTF. `warm_up` untimed calls came first. What cannot be known is None. `note` says what needs care.
    """

    count: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    audio_s: float
    processing_s: float
    rtf: float | None
    rtf_mean: float | None
    real_time: bool | None
    production: bool | None
    threads: int | None = None
    warm_up: int | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBudget:
    """What is recognised in time. Rates are fractions, None where there are no words to divide by.

    Of `utterances` timed ones, `within` answered in `budget_ms`; `coverage` is their share. `wer_within` is the word
    error rate of those alone. It rewards a system for being late on what is hard, so `wer_late_as_deleted` counts an
    answer that came late as none: all its words deleted, nothing inserted. `interval` belongs to the latter.
    `untimed` utterances of the score have no latency and are in none of the figures.
    """

    budget_ms: float
    utterances: int
    within: int
    untimed: int
    coverage: float
    wer_within: float | None
    wer_late_as_deleted: float | None
    interval: Interval

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def latency_summary(
    latencies_s: Sequence[float] | npt.NDArray[np.float64],
    durations_s: Sequence[float] | npt.NDArray[np.float64],
    *,
    threads: int | None = None,
    warm_up: int | None = None,
) -> LatencySummary:
    """Summary of latencies in seconds; `durations_s` are the lengths of the same utterances' audio.

    Nothing is left out here: calls that warm up are not to be in the list, `warm_up` states how many there were.
    Raises InputError for lists of different length, for a latency below 0 and a duration of 0 or less.
    """
    taken, lasting = np.asarray(latencies_s, dtype=np.float64), np.asarray(durations_s, dtype=np.float64)
    if taken.ndim != 1 or taken.shape != lasting.shape:
        raise InputError(f"There are {taken.size} latencies and {lasting.size} durations; give one of each.")
    if not (np.isfinite(taken).all() and (taken >= 0).all()):
        raise InputError("A latency is negative or no number.", hint="Give seconds, 0 or more.")
    if not (np.isfinite(lasting).all() and (lasting > 0).all()):
        raise InputError("A duration is 0, negative or no number.", hint="Give the seconds of audio, above 0.")
    count, audio_s, processing_s = len(taken), float(lasting.sum()), float(taken.sum())
    p50, p95, p99 = latency_percentiles_ms(taken, (50, 95, 99))
    rtf = processing_s / audio_s if count else None
    return LatencySummary(
        count=count,
        mean_ms=1000 * float(taken.mean()) if count else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=1000 * float(taken.max()) if count else None,
        audio_s=audio_s,
        processing_s=processing_s,
        rtf=rtf,
        rtf_mean=float((taken / lasting).mean()) if count else None,
        real_time=None if rtf is None else rtf < REAL_TIME_RTF,
        production=None if rtf is None else rtf < PRODUCTION_RTF,
        threads=threads,
        warm_up=warm_up,
        note=_note(count),
    )


def latency_percentiles_ms(
    latencies_s: Sequence[float] | npt.NDArray[np.float64], percents: Sequence[float]
) -> list[float | None]:
    """Percentiles of latencies in seconds, in milliseconds; None for each where there are no latencies."""
    values = np.asarray(latencies_s, dtype=np.float64)
    if not len(values):
        return [None for _ in percents]
    return [1000 * float(value) for value in np.percentile(values, list(percents))]


def latency_constrained(
    score: Score,
    latencies_s: Mapping[str, float],
    budget_ms: float = DEFAULT_BUDGET_MS,
    *,
    unanswered: Collection[str] = (),
    units: Sequence[object] | None = None,
    unit: str | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> LatencyBudget:
    """Coverage and word error rates under a budget of latency.

    `latencies_s` are seconds by utterance id; an answer that takes exactly the budget is in time. `unanswered` are the
    ids of utterances that were tried and gave no answer: they are late. Where only a part of the test set was timed,
    the figures are of that part. `units` (one for each of `score.ids`) and the rest are those of `bootstrap_interval`.

    Raises InputError for a budget of 0 or less, an id the score lacks, a latency below 0, an id that is in both, and
    where nothing was timed.
    """
    if not (math.isfinite(budget_ms) and budget_ms > 0):
        raise InputError(f"budget_ms is {budget_ms}; use milliseconds above 0, such as {DEFAULT_BUDGET_MS:g}.")
    if units is not None and len(units) != score.utterances:
        raise InputError(f"There are {len(units)} units for {score.utterances} utterances; give one for each.")
    latencies = _check_latencies(score, latencies_s, unanswered)
    rows = np.array([row for row, id_ in enumerate(score.ids) if id_ in latencies], dtype=np.int64)
    # 0.2 s are not exactly 200 ms in binary; a nanosecond decides nothing.
    within = np.array([latencies[score.ids[row]] <= budget_ms / 1000 + 1e-9 for row in rows.tolist()])
    words, errors = score.counts.words[rows], score.counts.errors[rows]
    charged = np.where(within, errors, words)
    chosen = None if units is None else [units[row] for row in rows.tolist()]
    interval = bootstrap_interval(charged, words, chosen, unit=unit, samples=samples, confidence=confidence, seed=seed)
    return LatencyBudget(
        budget_ms=float(budget_ms),
        utterances=len(rows),
        within=int(within.sum()),
        untimed=score.utterances - len(rows),
        coverage=float(within.mean()),
        wer_within=_rate(errors[within], words[within]),
        wer_late_as_deleted=_rate(charged, words),
        interval=interval,
    )


def _check_latencies(score: Score, latencies_s: Mapping[str, float], unanswered: Collection[str]) -> dict[str, float]:
    """Latency by id, endless for the unanswered."""
    known = set(score.ids)
    for id_, taken_s in latencies_s.items():
        if not (math.isfinite(taken_s) and taken_s >= 0):
            raise InputError(f"The latency of {id_!r} is {taken_s}.", hint="Give seconds, 0 or more.")
        if id_ in unanswered:
            raise InputError(f"{id_!r} has a latency and is unanswered; it can only be one of them.")
    latencies = {**latencies_s, **dict.fromkeys(unanswered, math.inf)}
    strange = [id_ for id_ in latencies if id_ not in known]
    if strange:
        raise InputError(
            f"{len(strange)} of the timed utterances are not in the score, the first is {strange[0]!r}.",
            hint="Time the test set that is scored.",
        )
    if not latencies:
        raise InputError("No utterance was timed.", hint="Recognise with latency_utterances above 0.")
    return latencies


def _rate(errors: npt.NDArray[np.int64], words: npt.NDArray[np.int64]) -> float | None:
    total = int(words.sum())
    return int(errors.sum()) / total if total else None


def _note(count: int) -> str:
    if not count:
        return "Nothing was timed."
    if count < FEW_LATENCIES:
        return f"Of {count} latencies, the 95th and 99th percentile say little more than the largest."
    if count < 100:
        return f"Of {count} latencies, the 99th percentile says little more than the largest."
    return ""
