"""`harken train` and `harken runs`: what is printed where, and what is refused before anything is written."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.tracking.lock import FolderLock

Harken = Callable[..., Any]


def with_recipe(corpus: Path, folder: Path, old: str = "", new: str = "") -> Path:
    """The corpus's recipe in `folder`, changed in one place; its manifests stay where they are."""
    text = (corpus / "recipe.yaml").read_text(encoding="utf-8").replace("train.jsonl", str(corpus / "train.jsonl"))
    assert old in text
    path = folder / "recipe.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


# A run from start to end


def test_stdout_holds_the_outcome_and_stderr_the_progress(trained: tuple[Path, Any]) -> None:
    run, answer = trained
    outcome = answer.json
    assert (outcome["run"], outcome["model"]) == (str(run), str(run / "model"))
    assert (outcome["updates"], outcome["rejected"]) == (2, {})
    assert 0 <= outcome["best_update"] <= 2
    assert answer.err.startswith(f"run folder: {run}\n")
    assert "Traceback" not in answer.err
    assert {"run.json", "recipe.yaml", "metrics.jsonl", "events.jsonl", "model"} <= {p.name for p in run.iterdir()}


def test_runs_list_and_show(harken: Harken, trained: tuple[Path, Any]) -> None:
    run, _ = trained
    listed = harken("runs", "list", "--dir", run.parent)
    assert (listed.code, listed.err) == (0, "")
    head, line = listed.out.splitlines()
    assert head.split() == ["run", "status", "updates", "best", "WER", "id"]
    assert line.split()[:3] == [str(run), "finished", "2"]
    (record,) = harken("runs", "list", "--dir", run.parent, "--json").json
    # Trackers tell runs apart by their ids, so a folder's name, which may come again elsewhere, is none.
    assert re.fullmatch(r"tiny-\d{8}-\d{6}-\w{4}", record["id"])
    assert line.split()[-1] == record["id"]
    shown = harken("runs", "show", run)
    assert shown.out.splitlines()[0] == f"{record['id']}: finished"
    assert [row.split()[0] for row in shown.out.splitlines()[1:5]] == ["update", "0", "1", "2"]
    assert set(harken("runs", "show", run, "--json").json) == {"record", "metrics", "events"}


def test_a_run_folder_is_not_used_twice(harken: Harken, corpus: Path, trained: tuple[Path, Any]) -> None:
    answer = harken("train", corpus / "recipe.yaml", "--out", trained[0])
    assert (answer.code, answer.out) == (2, "")
    assert "holds a run already. Go on with it with --resume" in answer.err


def test_a_run_that_somebody_else_is_in_is_busy(harken: Harken, trained: tuple[Path, Any]) -> None:
    lock = FolderLock.take(trained[0])
    try:
        answer = harken("train", "--resume", trained[0])
    finally:
        lock.release()
    assert (answer.code, answer.out) == (5, "")
    assert "is in use by process" in answer.err


# Refusals


def test_without_a_recipe(harken: Harken) -> None:
    answer = harken("train")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: There is no recipe. Write harken train RECIPE, or harken train --resume RUN.\n"


def test_resume_takes_nothing_else(harken: Harken, corpus: Path, trained: tuple[Path, Any]) -> None:
    for more in ([corpus / "recipe.yaml"], ["--dry-run"], ["--out", "x"]):
        answer = harken("train", "--resume", trained[0], *more)
        assert (answer.code, answer.out) == (2, "")
        assert "--resume goes on with the run's own recipe. Leave out the recipe" in answer.err


