"""`harken evaluate` and `harken score`: the same report from a model and from texts."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from harken.cli import evaluate, scoring
from harken.data import read_manifest

Harken = Callable[..., Any]


def test_evaluate_writes_the_report_it_prints(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    answer = harken("evaluate", model, corpus / "train.jsonl", "--out", tmp_path / "report", "--json")
    assert answer.code == 0
    written = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert "report.html" in written.pop("files")
    assert answer.json == written
    assert (written["words"], written["utterances"]) == (12, 12)
    assert written["wer"]["low"] <= written["wer"]["value"] <= written["wer"]["high"]
    assert len((tmp_path / "report" / "utterances.jsonl").read_text(encoding="utf-8").splitlines()) == 12
    text = harken("evaluate", model, corpus / "train.jsonl").out
    assert f"{100 * written['wer']['value']:.2f}" in text


def test_every_setting_of_scoring_is_an_option() -> None:
    names = {field.name for field in fields(scoring.Scoring)}
    assert names <= set(signature(evaluate.evaluate).parameters)
    assert names - set(signature(evaluate.score).parameters) == {"latency_budget_ms"}  # texts have no latency


def test_options_reach_the_scoring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Seen(Exception):
        pass

    def stop(_: Path, given: scoring.Scoring, **__: object) -> None:
        raise Seen(given)

    monkeypatch.setattr(scoring, "evaluate_model", stop)
    monkeypatch.setattr(scoring, "score_texts", stop)
    options = {"normalizer": "none", "units": "words", "keywords": tmp_path, "phonemes": False, "hardest": 3,
               "samples": 7, "seed": 8, "baseline": tmp_path / "b"}  # fmt: skip
    expected = scoring.Scoring(manifest=tmp_path, **options)
    with pytest.raises(Seen) as caught:
        evaluate.evaluate(tmp_path / "model", tmp_path, latency_budget_ms=200.0, **options)
    assert caught.value.args == (replace(expected, latency_budget_ms=200.0),)
    with pytest.raises(Seen) as caught:
        evaluate.score(tmp_path, tmp_path / "texts", **options)
    assert caught.value.args == (expected,)


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


def test_an_export_is_evaluated_as_such(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    copied = Path(shutil.copytree(model, tmp_path / "tiny"))
    assert harken("export", copied, "--to", "onnx", "--audio", corpus / "00.wav").code == 0
    reports = {}
    for engine in ("torch", "onnx"):
        answer = harken("evaluate", copied, corpus / "train.jsonl", "--engine", engine, "--samples", 10, "--json")
        assert answer.code == 0, answer.err
        reports[engine] = answer.json
    assert reports["onnx"]["wer"] == reports["torch"]["wer"]
    assert (reports["torch"]["model"].get("engine"), reports["onnx"]["model"]["engine"]) == (None, "onnx")
    absent = harken("evaluate", model, corpus / "train.jsonl", "--engine", "onnx")
    assert (absent.code, absent.out) == (3, "")
    assert "has no onnx export" in absent.err


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
    again = harken("evaluate", model, corpus / "train.jsonl", "--out", out, "--hardest", 2, "--samples", 50)
    assert again.code == 0, again.err
    assert not (out / "conditions").exists()
    assert not (out / "figures" / "conditions.png").exists()
    assert not (out / "audio" / "0003.flac").exists()
    assert "vs clean" not in again.out
    own = harken("evaluate", model, out / "hardest.jsonl", "--out", out)
    assert own.code == 2
    assert "is part of the test set and of the report in" in own.err


def test_what_would_fail_at_the_end_is_refused_before_recognition(
    harken: Harken, corpus: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (corpus / "part.jsonl").write_text("".join(lines[:3]), encoding="utf-8")
    run = tmp_path / "run"  # a run's folder stands for the report in it
    assert harken("evaluate", model, corpus / "part.jsonl", "--out", run / "report", "--samples", 50).code == 0
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr("harken.evaluation.evaluate.recognize_all", None)
    for options, message in (
        (["--baseline", run], "and 8 more is in the candidate only"),
        (["--out", tmp_path / "file"], "No report can be written to"),
        (["--out", tmp_path / "file" / "report"], "No report can be written to"),
    ):
        refused = harken("evaluate", model, corpus / "train.jsonl", *options)
        assert (refused.code, refused.out) == (2, "")
        assert message in refused.err


def test_progress_is_over_all_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []

    @contextmanager
    def record(what: str) -> Iterator[Callable[[int, int], None]]:
        shown.append(what)
        yield lambda done, total: shown.append((done, total))

    monkeypatch.setattr("harken.cli.progress.progress_on_stderr", record)
    with scoring._progress(["clean", "noise-5db"]) as show:
        show("clean", 4, 10)
        show("noise-5db", 4, 10)
    assert shown == ["recognising under 2 conditions", (4, 20), (14, 20)]


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
    assert list(summary["conditions"]) == ["clean"]
    assert harken("score", corpus / "train.jsonl", texts, "--missing", "skip").code == 2


def test_texts_and_a_model_can_be_compared(
    harken: Harken, corpus: Path, model: Path, texts: Path, tmp_path: Path
) -> None:
    harken("score", corpus / "train.jsonl", texts, "--missing", "deletions", "--out", tmp_path / "a")
    answer = harken("evaluate", model, corpus / "train.jsonl", "--out", tmp_path / "b", "--baseline", tmp_path / "a")
    assert answer.code == 0, answer.err
    assert "than system-a by" in answer.out
    assert harken("compare", tmp_path / "b", tmp_path / "a").code == 0


def test_ids_of_another_set_are_named(harken: Harken, corpus: Path, texts: Path, tmp_path: Path) -> None:
    text = texts.read_text(encoding="utf-8")
    texts.write_text(f"{text}other\tone\n", encoding="utf-8")
    one = harken("score", corpus / "train.jsonl", texts)
    assert one.code == 2
    assert "system-a.tsv has 1 id that " in one.err
    assert "the first is 'other'" in one.err
    texts.write_text(text.replace("clip-", "c"), encoding="utf-8")
    none = harken("score", corpus / "train.jsonl", texts, "--missing", "deletions")
    assert none.code == 2
    assert "have no id in common: the first are 'c00' and 'clip-00'" in none.err


def test_a_baseline_is_compared_and_said(harken: Harken, corpus: Path, texts: Path, tmp_path: Path) -> None:
    first = harken("score", corpus / "train.jsonl", texts, "--missing", "deletions", "--out", tmp_path / "a", "--json")
    worse = tmp_path / "worse.tsv"
    worse.write_text("".join(f"{u.id}\tfour\n" for u in read_manifest(corpus / "train.jsonl")), encoding="utf-8")
    answer = harken("score", corpus / "train.jsonl", worse, "--baseline", tmp_path / "a")
    assert "WORSE than system-a by 83.33 points of WER" in answer.out
    assert first.json["baseline"] is None
    assert harken("score", corpus / "train.jsonl", worse, "--baseline", tmp_path / "nothing").code == 3
