"""Every number of a report on four utterances that were scored by hand."""

from typing import Any

import pytest

from harken.core import InputError, Utterance
from harken.evaluation.errors import ErrorAnalysisConfig
from harken.evaluation.report import EvaluationReport, ReportConfig, Timing, build_report
from harken.text import profile_identity


def utterance(id_: str, text: str | None, *, speaker: str | None, language: str | None = "en") -> Utterance:
    return Utterance(id=id_, audio=f"/audio/{id_}.wav", duration_s=2.0, text=text, speaker=speaker, language=language)


UTTERANCES = [
    utterance("u1", "one two three", speaker="anna"),  # one substitution
    utterance("u2", "four five", speaker="anna"),  # one deletion, one insertion
    utterance("u3", "six", speaker="ben", language="de"),  # right
    utterance("u4", "seven eight nine zero", speaker="ben", language=None),  # recognition failed: four deletions
]
TEXTS = {"u1": "one too three", "u2": "five six", "u3": "Six!"}
REJECTED = {"u4": "/audio/u4.wav does not exist."}
TIMING = Timing(
    audio_s=8.0, processing_s=0.4, batch_size=16, threads=2, latencies_s={"u1": 0.010, "u2": 0.020, "u3": 0.030}
)


@pytest.fixture
def report() -> EvaluationReport:
    return build_report(UTTERANCES, TEXTS, timing=TIMING, rejected=REJECTED, config=ReportConfig(samples=200))


@pytest.fixture
def summary(report: EvaluationReport) -> dict[str, Any]:
    return dict(report.summary)


# report.json


def test_counts_and_rates(summary: dict[str, Any]) -> None:
    assert (summary["words"], summary["correct"], summary["utterances"]) == (10, 4, 4)
    assert (summary["substitutions"], summary["deletions"], summary["insertions"]) == (1, 5, 1)
    assert summary["wer"]["value"] == pytest.approx(0.7)
    assert summary["sentence_error_rate"] == pytest.approx(0.75)
    assert summary["empty_hypotheses"] == 1
    assert summary["insertions_on_empty"] == 0
    assert summary["audio_s"] == 8.0
    assert summary["characters"] == 13 + 9 + 3 + 21
    # "two" to "too" is 1, "six" is right, the words of u4 are all deleted
    wrong = 1 + character_distance("four five", "five six") + 0 + 21
    assert summary["cer"]["value"] == pytest.approx(wrong / 46)