def test_resume_of_something_that_is_no_run(harken: Harken, tmp_path: Path, trained: tuple[Path, Any]) -> None:
    for place in (tmp_path, tmp_path / "absent", trained[0] / "model"):
        before = sorted(path.name for path in tmp_path.iterdir())
        answer = harken("train", "--resume", place)
        assert (answer.code, answer.out) == (2, "")
        assert f"{place} is not a run folder: it has no run.json." in answer.err
        assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("updates: 2", "update: 2", "training.update is not a setting; did you mean 'updates'"),
        ("name: tiny", "nme: tiny", "nme is not a setting; did you mean 'name'"),
        ("updates: 2", "updates: -2", "updates is -2; use a number above 0"),
        ("updates: 2", "updates: 2, epochs: 3", "epochs and updates are both given"),
        ("batches:", "schedule: {warmup_updates: 2}\nbatches:", "schedule.warmup_updates is 2, but training.updates"),
        ("batches:", "optimizer: {learning_rate: -1}\nbatches:", "learning_rate is -1.0; use a rate above 0"),
        ("width: 16", "widht: 16", "widht is not a setting; did you mean 'width'"),
        ("device: cpu", "device: gpu", "device is 'gpu'. Use auto, cpu, cuda or cuda:N."),
        ("data: {train: ", "data: {train: absent-", "does not exist"),
        ("name: tiny", "name: [", "is not valid YAML"),
        ("name: tiny", "- tiny", "recipe.yaml is not valid YAML"),
    ],
)
def test_a_wrong_recipe_is_an_error_with_the_setting(
    harken: Harken, corpus: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    answer = harken("train", with_recipe(corpus, tmp_path, old, new), "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.yaml", "absent.yaml does not exist. Check the path."),
        (".", "is a folder. Name the YAML file inside it"),
    ],
)
def test_recipes_that_are_none(harken: Harken, tmp_path: Path, name: str, message: str) -> None:
    answer = harken("train", tmp_path / name)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


@pytest.mark.parametrize(
    ("override", "message"),
    [("training", "'training' is not an override"), ("training.update=3", "did you mean 'updates'")],
)
def test_wrong_overrides(harken: Harken, corpus: Path, override: str, message: str) -> None:
    answer = harken("train", corpus / "recipe.yaml", override)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_an_unknown_model_family_is_a_missing_part(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    recipe = with_recipe(corpus, tmp_path, "family: recurrent-ctc", "family: transducer")
    answer = harken("train", recipe, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (3, "")
    assert "called 'transducer'. Installed: conformer-ctc, nemo-conformer-ctc, recurrent-ctc" in answer.err


def test_dry_run_writes_nothing(harken: Harken, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = harken("train", corpus / "recipe.yaml", "training.updates=5", "--dry-run", "--json")
    assert plan.code == 0
    assert (plan.json["train_utterances"], plan.json["updates"], plan.json["output_units"]) == (12, 5, 4)
    assert "updates: 5" in harken("train", corpus / "recipe.yaml", "training.updates=5", "--dry-run").out
    assert list(tmp_path.iterdir()) == []


# Lists of runs


def test_no_runs(harken: Harken, tmp_path: Path) -> None:
    answer = harken("runs", "list", "--dir", tmp_path)
    assert (answer.code, answer.out, answer.err) == (0, "", f"{tmp_path} holds no run.\n")
    assert harken("runs", "list", "--dir", tmp_path, "--json").json == []
    absent = harken("runs", "list", "--dir", tmp_path / "absent")
    assert (absent.code, absent.out) == (3, "")
    assert "absent does not exist. Name the folder of your runs with --dir." in absent.err


def test_a_damaged_record_does_not_hide_the_other_runs(
    harken: Harken, tmp_path: Path, trained: tuple[Path, Any]
) -> None:
    for name, text in (("good", (trained[0] / "run.json").read_text(encoding="utf-8")), ("bad", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text, encoding="utf-8")
    answer = harken("runs", "list", "--dir", tmp_path)
    assert answer.code == 2
    assert "tiny" in answer.out
    assert str(tmp_path / "bad" / "run.json") in answer.err
    assert len(json.loads(harken("runs", "list", "--dir", tmp_path, "--json").out)) == 1


def test_show_of_something_that_is_no_run(harken: Harken, tmp_path: Path) -> None:
    answer = harken("runs", "show", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "is not a run folder: it has no run.json." in answer.err


# The demo, as far as it refuses


def test_the_demo_replaces_nothing_of_yours(harken: Harken, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    answer = harken("demo", "--out", tmp_path)
    assert answer.code == 2
    assert f"{tmp_path} exists and is not an earlier demo. Choose another folder with --out." in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_demo_needs_data_and_updates(harken: Harken, tmp_path: Path) -> None:
    absent = harken("demo", "--data", tmp_path / "absent", "--out", tmp_path / "a")
    assert absent.code == 2
    assert "absent does not exist" in absent.err
    none = harken("demo", "--updates", 0, "--out", tmp_path / "b")
    assert none.code == 2
    assert not (tmp_path / "b").exists()
