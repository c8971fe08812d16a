"""A report as text for a terminal."""

from typing import Any

import numpy as np

from harken.core import Utterance
from harken.evaluation.display import compare_with_baseline, format_report, sample_predictions
from harken.evaluation.report import EvaluationReport, Timing, build_report

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
    assert lines[1].split() == ["this", "model", "60.00", "50.00", "to", "66.67", "50.00", "1", "1", "1", "5", "0.050"]
    text = "\n".join(lines)
    assert "2 utterances, normaliser basic 1, alignment sclite, 95 % interval over 2 speakers" in text
    assert "latency 20.0 ms (p95 29.0 ms)" in text
    assert "  substituted two > too (1)" in text
    assert "  deleted     five (1)" in text
    assert "  inserted    four (1)" in text
    assert "said        one two three\n    recognised  one too three four" in text


def test_rejections_are_named() -> None:
    text = format_report(report_of({"u1": "one two three"}, rejected={"u2": "/u2.wav does not exist."}))
    assert "Utterances that could not be recognised, counted as deletions: 1\n  u2: /u2.wav does not exist." in text


def test_the_untouched_base_is_the_first_row() -> None:
    right, wrong = report_of(RIGHT), report_of({"u1": "one two three", "u2": "four nine"})
    lines = format_report(wrong, baseline=right).splitlines()
    assert lines[1].split()[:4] == ["untouched", "base", "model", "0.00"]
    assert lines[2].split()[:3] == ["this", "model", "20.00"]
    assert "WORSE than the untouched base model by 20.00 points of WER" in "\n".join(lines)
    better = format_report(right, baseline=wrong)
    assert "Better than the untouched base model by 20.00 points of WER (100 % fewer errors)" in better
    assert "WORSE" not in better
    assert "No difference from the untouched base model." in format_report(wrong, baseline=wrong)


def test_other_words_are_not_compared() -> None:
    first = report_of(RIGHT).summary
    other = build_report(UTTERANCES[:1], {"u1": "one"}).summary
    assert compare_with_baseline(first, other) == (
        "Not comparable with the untouched base model: utterances 2 against 1."
    )


def test_no_rate_is_said_with_the_reason() -> None:
    silent = build_report([Utterance(id="s", audio="/s.wav", duration_s=1.0, text="")], {"s": "boo"})
    text = format_report(silent)
    assert text.splitlines()[1].split()[2] == "none"
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
