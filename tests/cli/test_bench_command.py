"""`harken bench`: engines of a model on files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Harken = Callable[..., Any]


def test_a_table_of_what_can_run(harken: Harken, corpus: Path, model: Path) -> None:
    answer = harken("bench", "inference", model, corpus / "00.wav", corpus / "01.wav", "--rounds", "1")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "2 files, 1.0 s of audio, 1 rounds, 1 threads"
    assert [line.split()[0] for line in lines[3:]] == ["torch"]
    assert lines[3].endswith("2/2")
    assert "onnx: " in answer.err  # what cannot run, and why


def test_figures_as_json(harken: Harken, corpus: Path, model: Path) -> None:
    answer = harken("bench", "inference", model, corpus / "00.wav", "--engine", "torch", "--rounds", "2", "--json")
    report = json.loads(answer.out)["torch"]
    assert (report["audio_s"], report["pieces"], report["same_text"]) == (0.5, 1, 1)
    assert len(report["alone"]["cpu_s"]) == len(report["together"]["wall_s"]) == 2
    assert report["latency"]["rtf"] > 0


def test_what_cannot_be_measured(harken: Harken, corpus: Path, model: Path) -> None:
    absent = harken("bench", "inference", model, corpus / "00.wav", "--engine", "onnx")
    assert (absent.code, absent.out) == (3, "")
    assert "has no onnx export" in absent.err
    no_rounds = harken("bench", "inference", model, corpus / "00.wav", "--rounds", "0")
    assert no_rounds.code == 2
    assert "There is nothing to compare: 0 rounds" in no_rounds.err
