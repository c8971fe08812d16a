"""A report as text for a terminal."""

from typing import Any

import numpy as np

from harken.core import Utterance
from harken.evaluation.comparison.baseline import with_baseline
from harken.evaluation.display import format_report, sample_predictions
from harken.evaluation.errors import Keyword
from harken.evaluation.report import Background, EvaluationReport, ReportConfig, Timing, build_report

TIMING = Timing(audio_s=8.0, processing_s=0.4, batch_size=4, latencies_s={"u1": 0.01, "u2": 0.03})
UTTERANCES = [
    Utterance(id="u1", audio="/u1.wav", duration_s=2.0, text="one two three", speaker="anna"),
    Utterance(id="u2", audio="/u2.wav", duration_s=2.0, text="four five", speaker="ben"),
]
RIGHT = {"u1": "one two three", "u2": "four five"}


def report_of(texts: dict[str, str], **more: Any) -> EvaluationReport:
    return build_report(UTTERANCES, texts, timing=TIMING, **more)


def test_figures_of_a_report() -> None:
    lines = format_report(report_of({"u1": "one too three four", "u2": "four"})).splitlines()
    assert lines[0].split() == ["WER", "%", "interval", "CER", "%", "sub", "del", "ins", "words", "RTF"]
    # 3 of 5 words; anna has 2 errors in 3 words, ben 1 in 2
    assert lines[1].split() == ["clean", "60.00", "50.00", "to", "66.67", "50.00", "1", "1", "1", "5", "0.050"]
    text = "\n".join(lines)
    assert "2 utterances, normaliser basic 1, alignment sclite, units mixed, 95 % interval over 2 speakers" in text
    assert "latency 20.0 ms (p95 29.0 ms)" in text
    assert "  substituted two > too (1)" in text
    assert "  deleted     five (1)" in text
    assert "  inserted    four (1)" in text
    assert "said        one two three\n    recognised  one too three four" in text


def test_rejections_are_named() -> None:
    text = format_report(report_of({"u1": "one two three"}, rejected={"u2": "/u2.wav does not exist."}))
    assert "Utterances that could not be recognised, counted as deletions: 1\n  u2: /u2.wav does not exist." in text


def test_the_verdict_against_a_baseline() -> None:
    right, wrong = report_of(RIGHT), report_of({"u1": "one two three", "u2": "four nine"})
    worse = format_report(with_baseline(wrong, right))
    assert "WORSE than untouched base model by 20.00 points of WER; this may be chance (p = 1, sign-flip" in worse
    better = format_report(with_baseline(right, wrong, name="whisper-small"))
    assert "Better than whisper-small by 20.00 points of WER (100 % fewer errors); this may be chance" in better
    assert "WORSE" not in better
    assert "No difference from untouched base model." in format_report(with_baseline(wrong, wrong))


def test_findings_have_a_sentence_each() -> None:
    background = Background(keywords=[Keyword(text="two three"), Keyword(text="five")])
    text = format_report(
        build_report(
            UTTERANCES,
            {"u1": "one two three", "u2": "four " + "nine " * 8},
            timing=Timing(audio_s=4.0, processing_s=0.4, batch_size=1, latencies_s={"u1": 0.1, "u2": 0.3}),
            config=ReportConfig(latency_budget_ms=200),
            background=background,
        )
    )
    assert "Worst of 2 speakers: ben 400.00 %; the median is 200.00 %." in text
    assert "Possible hallucinations, in utterances: 1 with a run of insertions, 1 with repetitions." in text
    assert "Keywords: recall 50.00 %, precision 100.00 % (1 of 2, 0 false alarms)." in text
    # u1 is in time and right; u2 is late, so its two words count as deleted
    assert "Within 200 ms: 50.00 % of the answers, WER 0.00 % on those, 40.00 % with late answers as deletions." in text


def test_no_rate_is_said_with_the_reason() -> None:
    silent = build_report([Utterance(id="s", audio="/s.wav", duration_s=1.0, text="")], {"s": "boo"})
    text = format_report(silent)
    assert text.splitlines()[1].split()[1] == "none"
    assert "have no words after normalisation." in text
    assert "1 utterance, normaliser" in text


def test_sample_predictions_go_from_best_to_worst() -> None:
    order = np.random.default_rng(0).permutation(21).tolist()
    rows = [{"id": f"{i:02d}", "wer": i / 20, "insertions": 0} for i in order]
    assert [row["id"] for row in sample_predictions(rows)] == ["00", "05", "10", "15", "20"]
    noisy = [*rows, {"id": "empty", "wer": None, "insertions": 3}]
    assert sample_predictions(noisy)[-1]["id"] == "empty"
    assert [row["id"] for row in sample_predictions(rows, 1)] == ["00"]
    assert sample_predictions(rows, 0) == []
    assert sample_predictions([]) == []
    assert len(sample_predictions(rows[:2])) == 2
