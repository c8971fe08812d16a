"""Latencies against numbers worked out by hand."""

import json
import statistics
from collections.abc import Callable

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.latency import latency_constrained, latency_percentiles_ms, latency_summary
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.intervals import bootstrap_interval

MakePairs = Callable[..., list[tuple[str, str]]]


def test_a_summary_by_hand() -> None:
    summary = latency_summary([0.1, 0.2, 0.4, 0.3], [1.0, 1.0, 4.0, 0.5], threads=2, warm_up=1)
    assert (summary.count, summary.mean_ms, summary.p50_ms, summary.max_ms) == pytest.approx((4, 250, 250, 400))
    assert summary.p95_ms == pytest.approx(385.0)  # 0.95 x 3 = 2.85 steps along the sorted values
    assert summary.p99_ms == pytest.approx(397.0)
    assert (summary.audio_s, summary.processing_s) == pytest.approx((6.5, 1.0))
    assert summary.rtf == pytest.approx(1 / 6.5)
    assert summary.rtf_mean == pytest.approx((0.1 + 0.2 + 0.1 + 0.6) / 4)
    assert (summary.real_time, summary.production) == (True, True)
    assert (summary.threads, summary.warm_up) == (2, 1)
    assert summary.note == "Of 4 latencies, the 95th and 99th percentile say little more than the largest."
    assert json.loads(json.dumps(summary.as_json()))["p50_ms"] == pytest.approx(250.0)


@pytest.mark.parametrize(
    ("taken_s", "real_time", "production"),
    [(0.29, True, True), (0.3, True, False), (0.99, True, False), (1.0, False, False), (2.0, False, False)],
)
def test_real_time_and_production(taken_s: float, real_time: bool, production: bool) -> None:
    summary = latency_summary([taken_s], [1.0])
    assert (summary.real_time, summary.production) == (real_time, production)


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = np.random.default_rng(0).lognormal(-2, 0.7, 400)
    found = latency_percentiles_ms(values, range(1, 100))
    assert found == pytest.approx([1000 * v for v in statistics.quantiles(values.tolist(), n=100, method="inclusive")])
    assert latency_summary(values, np.ones(400)).note == ""
    assert "99th" in latency_summary(values[:50], np.ones(50)).note
    assert "95th" not in latency_summary(values[:50], np.ones(50)).note
    assert latency_percentiles_ms([0.125], (0, 50, 100)) == [125.0, 125.0, 125.0]


def test_nothing_timed_is_nothing_known() -> None:
    summary = latency_summary([], [])
    assert (summary.count, summary.p50_ms, summary.rtf, summary.real_time, summary.note) == (
        0,
        None,
        None,
        None,
        "Nothing was timed.",
    )


