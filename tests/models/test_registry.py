"""The registry on a real MLflow database: versions, aliases, lineage, and what it refuses."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart, RunFailed
from harken.core.files import sha256_file
from harken.models.overview import summarize
from harken.models.registry import ModelRegistry, lineage_of
from harken.tracking import MlflowSink, RunFolder

pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
METRICS = {"test": {"wer": {"value": 0.125, "low": 0.1, "high": 0.15}, "cer": {"value": 0.05}, "words": 800}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for the whole module: MLflow takes five seconds to make one."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def registry(home: Path) -> ModelRegistry:
    return ModelRegistry(home=home)


def make_model(place: Path, run: str, weights: bytes = b"weights", **changes: Any) -> Path:
    """A run folder with provenance, and the model folder of the run."""
    manifests = {"train": {"path": "/data/train.jsonl", "sha256": "ab12" * 16}}
    facts = {"git": {"commit": "c0ffee", "dirty": False}, "manifests": manifests}
    with RunFolder.create(place, name="digits", kind="training", settings={}, provenance=facts, run_id=run):
        folder = place / "model"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        description = {
            "family": "conformer-ctc",
            "parameters": 1234,
            "sample_rate_hz": 16000,
            "languages": ["uz", "ru"],
            "normalizer": "basic",
            "metrics": METRICS,
            "provenance": {"run": run, "update": 300, "train_sha256": "ab12" * 16},
            "format": 1,
            "weights_sha256": sha256_file(folder / "model.safetensors"),
            **changes,
        }
        (folder / "harken.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def test_versions_and_their_lineage(registry: ModelRegistry, tmp_path: Path) -> None:
    first = make_model(tmp_path / "r1", "r1")
    second = make_model(tmp_path / "r2", "r2", b"better", metrics={})
    item, new = registry.register(first, "plain")
    assert (item.name, item.version, new, item.aliases) == ("plain", 1, True, [])
    assert item.source == str(first)
    assert registry.register(second, "plain")[0].version == 2
    found = registry.versions("plain")
    assert [(v.version, v.source, v.family, v.parameters) for v in found] == [
        (1, str(first), "conformer-ctc", 1234),
        (2, str(second), "conformer-ctc", 1234),
    ]
    assert found[0].weights_sha256 == sha256_file(first / "model.safetensors")
    assert found[0].lineage == {
        "run": "r1",
        "update": "300",
        "train_sha256": "ab12" * 16,
        "run_folder": str(tmp_path / "r1"),
        "run_status": "finished",
        "commit": "c0ffee",
        "dirty": "False",
        "languages": "uz,ru",
        "normalizer": "basic",
    }
    best = found[0].evaluation
    assert best is not None
    assert (best.on, best.wer, best.low, best.high, best.words) == ("test", 0.125, 0.1, 0.15, 800)
    assert found[1].evaluation is None
    assert {v.name for v in registry.versions()} >= {"plain"}


def test_the_same_weights_again_are_the_same_version(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "r", "r")
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert registry.register(folder, "twice")[1] is True
    again, new = registry.register(tmp_path / "elsewhere", "twice")
    assert (again.version, again.source, new) == (1, str(folder), False)
    assert len(registry.versions("twice")) == 1
    assert registry.register(folder, "other-name")[1] is True


def test_aliases_move(registry: ModelRegistry, tmp_path: Path) -> None:
    for number in (1, 2):
        registry.register(make_model(tmp_path / f"r{number}", f"a{number}", b"%d" % number), "moving")
    assert registry.promote("moving", 1) is None
    assert registry.promote("moving", 2, "candidate") is None
    assert [v.aliases for v in registry.versions("moving")] == [["champion"], ["candidate"]]
    assert registry.promote("moving", 2) == 1
    assert registry.promote("moving", 2) == 2
    assert [v.aliases for v in registry.versions("moving")] == [[], ["candidate", "champion"]]
    assert registry.find("moving@champion").version == registry.find("moving/2").version == 2
    assert registry.find("moving/1").source == str(tmp_path / "r1/model")


def test_a_tracked_run_is_linked(home: Path, registry: ModelRegistry, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    sink = MlflowSink(home=home, run_folder=tmp_path)
    sink.start("tracked-1", "digits", {}, {})
    sink.finish("finished")
    registry.register(make_model(tmp_path / "t", "tracked-1"), "linked")
    client = MlflowClient(registry.uri)
    run = client.get_run(client.get_model_version("linked", "1").run_id)
    assert run.data.tags["harken.run_id"] == "tracked-1"
    registry.register(make_model(tmp_path / "u", "untracked-1", b"u"), "linked")
    assert not client.get_model_version("linked", "2").run_id


@pytest.mark.parametrize("run", ["tracked-2", "untracked-2"])
def test_a_copy_lies_in_mlflows_store(home: Path, registry: ModelRegistry, tmp_path: Path, run: str) -> None:
    if run == "tracked-2":
        sink = MlflowSink(home=home, run_folder=tmp_path)
        sink.start(run, "digits", {}, {})
        sink.finish("failed")
    folder = make_model(tmp_path / "r", run)
    item, _ = registry.register(folder, f"copied-{run}", copy=True)
    place = Path(item.source.removeprefix("file://"))
    assert place.is_relative_to(home / "mlflow-artifacts")
    assert {p.name: p.read_bytes() for p in place.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}
    shutil.rmtree(folder)
    assert registry.promote(item.name, 1) is None


def test_what_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "r", "x1")
    registry.register(folder, "strict")
    for name in ("", "a/b", "a:b", "a@b", "it's"):
        with pytest.raises(InputError, match="is no name for a model"):
            registry.register(folder, name)
    with pytest.raises(MissingPart, match=r"'strict' has no version 9. Known versions: 1."):
        registry.promote("strict", 9)
    with pytest.raises(MissingPart, match=r"No model is registered as 'nobody'. Known: .*strict"):
        registry.promote("nobody", 1)
    for alias in ("v1", "two words"):
        with pytest.raises(InputError, match=f"'strict' version 1 cannot be made '{alias}'"):
            registry.promote("strict", 1, alias)
    with pytest.raises(MissingPart, match=r"There is no strict@champion. Known versions: 1."):
        registry.find("strict@champion")
    for reference in ("strict", "@x", "strict/"):
        with pytest.raises(InputError, match="names no registered model"):
            registry.find(reference)
    with pytest.raises(MissingPart, match="is not a model folder"):
        registry.register(tmp_path, "strict")


def test_weights_that_changed(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "r", "c1")
    registry.register(folder, "changing")
    (folder / "model.safetensors").write_bytes(b"swapped")
    with pytest.raises(InputError, match=r"is not what harken.json was written for"):
        registry.register(folder, "changing")
    with pytest.raises(InputError, match=r"is not what harken.json was written for"):
        registry.promote("changing", 1)
    data = json.loads((folder / "harken.json").read_text())
    data["weights_sha256"] = sha256_file(folder / "model.safetensors")
    (folder / "harken.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="are not those registered as 'changing' version 1"):
        registry.promote("changing", 1)
    shutil.rmtree(folder)
    with pytest.raises(MissingPart, match="'changing' version 1, is gone"):
        registry.promote("changing", 1)
    assert registry.versions("changing")[0].aliases == []


def test_a_model_in_the_folder_of_another_run(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "r", "same-name", provenance={"run": "same-name", "train_sha256": "other"})
    with pytest.raises(InputError, match="disagree about train_sha256: other and ab12ab12ab12"):
        lineage_of(summarize(folder), "")


def test_a_version_somebody_else_made(registry: ModelRegistry) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(registry.uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source="s3://bucket/model", await_creation_for=0)
    (item,) = registry.versions("foreign")
    assert (item.family, item.parameters, item.evaluation, item.lineage) == ("", 0, None, {})
    assert registry.promote("foreign", 1, "candidate") is None


def test_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[tracking\]'"):
        ModelRegistry(home=tmp_path).versions()


def test_an_address_nobody_answers_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunFailed, match=r"The registry cannot be read.*--uri"):
        ModelRegistry(home=tmp_path, uri="http://127.0.0.1:9").versions()
