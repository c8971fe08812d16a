"""`export_model`: what lands in the model folder, and what does not when a check fails."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.core import InputError, MissingPart, RunFailed
from harken.core.files import sha256_file
from harken.export import ctc_export
from harken.export.run import export_model
from harken.export.targets import ExportConfig
from harken.inference.config import EngineConfig
from harken.inference.onnx_engine import load_engine
from harken.inference.torch_engine import load_engine as load_torch_engine

MakeManifest = Callable[[list[str]], Path]
TEXTS = ["one", "two three", "three", "one one", "two", "three two one", "one two", "two two"]


def record(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "onnx/export.json").read_text())
    return data


def test_files_record_and_results_agree(model_folder: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(TEXTS)
    results = list(
        export_model(model_folder, ["tokens", "onnx-fp16", "onnx"], manifest=manifest, config=ExportConfig(clips=3))
    )
    assert [result.target for result in results] == ["onnx", "onnx-fp16", "tokens"]
    assert sorted(path.name for path in (model_folder / "onnx").iterdir()) == [
        "export.json", "model.fp16.onnx", "model.onnx", "tokens.txt",
    ]  # fmt: skip
    found = record(model_folder)
    assert found["weights_sha256"] == sha256_file(model_folder / "model.safetensors")
    for result in results:
        entry = found["files"][result.path.name]
        assert entry["sha256"] == sha256_file(result.path)
        assert entry["bytes"] == result.size_bytes == result.path.stat().st_size
    parity = found["files"]["model.onnx"]["parity"]
    assert parity["clips"] == 5  # three utterances, two pieces of the longest
    assert parity["largest_difference"] < 1e-4
    assert parity["texts_differing"] == 0
    assert parity["wer"] == parity["wer_original"]
    assert found["files"]["model.onnx"]["exporter"]["name"] == "torch.jit.trace"
    assert not list(model_folder.glob(".export-*"))


@pytest.mark.slow
def test_int8_is_static_where_there_is_audio_to_calibrate_and_products_to_round(
    conformer_folder: Path, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = {**ctc_export.LIMITS, "int8": ctc_export.LIMITS["int8"].__class__(cer=1.0, wer=1.0)}
    monkeypatch.setattr(ctc_export, "LIMITS", lenient)
    (result,) = export_model(conformer_folder, ["onnx-int8"], manifest=make_manifest(TEXTS))
    assert result.note == "torch.export, static"
    entry = record(conformer_folder)["files"]["model.int8.onnx"]
    assert entry["quantization"] == {"method": "static"}
    assert entry["precision"] == "int8"
    assert not (conformer_folder / "onnx/model.onnx").exists()  # not asked for


def test_static_that_cannot_be_becomes_dynamic_and_says_so(
    model_folder: Path, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = {**ctc_export.LIMITS, "int8": ctc_export.LIMITS["int8"].__class__(cer=1.0, wer=1.0)}
    monkeypatch.setattr(ctc_export, "LIMITS", lenient)
    list(export_model(model_folder, ["onnx-int8"], manifest=make_manifest(TEXTS)))
    quantization = record(model_folder)["files"]["model.int8.onnx"]["quantization"]
    assert quantization["method"] == "dynamic"
    assert "no products" in quantization["why"]


def test_where_both_kinds_of_int8_fail_both_are_told(
    model_folder: Path, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {**ctc_export.LIMITS, "int8": ctc_export.LIMITS["int8"].__class__(log_prob=0.0)}
    monkeypatch.setattr(ctc_export, "LIMITS", strict)
    message = r"says: log probabilities differ by .* Before it, static: .* no products"
    with pytest.raises(RunFailed, match=message) as caught:
        list(export_model(model_folder, ["onnx-int8"], manifest=make_manifest(TEXTS)))
    assert caught.value.hint.startswith("It was removed.")
    with pytest.raises(RunFailed, match="says: log probabilities") as caught:
        list(export_model(model_folder, ["onnx-int8"], files=[make_manifest(TEXTS).parent / "5.wav"]))
    assert "Before it" not in caught.value.message  # without a manifest there is no static kind


def test_an_export_of_other_weights_fails_and_leaves_nothing(
    model_folder: Path, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ctc_export.export_ctc

    def of_changed_weights(model: torch.nn.Module, path: Path, **more: Any) -> Any:
        with torch.no_grad():
            model.get_submodule("output").bias.add_(torch.tensor([0.0, 3.0, 0.0, 0.0]))
        return right(model, path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ctc_export, "export_ctc", of_changed_weights)
    before = sorted(path.name for path in model_folder.iterdir())
    with pytest.raises(RunFailed, match=r"model\.onnx does not say .*: log probabilities differ by"):
        list(export_model(model_folder, ["onnx"], manifest=make_manifest(TEXTS)))
    assert sorted(path.name for path in model_folder.iterdir()) == before


def test_what_passed_before_a_failure_stays(
    model_folder: Path, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ctc_export, "convert_fp16", stopped)
    results = export_model(model_folder, ["onnx", "onnx-fp16"], manifest=make_manifest(TEXTS))
    assert next(results).target == "onnx"
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert sorted(path.name for path in (model_folder / "onnx").iterdir()) == ["export.json", "model.onnx"]
    assert not list(model_folder.glob(".export-*"))


def test_active_adapters_are_part_of_the_export(adapted_folder: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(TEXTS)
    list(export_model(adapted_folder, ["onnx"], manifest=manifest))
    expected = load_torch_engine(adapted_folder, config=EngineConfig(device="cpu"))
    found = load_engine(adapted_folder, config=EngineConfig(device="cpu"))
    audio = manifest.parent / "5.wav"
    assert found.transcribe(audio).text == expected.transcribe(audio).text
    assert list(record(adapted_folder)["adapters"]) == ["accent"]
    described = json.loads((adapted_folder / "harken.json").read_text())
    (adapted_folder / "harken.json").write_text(json.dumps({**described, "active_adapters": []}))
    with pytest.raises(InputError, match="older than its weights"):
        load_engine(adapted_folder)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "There is no target"),
        (["onxx"], "'onxx' is not a target"),
        (["onnx", "onnx"], "named twice"),
        (["ctranslate2"], "recurrent-ctc, which cannot be exported to ctranslate2"),
    ],
)
def test_targets_are_checked_before_the_work(model_folder: Path, targets: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(export_model(model_folder, targets))


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="is not a model folder"):
        list(export_model(tmp_path, ["onnx"]))


def test_speech_is_made_where_no_audio_is_given(model_folder: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="makes the speech")
    (result,) = export_model(model_folder, ["onnx"])
    assert result.parity is not None
    assert result.parity.clips == 6
    assert result.parity.wer is None