@pytest.mark.parametrize(
    ("latencies", "durations", "message"),
    [
        ([0.1], [1.0, 1.0], "There are 1 latencies and 2 durations"),
        ([-0.1], [1.0], "A latency is negative"),
        ([float("nan")], [1.0], "A latency is negative or no number"),
        ([0.1], [0.0], "A duration is 0"),
    ],
)
def test_times_that_cannot_be(latencies: list[float], durations: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        latency_summary(latencies, durations)


REFERENCES = {"a": "one two three", "b": "four five", "c": "six", "d": "", "e": "seven eight nine ten"}
HYPOTHESES = {"a": "one too three", "b": "four five six seven", "c": "six", "d": "noise noise", "e": "seven eight"}
"""Errors: a 1 of 3, b 2 inserted of 2, c none of 1, d 2 inserted of 0, e 2 deleted of 4."""


def test_late_answers_count_as_deleted_and_insert_nothing() -> None:
    scored = score(REFERENCES, HYPOTHESES)
    latencies = {"a": 0.05, "b": 0.3, "c": 0.2, "d": 0.9, "e": 0.1}
    budget = latency_constrained(scored, latencies)
    assert (budget.budget_ms, budget.utterances, budget.within, budget.untimed) == (200.0, 5, 3, 0)
    assert budget.coverage == 3 / 5
    assert budget.wer_within == (1 + 0 + 2) / (3 + 1 + 4)
    assert budget.wer_late_as_deleted == (1 + 2 + 0 + 0 + 2) / 10  # b loses its two words, d none
    everything = latency_constrained(scored, latencies, 1_000)
    assert everything.wer_within == everything.wer_late_as_deleted == scored.wer == 7 / 10
    tenths = {**latencies, "b": 0.1 + 0.2}  # in binary more than 0.3
    assert latency_constrained(scored, tenths, 300).within == 4
    nothing = latency_constrained(scored, latencies, 1)
    assert (nothing.coverage, nothing.wer_within, nothing.wer_late_as_deleted) == (0.0, None, 1.0)
    assert json.loads(json.dumps(budget.as_json(), allow_nan=False))["coverage"] == 0.6


def test_the_unanswered_are_late_and_the_untimed_left_out() -> None:
    scored = score(REFERENCES, {**HYPOTHESES, "b": ""})
    budget = latency_constrained(scored, {"a": 0.05, "c": 0.2}, unanswered=["b"])
    assert (budget.utterances, budget.within, budget.untimed) == (3, 2, 2)
    assert (budget.coverage, budget.wer_within, budget.wer_late_as_deleted) == (2 / 3, 1 / 4, 3 / 6)


def test_only_empty_references_in_time_have_no_rate() -> None:
    scored = score({"a": "", "b": "б в"}, {"a": "шум", "b": "б"})
    budget = latency_constrained(scored, {"a": 0.1, "b": 1.0})
    assert (budget.coverage, budget.wer_within, budget.wer_late_as_deleted) == (0.5, None, (1 + 2) / 2)


def test_the_interval_is_the_bootstrap_of_what_is_charged(make_pairs: MakePairs) -> None:
    pairs = make_pairs(200, vocabulary=40, error_rate=0.2, longest=12, seed=3)
    scored = score([a for a, _ in pairs], [b for _, b in pairs])
    draw = np.random.default_rng(1)
    latencies = dict(zip(scored.ids, draw.lognormal(-1.8, 0.5, 200).tolist(), strict=True))
    units = [f"speaker{n % 17}" for n in range(200)]
    budget = latency_constrained(scored, latencies, units=units, unit="speaker", samples=500, seed=7)
    charged = [
        int(errors) if latencies[id_] <= 0.2 else int(words)
        for id_, errors, words in zip(scored.ids, scored.counts.errors, scored.counts.words, strict=True)
    ]
    expected = bootstrap_interval(charged, scored.counts.words, units, unit="speaker", samples=500, seed=7)
    assert budget.interval == expected
    assert budget.interval.low is not None
    assert budget.interval.high is not None
    assert budget.wer_late_as_deleted is not None
    assert budget.interval.low < budget.wer_late_as_deleted < budget.interval.high
    # The units of a part are those of its utterances.
    some = {id_: latencies[id_] for id_ in scored.ids[:50]}
    part = latency_constrained(scored, some, units=units, unit="speaker")
    assert (part.interval.units, part.untimed) == (17, 150)


@pytest.mark.parametrize(
    ("latencies", "options", "message"),
    [
        ({}, {}, "No utterance was timed"),
        ({"z": 0.1}, {}, "1 of the timed utterances are not in the score, the first is 'z'"),
        ({"a": -1.0}, {}, "The latency of 'a' is -1.0"),
        ({"a": 0.1}, {"unanswered": ["a"]}, "'a' has a latency and is unanswered"),
        ({"a": 0.1}, {"budget_ms": 0}, "budget_ms is 0"),
        ({"a": 0.1}, {"units": ["x"]}, "There are 1 units for 5 utterances"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    latencies: dict[str, float], options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        latency_constrained(score(REFERENCES, HYPOTHESES), latencies, **options)  # type: ignore[arg-type]
