"""`harken models` as a person meets it: folders without a registry, versions with one, and a push that cannot be."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

Harken = Any
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One registry for the module: making its database takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _use_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARKEN_HOME", str(home))
    monkeypatch.delenv("HF_TOKEN", raising=False)


# Folders


def test_list_needs_no_registry(harken: Harken, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    runs = model.parent.parent
    answer = harken("models", "list", "--dir", runs)
    assert (answer.code, answer.err) == (0, "")
    head, row = answer.out.splitlines()
    assert head.split() == ["name", "WER", "interval", "on", "family", "parameters", "created", "folder"]
    description = json.loads((model / "harken.json").read_text(encoding="utf-8"))
    wer = description["metrics"]["test"]["wer"]
    for part in ("tiny", f"{100 * wer['value']:.2f} %", "recurrent-ctc", f"{description['parameters']:,}", str(model)):
        assert part in row
    (item,) = harken("models", "list", "--dir", runs, "--json").json
    assert item["wer"] == {key: wer[key] for key in ("value", "low", "high")} | {"on": "test"}
    assert (item["folder"], item["weights_sha256"]) == (str(model), description["weights_sha256"])


def test_list_of_runs_below_the_current_folder(
    harken: Harken, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(model.parent.parent.parent)
    assert harken("models", "list").out.splitlines()[1].endswith("  runs/tiny/model")
    monkeypatch.chdir(tmp_path)
    absent = harken("models", "list")
    assert (absent.code, absent.out) == (3, "")
    assert "runs does not exist. Name the folder of your runs with --dir." in absent.err
    (tmp_path / "runs").mkdir()
    empty = harken("models", "list")
    assert (empty.code, empty.out, empty.err) == (0, "", "runs holds no model folder.\n")


def test_a_damaged_folder_is_named_and_the_others_are_shown(harken: Harken, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "good/model")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/harken.json").write_text("{")
    answer = harken("models", "list", "--dir", tmp_path)
    assert answer.code == 2
    assert "good/model" in answer.out
    assert "bad/harken.json does not describe a model" in answer.err


def test_show_has_the_evaluation_and_the_promised_keys(harken: Harken, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    data = json.loads((model / "harken.json").read_text(encoding="utf-8"))
    data |= {
        "metrics": {"test": {"wer": {"value": 0.125, "low": 0.1, "high": 0.15}, "cer": {"value": 0.05}, "words": 80}}
    }
    (tmp_path / "m/harken.json").write_text(json.dumps(data | {"languages": ["uz", "ru"]}), encoding="utf-8")
    answer = harken("models", "show", tmp_path / "m")
    assert "languages    uz, ru\n" in answer.out
    head, row = answer.out.splitlines()[-2:]
    assert head.split() == ["set", "WER", "interval", "CER", "words", "utterances"]
    assert " ".join(row.split()) == "test 12.50 % 10.00 to 15.00 5.00 % 80"
    shown = harken("models", "show", tmp_path / "m", "--json").json
    assert (shown["family"], shown["sample_rate"], shown["languages"]) == ("recurrent-ctc", 16_000, ["uz", "ru"])
    assert shown["parameters"] == data["parameters"]
    (tmp_path / "m/harken.json").write_text(json.dumps(data | {"metrics": {}}), encoding="utf-8")
    unscored = harken("models", "show", tmp_path / "m")
    assert (unscored.code, "Not evaluated yet" in unscored.err) == (0, True)


# The registry


@pytest.fixture
def registered(home: Path, model: Path) -> None:
    """`known` with one version, the champion."""
    pytest.importorskip("mlflow")
    from harken.models.registry import ModelRegistry

    registry = ModelRegistry(home=home)
    registry.register(model, "known")
    registry.promote("known", 1)


def test_register_promote_list_show(harken: Harken, model: Path) -> None:
    pytest.importorskip("mlflow")
    new = harken("models", "register", model, "digits")
    assert (new.code, new.out) == (0, f"digits version 1: {model}\n")
    again = harken("models", "register", model, "digits", "--json").json
    run_id = json.loads((model.parent / "run.json").read_text())["id"]
    assert (again["version"], again["new"], again["lineage"]["run"]) == (1, False, run_id)
    assert harken("models", "register", model, "digits").out == f"digits version 1 has these weights already: {model}\n"
    assert harken("models", "promote", "digits", 1).out == "digits@champion is version 1\n"
    moved = harken("models", "promote", "digits", 1, "--alias", "candidate", "--json").json
    assert moved == {"name": "digits", "alias": "candidate", "version": 1, "before": None}
    head, *rows = harken("models", "list", "--registered").out.splitlines()
    assert head.split()[:3] == ["name", "version", "aliases"]
    (row,) = [row for row in rows if row.startswith("digits")]
    assert row.split()[:4] == ["digits", "1", "candidate,", "champion"]
    assert row.endswith(str(model))
    (item,) = harken("models", "list", "--name", "digits", "--json").json
    assert (item["aliases"], item["source"]) == (["candidate", "champion"], str(model))
    for name in ("digits@champion", "digits/1"):
        assert harken("models", "show", name).out == harken("models", "show", model).out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["promote", "known", "7"], 3, "'known' has no version 7. Known versions: 1 (champion)."),
        (["promote", "nobody", "1"], 3, "No model is registered as 'nobody'. Known: "),
        (["promote", "known", "1", "--alias", "v1"], 2, "'known' version 1 cannot be made 'v1'"),
        (["list", "--name", "nobody"], 3, "No model is registered as 'nobody'"),
        (["show", "known@nothing"], 3, "There is no known@nothing."),
        (["show", "known/7"], 3, "There is no known/7. Known versions: 1 (champion)."),
        (["show", "nobody/1"], 3, "No model is registered as 'nobody'. Known: "),
        (["show", "no/such/1"], 3, "no/such/1 does not exist. Give the model/ folder of a finished run."),
        (["register", "absent", "known"], 3, "absent is not a model folder"),
    ],
)
def test_registry_mistakes(harken: Harken, registered: None, arguments: list[str], code: int, message: str) -> None:
    answer = harken("models", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_no_mlflow_is_said(harken: Harken, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for arguments in (["list", "--registered"], ["register", model, "x"], ["promote", "x", "1"]):
        answer = harken("models", *arguments)
        assert answer.code == 3
        assert "pip install 'harken[tracking]'" in answer.err


# The hub


def test_push_checks_before_it_sends(harken: Harken, model: Path, tmp_path: Path) -> None:
    listed = harken("models", "push", model, "me/tiny", "--dry-run")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[1] for line in listed.out.splitlines()] == sorted(path.name for path in model.iterdir())
    files = harken("models", "push", model, "me/tiny", "--dry-run", "--json").json["files"]
    assert {file["path"]: file["bytes"] for file in files} == {p.name: p.stat().st_size for p in model.iterdir()}
    no_token = harken("models", "push", model, "me/tiny")
    assert (no_token.code, no_token.out) == (3, "")
    assert "needs an access token" in no_token.err
    shutil.copytree(model, tmp_path / "m")
    (tmp_path / "m/notes.txt").write_text("from /home/anna/x")
    told = harken("models", "push", tmp_path / "m", "me/tiny", "--dry-run")
    assert (told.code, told.out) == (2, "")
    assert "notes.txt holds the path /home/anna/x" in told.err
