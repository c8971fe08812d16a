"""`harken evaluate` and `harken score`: the same report from a model and from texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.data import read_manifest

Harken = Callable[..., Any]


def test_evaluate_writes_the_report_it_prints(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    answer = harken("evaluate", model, corpus / "train.jsonl", "--out", tmp_path / "report", "--json")
    assert answer.code == 0
    written = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert answer.json == written
    assert (written["words"], written["utterances"]) == (12, 12)
    assert written["wer"]["low"] <= written["wer"]["value"] <= written["wer"]["high"]
    assert len((tmp_path / "report" / "utterances.jsonl").read_text(encoding="utf-8").splitlines()) == 12
    text = harken("evaluate", model, corpus / "train.jsonl").out
    assert f"{100 * written['wer']['value']:.2f}" in text


def test_evaluate_refusals(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    for name, message in (
        ("absent.jsonl", "does not exist"),
        ("empty.jsonl", "holds no utterances"),
        ("broken.jsonl", "line 1: not JSON"),
    ):
        answer = harken("evaluate", model, tmp_path / name, "--out", tmp_path / "report")
        assert (answer.code, answer.out) == (2, "")
        assert name in answer.err
        assert message in answer.err
    absent = harken("evaluate", tmp_path / "nowhere", corpus / "train.jsonl")
    assert (absent.code, absent.out) == (3, "")
    odd = harken("evaluate", model, corpus / "train.jsonl", "--normalizer", "odd")
    assert (odd.code, odd.out) == (2, "")
    assert "'odd'" in odd.err
    assert not (tmp_path / "report").exists()


def test_evaluate_leaves_everything_to_look_at(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "keywords.txt").write_text("two\nthree\n", encoding="utf-8")
    out = tmp_path / "report"
    answer = harken(
        "evaluate", model, corpus / "train.jsonl", "--out", out, "--conditions", "telephone,clean", "--hardest", 3,
        "--keywords", tmp_path / "keywords.txt", "--training", corpus / "train.jsonl", "--samples", 50,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines()[1:3]] == ["clean", "telephone"]
    assert "Keywords: recall" in answer.out
    summary = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(summary["conditions"]) == ["clean", "telephone"]
    assert summary["model"]["name"] == "tiny"
    assert summary["vocabulary"]["known"] is not None
    assert (out / "conditions" / "telephone" / "report.json").is_file()
    assert (out / "figures" / "conditions.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    hardest = read_manifest(out / "hardest.jsonl")
    assert [item["id"] for item in summary["hardest"]] == [utterance.id for utterance in hardest]
    assert all(Path(utterance.audio).is_file() for utterance in hardest)
    assert harken("evaluate", model, corpus / "train.jsonl", "--conditions", "rain").code == 2


def test_a_latency_budget_times_every_utterance(harken: Harken, corpus: Path, model: Path) -> None:
    answer = harken("evaluate", model, corpus / "train.jsonl", "--latency-budget-ms", 60_000, "--json")
    budget = answer.json["latency_budget"]
    assert (budget["coverage"], budget["utterances"], budget["untimed"]) == (1.0, 12, 0)
    assert budget["wer_late_as_deleted"] == answer.json["wer"]["value"]
    assert harken("evaluate", model, corpus / "train.jsonl", "--latency-budget-ms", 0).code == 2


@pytest.fixture
def texts(corpus: Path, tmp_path: Path) -> Path:
    """What a system recognised: everything right but the first utterance, and the last one missing."""
    lines = [f"{u.id}\t{u.text}\n" for u in read_manifest(corpus / "train.jsonl")]
    lines[0] = lines[0].replace("one", "won")
    path = tmp_path / "system-a.tsv"
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    return path


def test_score_reports_on_texts_of_any_system(harken: Harken, corpus: Path, texts: Path, tmp_path: Path) -> None:
    refused = harken("score", corpus / "train.jsonl", texts)
    assert refused.code == 2
    assert "has no text for 1 of 12 utterances, the first is 'clip-11'" in refused.err
    answer = harken("score", corpus / "train.jsonl", texts, "--missing", "deletions", "--out", tmp_path / "a")
    assert answer.code == 0, answer.err
    summary = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    assert (summary["substitutions"], summary["deletions"], summary["words"]) == (1, 1, 12)
    assert summary["rejected"] == [{"id": "clip-11", "cause": "no text was given"}]
    assert list(summary["conditions"]) == ["given"]
    assert harken("score", corpus / "train.jsonl", texts, "--missing", "skip").code == 2


def test_a_baseline_is_compared_and_said(harken: Harken, corpus: Path, texts: Path, tmp_path: Path) -> None:
    first = harken("score", corpus / "train.jsonl", texts, "--missing", "deletions", "--out", tmp_path / "a", "--json")
    worse = tmp_path / "worse.tsv"
    worse.write_text("".join(f"{u.id}\tfour\n" for u in read_manifest(corpus / "train.jsonl")), encoding="utf-8")
    answer = harken("score", corpus / "train.jsonl", worse, "--baseline", tmp_path / "a")
    assert "WORSE than system-a by 83.33 points of WER" in answer.out
    assert first.json["baseline"] is None
    assert harken("score", corpus / "train.jsonl", worse, "--baseline", tmp_path / "nothing").code == 3
