"""The onnx engine: says what the torch engine says, without torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, MissingPart, Recognizer, Waveform
from harken.export.run import export_model
from harken.inference import onnx_engine
from harken.inference.config import EngineConfig
from harken.inference.exported import ExportRecord, WeightsIdentity
from harken.inference.onnx_engine import OnnxCtcScorer, choose_precision, load_engine
from harken.inference.torch_engine import load_engine as load_torch_engine


@pytest.fixture(scope="module")
def exported(model_folder: Path, noises: list[Waveform], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(model_folder, folder)
    soundfile.write(folder.parent / "noise.wav", noises[1], 16_000, subtype="FLOAT")
    list(export_model(folder, ["onnx"], files=[folder.parent / "noise.wav"]))
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def test_it_says_what_the_torch_engine_says(exported: Path, noises: list[Waveform]) -> None:
    engine = load_engine(exported, config=EngineConfig(device="cpu", threads=1))
    assert isinstance(engine, Recognizer)
    expected = load_torch_engine(exported, config=EngineConfig(device="cpu")).transcribe_batch(noises)
    found = engine.transcribe_batch(noises)
    assert [item.text for item in found] == [item.text for item in expected]
    assert len({item.text for item in found}) > 3
    for one, other in zip(found, expected, strict=True):
        assert [(w.text, w.start_s, w.end_s) for w in one.words] == [(w.text, w.start_s, w.end_s) for w in other.words]
        np.testing.assert_allclose([w.confidence for w in one.words], [w.confidence for w in other.words], atol=1e-4)


def test_a_cpu_scores_several_batches_at_a_time(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, parallel in ((16, 4), (3, 3), (1, 1)):
        monkeypatch.setattr(onnx_engine, "usable_cores", lambda cores=cores: cores)
        assert load_engine(exported, config=EngineConfig(device="cpu")).parallel == parallel  # type: ignore[union-attr]
    assert load_engine(exported, config=EngineConfig(device="cpu", threads=2)).parallel == 2  # type: ignore[union-attr]
    several = load_engine(exported, config=EngineConfig(device="cpu", threads=1, parallel=3))
    assert several.parallel == 3  # type: ignore[union-attr]


def test_company_changes_nothing_in_int8(exported: Path, copied: Path, noises: list[Waveform]) -> None:
    """Dynamic scales are those of a whole batch, so that waveforms are scored one by one."""
    list(export_model(copied, ["onnx-int8"], files=[exported.parent / "noise.wav"]))
    entry = json.loads((copied / "onnx" / "export.json").read_text())["files"]["model.int8.onnx"]
    assert entry["quantization"]["method"] == "dynamic"
    engine = load_engine(copied, config=EngineConfig(device="cpu", threads=1, precision="int8"))
    loud = [noise * scale for noise, scale in zip(noises, (0.05, 1.0, 0.3, 0.6), strict=False)]
    together = engine.transcribe_batch(loud)
    assert [engine.transcribe(noise) for noise in loud] == together
    assert len({item.text for item in together}) > 1


def test_torch_is_never_loaded(exported: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harken.inference.onnx_engine import load_engine\n"
        f"print(load_engine(Path({str(exported)!r})).transcribe({str(exported.parent / 'noise.wav')!r}).text)\n"
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, loaded = done.stdout.splitlines()
    assert text == load_torch_engine(exported).transcribe(exported.parent / "noise.wav").text
    assert text
    assert loaded == "[]"


def test_the_weights_need_not_be_there(copied: Path, noises: list[Waveform]) -> None:
    (copied / "model.safetensors").unlink()
    assert load_engine(copied).transcribe(noises[1]).text


def test_an_export_older_than_its_weights_is_refused(copied: Path) -> None:
    described = json.loads((copied / "harken.json").read_text())
    (copied / "harken.json").write_text(json.dumps({**described, "weights_sha256": "1" * 64}))
    with pytest.raises(InputError, match=r"older than its weights.*Run harken export again"):
        load_engine(copied)


def test_what_was_not_exported_is_missing(copied: Path, model_folder: Path) -> None:
    with pytest.raises(MissingPart, match=r"model\.int8\.onnx does not exist"):
        load_engine(copied, config=EngineConfig(precision="int8"))
    with pytest.raises(MissingPart, match="has no onnx export"):
        load_engine(model_folder)


def test_a_damaged_file_is_refused(copied: Path) -> None:
    path = copied / "onnx/model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError, match="its SHA-256 is another one"):
        load_engine(copied)


def test_settings_for_other_models_are_refused(exported: Path) -> None:
    with pytest.raises(InputError, match="cannot be told"):
        load_engine(exported, config=EngineConfig(language="uz"))


def test_windows_keep_to_the_chunks_of_the_model(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_engine, "CtcRecognizer", lambda *_, **options: options["chunk_frames"])
    assert load_engine(copied) is None
    described = json.loads((copied / "harken.json").read_text())
    described["settings"]["chunk_frames"] = 4
    (copied / "harken.json").write_text(json.dumps(described))
    assert load_engine(copied) == 4


def record(*names: str) -> ExportRecord:
    files: dict[str, dict[str, Any]] = {name: {} for name in names}
    return ExportRecord(identity=WeightsIdentity(weights_sha256="aa"), versions={}, files=files)


def test_the_fastest_precision_there_is() -> None:
    every = record("model.onnx", "model.int8.onnx", "model.fp16.onnx")
    assert choose_precision("auto", every, on_cpu=True) == "int8"
    assert choose_precision("auto", every, on_cpu=False) == "fp16"
    assert choose_precision("auto", record("model.onnx", "model.fp16.onnx"), on_cpu=True) == "fp32"
    assert choose_precision("fp32", every, on_cpu=True) == "fp32"
    with pytest.raises(MissingPart, match="holds no CTC model"):
        choose_precision("auto", record("tokens.txt"), on_cpu=True)


def test_a_graph_of_another_kind_is_refused() -> None:
    session = SimpleNamespace(
        get_inputs=lambda: [SimpleNamespace(name="mel")], get_outputs=lambda: [SimpleNamespace(name="states")]
    )
    with pytest.raises(InputError, match="The graph takes mel and gives states"):
        OnnxCtcScorer(session)
