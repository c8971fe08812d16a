"""Engines by name."""

import shutil
from pathlib import Path

import pytest

import harken
from harken.core import InputError, MissingPart, Waveform
from harken.core.files import write_json
from harken.inference import engines as room
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import choose_engine, load
from harken.inference.exported import weights_identity


def test_load_gives_the_engine_of_that_name(
    model_folder: Path, recognizer: CtcRecognizer, noises: list[Waveform]
) -> None:
    loaded = load(str(model_folder), config=EngineConfig(device="cpu"))
    assert isinstance(loaded, CtcRecognizer)
    assert loaded.transcribe(noises[1]) == recognizer.transcribe(noises[1])
    assert harken.load(model_folder).sample_rate_hz == 16_000


def test_an_unknown_engine_lists_the_known_ones(model_folder: Path) -> None:
    with pytest.raises(MissingPart, match=r"no harken\.engines called 'tensorflow'\. Installed: .*torch"):
        load(model_folder, engine="tensorflow")


def test_an_engine_without_pytorch_says_how_to_go_on(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(room, "load_plugin", lambda group, name: absent("torch"))
    with pytest.raises(
        MissingPart, match=r"engine torch needs PyTorch.*harken\[train\].*harken export MODEL --to onnx"
    ):
        load(model_folder)
    monkeypatch.setattr(room, "load_plugin", lambda group, name: absent("theirs"))
    with pytest.raises(ModuleNotFoundError, match="theirs"):  # a plugin's own fault stays visible
        load(model_folder)


def test_an_absent_folder_and_one_that_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"absent does not exist\. Give the model/ folder"):
        load(tmp_path / "absent")
    with pytest.raises(MissingPart, match="is not a model folder: it has no harken"):
        load(tmp_path)


def test_a_plugin_that_gives_no_recognizer_is_refused(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "load_plugin", lambda group, name: lambda folder, **_: "a string")
    with pytest.raises(InputError, match="'odd' gave str, which is not a Recognizer"):
        load(model_folder, engine="odd")
    monkeypatch.setattr(room, "load_plugin", lambda group, name: "no function")
    with pytest.raises(InputError, match=r"'odd' of harken\.engines cannot be called"):
        load(model_folder, engine="odd")


def export(
    folder: Path, kind: str, weights_sha256: str | None = None, file: str | None = None, precision: str = "int8"
) -> None:
    """A record of an export of these weights, or of others."""
    model = file or {"onnx": "model.int8.onnx", "ctranslate2": "model.bin"}[kind]
    now = weights_identity(folder)
    assert now is not None
    record = {
        "weights_sha256": weights_sha256 or now.weights_sha256,
        "versions": {},
        "files": {model: {"precision": precision}},
    }
    write_json(folder / kind / "export.json", record)


@pytest.fixture
def copied(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def test_auto_takes_an_export_that_fits_the_weights(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_NVIDIA_DRIVER", copied / "absent")
    assert choose_engine(copied, EngineConfig()) == "torch"
    export(copied, "onnx", file="tokens.txt")
    assert choose_engine(copied, EngineConfig()) == "torch"
    export(copied, "onnx")
    assert choose_engine(copied, EngineConfig()) == "onnx"
    export(copied, "ctranslate2")
    assert choose_engine(copied, EngineConfig()) == "ctranslate2"
    monkeypatch.setattr(room, "find_spec", lambda name: None if name == "ctranslate2" else "found")
    assert choose_engine(copied, EngineConfig()) == "onnx"


def test_auto_takes_an_export_of_the_precision_asked_for(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_NVIDIA_DRIVER", copied / "absent")
    export(copied, "onnx", precision="int8")
    export(copied, "ctranslate2", precision="fp32")
    engines = {wanted: choose_engine(copied, EngineConfig(precision=wanted)) for wanted in ("int8", "fp32", "fp16")}
    assert engines == {"int8": "onnx", "fp32": "ctranslate2", "fp16": "torch"}


def test_auto_passes_over_an_export_of_other_weights(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(copied, "onnx", weights_sha256="0" * 64)
    assert choose_engine(copied, EngineConfig(device="cpu")) == "torch"
    assert "onnx is older than its weights and is not used; run harken export again" in caplog.text


def test_on_a_gpu_torch_runs_unless_onnx_has_cuda(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(copied, "onnx")
    monkeypatch.setattr(room, "runs_on_cpu", lambda device: True)
    assert choose_engine(copied, EngineConfig(device="cuda")) == "torch"
    monkeypatch.setattr(room, "_NVIDIA_DRIVER", copied)
    assert choose_engine(copied, EngineConfig()) == "torch"
    assert choose_engine(copied, EngineConfig(device="cpu")) == "onnx"
    monkeypatch.setattr(room, "runs_on_cpu", lambda device: False)
    assert choose_engine(copied, EngineConfig(device="cuda:1")) == "onnx"
