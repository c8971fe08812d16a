"""Export of a Whisper to ONNX: what is written, what a failed check leaves, adapters, and the older exporter."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch

from harken.core import InputError, RunFailed
from harken.core.files import sha256_file
from harken.export import whisper_files, whisper_onnx
from harken.export.clips import Clip
from harken.export.ctc_onnx import DYNAMO, Exporter
from harken.export.parity import ParityLimits
from harken.export.run import export_model
from harken.export.whisper_onnx import export_whisper_onnx
from harken.inference.config import EngineConfig
from harken.inference.onnx_engine import load_engine
from harken.inference.torch_engine import load_engine as load_torch_engine
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.models.folder import describe, load_model, save_model
from harken.models.whisper import load_whisper
from harken.testing import random_whisper

pytest.importorskip("onnxscript", reason="needs the extra `export`")

GENERATION = {"suppress_tokens": [3, 4], "begin_suppress_tokens": [5], "alignment_heads": [[0, 1], [1, 0]]}
FILES = ("encoder.onnx", "decoder.onnx", "encoder.int8.onnx", "decoder.int8.onnx")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without exports."""
    root = tmp_path_factory.mktemp("plain")
    (root / "pretrained").mkdir()
    random_whisper(root / "pretrained", seed=1, init_std=0.15, times_s=1.5, generation=GENERATION)
    parts = load_whisper(root / "pretrained")
    save(root / "model", parts.model, parts)
    return root / "model"


def save(folder: Path, model: Any, parts: Any) -> None:
    description = describe(
        model, family="whisper", settings=model.settings, features=parts.features, tokenizer=parts.tokenizer,
        normalizer="basic",
    )  # fmt: skip
    save_model(folder, model=model, description=description, tokenizer=parts.tokenizer)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    draw = np.random.default_rng(2)
    made = [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in (9_000, 23_000, 40_000, 3_000, 12_345)]
    return [Clip(name=f"noise {n}", waveform=waveform, text="noise") for n, waveform in enumerate(made)]


@pytest.fixture(scope="module")
def exported(plain: Path, clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder with both precisions, and what `export_model` said of them."""
    root = tmp_path_factory.mktemp("exported")
    folder = Path(shutil.copytree(plain, root / "model"))
    for place, clip in enumerate(clips):
        soundfile.write(root / f"{place}.wav", clip.waveform, 16_000, subtype="FLOAT")
    with pytest.MonkeyPatch.context() as patch:
        lenient = {**whisper_onnx.LIMITS, "int8": ParityLimits()}  # random weights say other things once rounded
        patch.setattr(whisper_onnx, "LIMITS", lenient)
        files = [root / f"{place}.wav" for place in range(len(clips))]
        results = list(export_model(folder, ["onnx-int8", "onnx"], files=files))
    return folder, results


@pytest.fixture
def copied(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "model"))


@pytest.fixture
def ready(exported: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are taken from `exported` instead of written anew."""

    def take(plan: Any, path: Path, metadata: Any) -> Exporter:
        shutil.copyfile(exported[0] / "onnx" / path.name, path)
        return Exporter(name="taken", opset=20)

    monkeypatch.setattr(whisper_onnx, "write_graph", take)


def record(folder: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((folder / "onnx/export.json").read_text())["files"]
    return files


def test_the_folder_its_record_and_the_results_agree(exported: tuple[Path, list[Any]]) -> None:
    folder, results = exported
    assert sorted(path.name for path in (folder / "onnx").iterdir()) == sorted([*FILES, "export.json"])
    assert not list(folder.glob(".*"))
    entries = record(folder)
    for name in FILES:
        path = folder / "onnx" / name
        entry = entries[name]
        assert (entry["sha256"], entry["bytes"]) == (sha256_file(path), path.stat().st_size)
        assert entry["precision"] == ("int8" if "int8" in name else "fp32")
        assert entry["exporter"] == {"name": DYNAMO, "opset": 20, "why": ""}
        assert ("quantization" in entry) == ("int8" in name)
    parity = entries["encoder.onnx"]["parity"]
    assert parity == entries["decoder.onnx"]["parity"]
    assert (parity["clips"], parity["comparisons"], parity["texts_differing"]) == (5, 9, 0)
    assert parity["limits"]["log_prob"] == 1e-3
    assert 0 < parity["largest_difference"] < 1e-4 < entries["encoder.int8.onnx"]["parity"]["largest_difference"] < 1
    assert [(result.target, result.note) for result in results] == [
        ("onnx", DYNAMO),
        ("onnx-int8", f"{DYNAMO}, dynamic"),
    ]
    assert results[0].size_bytes == sum(entries[name]["bytes"] for name in FILES[:2])
    assert results[0].parity.largest_difference == parity["largest_difference"]


def test_the_graphs_are_plain_onnx_and_say_what_they_are(exported: tuple[Path, list[Any]]) -> None:
    for name in FILES:
        model = onnx.load(str(exported[0] / "onnx" / name))
        assert {item.domain for item in model.opset_import} == {""}
        assert model.producer_name == "harken"
        said = {item.key: json.loads(item.value) for item in model.metadata_props}
        assert (said["window_frames"], said["longest_tokens"], said["layers"], said["head_width"]) == (150, 200, 2, 32)
        assert said["alignment_heads"] == [[0, 1], [1, 0]]
        assert (said["suppressed"], said["suppressed_first"]) == ([3, 4], [5])
    decoder = onnx.load(str(exported[0] / "onnx/decoder.onnx")).graph
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*decoder.input, *decoder.output)
    }
    assert axes["tokens"] == ["windows", "hypotheses", "tokens"]
    assert axes["past_key.1"] == ["windows", "hypotheses", 2, 32, "past"]
    assert axes["cross_value.0"] == ["windows", 2, 75, 32]
    assert axes["scores"] == ["windows", "hypotheses", "scored", 342]


