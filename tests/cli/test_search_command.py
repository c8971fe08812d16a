"""`harken search`: a table on stdout, what happens on stderr, and the same command again goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs the extra `search`")

Harken = Callable[..., Any]


def test_two_trials_and_once_more(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {optimizer.learning_rate: {choices: [0.001, 0.01]}}\ntrials: 2\n", encoding="utf-8")
    answer = harken("search", corpus / "recipe.yaml", space, "training.updates=1", "--out", tmp_path / "found")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["trial", "state", "WER", "%", "updates", "optimizer.learning_rate"]
    assert {line.split()[0] for line in lines[1:3]} == {"0", "1"}
    assert lines[-1].startswith(f"best: {tmp_path / 'found' / 'trial-'}")
    assert "trial 1 finished after 1 updates, WER" in answer.err
    again = harken("search", corpus / "recipe.yaml", space, "--out", tmp_path / "found", "--json")
    assert [trial["number"] for trial in again.json["trials"]] == [0, 1]


def test_a_space_that_makes_no_sense(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {optimizer.learning_rate: {low: 1}}\n", encoding="utf-8")
    answer = harken("search", corpus / "recipe.yaml", space)
    assert (answer.code, answer.out) == (2, "")
    assert "space.yaml" in answer.err
    assert "low below high" in answer.err