def character_distance(reference: str, hypothesis: str) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        before, row = row, [i]
        for j, right in enumerate(hypothesis, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
    return row[-1]


def test_intervals_name_what_was_drawn(summary: dict[str, Any]) -> None:
    for rate in (summary["wer"], summary["cer"]):
        assert set(rate) == {
            "value", "low", "high", "unit", "units", "samples", "seed", "confidence", "method", "note",
        }  # fmt: skip
        assert (rate["unit"], rate["units"], rate["samples"], rate["confidence"]) == ("speaker", 2, 200, 0.95)
        assert rate["method"] == "bootstrap"
    # With two speakers, a sample is one of them twice or each once: 3 of 5 words, 4 of 5, or 7 of 10 are wrong.
    assert (summary["wer"]["low"], summary["wer"]["high"]) == (pytest.approx(0.6), pytest.approx(0.8))
    assert "Only 2 speakers" in summary["wer"]["note"]


def test_groups(summary: dict[str, Any]) -> None:
    def totals(groups: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        return {
            name: (group["wer"]["value"], group["words"], group["errors"], group["utterances"])
            for name, group in groups.items()
        }

    assert totals(summary["speakers"]) == {"anna": (0.6, 5, 3, 2), "ben": (0.8, 5, 4, 2)}
    assert totals(summary["languages"]) == {"de": (0.0, 1, 0, 1), "en": (0.6, 5, 3, 2)}
    assert summary["speakers"]["anna"]["wer"]["unit"] == "utterance"
    assert summary["slices"]["speaker"] == summary["speakers"]


def test_what_the_numbers_were_taken_under(summary: dict[str, Any]) -> None:
    assert summary["normalizer"] == dict(profile_identity("basic"))
    assert summary["alignment"] == "sclite"
    assert summary["utterance_file"] == "utterances.jsonl"
    assert list(summary["conditions"]) == ["clean"]
    assert summary["conditions"]["clean"]["wer"] == summary["wer"]
    assert summary["conditions"]["clean"]["deletions"] == 5


def test_rejected_utterances_are_named_and_count_as_deletions(report: EvaluationReport) -> None:
    assert report.summary["rejected"] == [{"id": "u4", "cause": "/audio/u4.wav does not exist."}]
    assert (report.rows[3]["alignment"], report.rows[3]["hypothesis"]) == ("DDDD", "")
    assert report.rows[3]["rejected"] == "/audio/u4.wav does not exist."
    assert "rejected" not in report.rows[0]


def test_frequent_errors(summary: dict[str, Any]) -> None:
    assert [{key: value for key, value in error.items() if key != "contexts"} for error in summary["errors"]] == [
        {"kind": "S", "reference": "two", "hypothesis": "too", "count": 1},
        *(
            {"kind": "D", "reference": word, "hypothesis": None, "count": 1}
            for word in sorted(["four", "seven", "eight", "nine", "zero"])
        ),
        {"kind": "I", "reference": None, "hypothesis": "six", "count": 1},
    ]


def test_errors_are_ordered_by_frequency_and_cut_by_kind() -> None:
    utterances = [utterance(f"u{i}", "a b", speaker=None) for i in range(4)]
    texts = {"u0": "a x", "u1": "a y", "u2": "a y", "u3": "b"}
    errors = build_report(utterances, texts).summary["errors"]
    assert [(e["kind"], e["hypothesis"], e["count"]) for e in errors] == [("S", "y", 2), ("S", "x", 1), ("D", None, 1)]
    few = build_report(utterances, texts, config=ReportConfig(errors=ErrorAnalysisConfig(frequent_errors=1))).summary[
        "errors"
    ]
    assert [(e["kind"], e["count"]) for e in few] == [("S", 2), ("D", 1)]


def test_speed(summary: dict[str, Any]) -> None:
    assert summary["rtf"] == pytest.approx(0.05)
    assert summary["latency_ms"] == {
        "p50": pytest.approx(20.0), "p95": pytest.approx(29.0), "p99": pytest.approx(29.8), "mean": pytest.approx(20.0),
    }  # fmt: skip
    assert summary["timing"] == {
        "audio_s": 8.0,
        "processing_s": 0.4,
        "batch_size": 16,
        "threads": 2,
        "warm_up": 0,
        "latency_utterances": 3,
    }
    unmeasured = build_report(UTTERANCES, TEXTS, rejected=REJECTED).summary
    assert (unmeasured["rtf"], unmeasured["timing"]) == (None, None)
    assert set(unmeasured["latency_ms"].values()) == {None}
    assert Timing(audio_s=0.0, processing_s=0.0, batch_size=1).rtf is None


def test_rows(report: EvaluationReport) -> None:
    rows = report.rows
    assert [row["id"] for row in rows] == ["u1", "u2", "u3", "u4"]
    assert rows[0] == {
        "id": "u1",
        "reference": "one two three",
        "hypothesis": "one too three",
        "words": 3,
        "substitutions": 1,
        "deletions": 0,
        "insertions": 0,
        "wer": pytest.approx(1 / 3),
        "characters": 13,
        "character_errors": 1,
        "alignment": "CSC",
        "duration_s": 2.0,
        "latency_s": 0.010,
        "speaker": "anna",
        "recording": None,
        "language": "en",
        "tags": {},
        "snr_db": None,
        "flags": [],
    }
    assert (rows[1]["alignment"], rows[1]["wer"]) == ("DCI", 1.0)
    assert (rows[2]["hypothesis"], rows[2]["hypothesis_raw"], rows[2]["wer"]) == ("six", "Six!", 0.0)
    for row in rows:
        assert row["words"] == len(row["reference"].split())
        counts = {kind: row["alignment"].count(kind) for kind in "SDI"}
        assert counts == {"S": row["substitutions"], "D": row["deletions"], "I": row["insertions"]}


def test_a_set_without_errors_and_one_without_words() -> None:
    right = build_report(UTTERANCES[:1], {"u1": "one two three"}).summary
    assert (right["wer"]["value"], right["wer"]["low"], right["wer"]["method"]) == (0.0, 0.0, "wilson")
    assert right["errors"] == []
    silent = build_report([utterance("s", "", speaker=None)], {"s": "boo"})
    assert (silent.summary["wer"]["value"], silent.summary["wer"]["low"], silent.summary["words"]) == (None, None, 0)
    assert silent.summary["insertions_on_empty"] == 1
    assert silent.rows[0]["wer"] is None


def test_another_condition_alignment_and_profile() -> None:
    config = ReportConfig(normalizer="none", alignment="levenshtein")
    summary = build_report(UTTERANCES[2:3], {"u3": "Six!"}, condition="noise", config=config).summary
    assert (summary["alignment"], summary["normalizer"]["name"]) == ("levenshtein", "none")
    assert summary["wer"]["value"] == 1.0  # nothing was normalised
    assert list(summary["conditions"]) == ["noise"]


# Refusals


def test_utterances_without_a_text_or_a_hypothesis_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 of 5 utterances without a reference text, the first is 'u5'"):
        build_report([*UTTERANCES, utterance("u5", None, speaker="cleo")], {})
    with pytest.raises(InputError, match=r"1 utterance \('u4'\) without a hypothesis"):
        build_report(UTTERANCES, TEXTS)
    with pytest.raises(InputError, match=r"1 utterance \('u9'\) without a reference"):
        build_report(UTTERANCES, {**TEXTS, "u9": "x"}, rejected=REJECTED)
    with pytest.raises(InputError, match=r"'u1' is rejected and has a hypothesis"):
        build_report(UTTERANCES, TEXTS, rejected={**REJECTED, "u1": "odd"})
    with pytest.raises(InputError, match=r"'u1' occurs twice"):
        build_report([*UTTERANCES, UTTERANCES[0]], TEXTS, rejected=REJECTED)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normalizer", "odd"),
        ("alignment", "odd"),
        ("samples", 0),
        ("confidence", 1.0),
        ("units", "odd"),
        ("latency_budget_ms", 0.0),
    ],
)
def test_settings_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}; use"):
        ReportConfig(**{field: value})