def test_the_table_of_tokens_is_held_once(exported: tuple[Path, list[Any]]) -> None:
    for name, kind in (("decoder.onnx", onnx.TensorProto.FLOAT), ("decoder.int8.onnx", onnx.TensorProto.INT8)):
        held = onnx.load(str(exported[0] / "onnx" / name)).graph.initializer
        assert [item.data_type for item in held if np.prod(item.dims) == 64 * 342] == [kind]
    sizes = [(exported[0] / "onnx" / name).stat().st_size for name in FILES]
    assert sizes[2] < 0.5 * sizes[0]  # convolutions and positions stay as they are
    assert sizes[3] < 0.4 * sizes[1]


def test_int8_runs_where_it_is_the_fastest(exported: tuple[Path, list[Any]], clips: list[Clip]) -> None:
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20)
    by_precision = {
        precision: load_engine(
            exported[0], config=EngineConfig(device="cpu", threads=1, precision=precision, whisper=decoding)
        )
        for precision in ("auto", "int8", "fp32")
    }
    texts = {name: engine.transcribe(clips[1].waveform).text for name, engine in by_precision.items()}
    assert texts["auto"] == texts["int8"]
    assert texts["fp32"]


def texts_of(engine: Any, clips: Sequence[Clip]) -> list[str]:
    return [engine.transcribe(clip.waveform).text for clip in clips]


def test_adapters_are_merged_and_the_older_exporter_stands_in(
    plain: Path, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harken.models.adapters import AdapterConfig, add_adapter, set_adapters

    loaded = load_model(plain)
    model: Any = loaded.model
    add_adapter(model, AdapterConfig(name="own"), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "own" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    set_adapters(model, ["own"])
    folder = tmp_path / "adapted"
    save(folder, model, loaded)
    right = whisper_files._write

    def without_dynamo(plan: Any, path: Path, exporter: str) -> None:
        if exporter == DYNAMO:
            raise RuntimeError("it does\n not know this")
        right(plan, path, exporter)

    monkeypatch.setattr(whisper_files, "_write", without_dynamo)
    (entries,) = export_whisper_onnx(folder, precisions=["fp32"], clips=clips)
    for entry in entries.values():
        assert entry["exporter"]["name"] == "torch.jit.trace"
        assert entry["exporter"]["why"] == "torch.export: RuntimeError: it does not know this"
        assert entry["parity"]["texts_differing"] == 0
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20, beam_size=3, word_times=True)
    config = EngineConfig(device="cpu", threads=1, whisper=decoding)
    found = texts_of(load_engine(folder, config=config), clips)
    assert found == texts_of(load_torch_engine(folder, config=config), clips)
    assert found != texts_of(load_torch_engine(plain, config=config), clips)


@pytest.mark.usefixtures("ready")
def test_a_failed_check_removes_the_new_and_keeps_the_old(copied: Path, clips: list[Clip]) -> None:
    made = export_whisper_onnx(
        copied, precisions=["fp32", "int8"], clips=clips, limits={"int8": ParityLimits(log_prob=1e-6)}
    )
    assert list(next(made)) == ["encoder.onnx", "decoder.onnx"]
    with pytest.raises(RunFailed, match=r"onnx \(int8\) does not say what its original says: .*It was removed"):
        next(made)
    assert sorted(path.name for path in (copied / "onnx").iterdir()) == ["decoder.onnx", "encoder.onnx", "export.json"]
    assert list(record(copied)) == ["encoder.onnx", "decoder.onnx"]
    assert not list(copied.glob(".*"))


def test_a_graph_that_is_wrong_for_other_sizes_does_not_count(
    copied: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, features_AFM: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(torch.zeros(2, 2, 32, 75) for _ in range(2)) + tuple(
                torch.zeros(2, 2, 75, 32) for _ in range(2)
            )

    right = whisper_files._write
    monkeypatch.setattr(
        whisper_files,
        "_write",
        lambda plan, path, exporter: right(replace(plan, module=Fixed()), path, "torch.jit.trace"),
    )
    before = sorted(path.name for path in copied.iterdir())
    with pytest.raises(RunFailed, match=r"No exporter gave a right graph\. torch\.export: .*; torch\.jit\.trace: "):
        list(export_whisper_onnx(copied, precisions=["fp32"], clips=clips[:1]))
    assert sorted(path.name for path in copied.iterdir()) == before


def test_weights_that_do_not_fit_into_a_file_are_refused(
    copied: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.export.graph.LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match=r"encoder\.onnx has .* of weights"):
        list(export_whisper_onnx(copied, precisions=["fp32"], clips=clips[:1]))


def test_refusals(plain: Path, clips: list[Clip], model_folder: Path) -> None:
    with pytest.raises(InputError, match=r"precision is 'fp16'. Use fp32 or int8"):
        list(export_whisper_onnx(plain, precisions=["fp16"], clips=clips))
    with pytest.raises(InputError, match="no audio to check"):
        list(export_whisper_onnx(plain, precisions=["fp32"], clips=[]))
    with pytest.raises(InputError, match="recurrent-ctc, which is no Whisper"):
        list(export_whisper_onnx(model_folder, precisions=["fp32"], clips=clips))
    with pytest.raises(InputError, match=r"whisper, which cannot be exported to onnx-fp16\. Use onnx, onnx-int8, ctra"):
        list(export_model(plain, ["onnx-fp16"]))
    with pytest.raises(InputError, match="ctranslate2, ctranslate2-int8 would all be"):
        list(export_model(plain, ["onnx", "ctranslate2", "ctranslate2-int8"]))
    assert not (plain / "onnx").exists()
