"""The benchmark of export: what it takes from export.json, how it goes on after a failure, and its table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from benchmarks import bench_export as bench
from tools import performance_page

from harken.audio.features import FeatureConfig
from harken.core import Utterance
from harken.data.manifest import read_manifest, write_manifest
from harken.export import ctc_export
from harken.export.parity import ParityLimits
from harken.inference.exported import read_record
from harken.models.family import find_family
from harken.models.folder import describe, save_model
from harken.text.closed import WordTokenizer

PARITY: dict[str, Any] = {
    "clips": 3, "audio_s": 4.5, "comparisons": 6, "largest_difference": 0.000123, "texts_differing": 1, "cer": 0.0125,
    "wer": 0.05, "wer_original": 0.04,
}  # fmt: skip
PASSED = bench.Export(
    model="m", target="onnx-int8, static", made_s=12.3, parity=PARITY, size_bytes=3 * 2**20, wer=0.016
)


def test_a_row_holds_what_the_record_holds() -> None:
    assert PASSED.row() == [
        "m", "onnx-int8, static", "passed", "0.00012", "5 of 6", "1.25", "+1.00", "1.60", "3.0", "12",
    ]  # fmt: skip
    assert replace(PASSED, parity={**PARITY, "wer": None, "wer_original": None}).row()[6] == ""
    failed = bench.Export(model="m", target="onnx-fp16", made_s=3.0, failure="2 of 6 texts differ")
    assert failed.row()[2:4] == ["failed: 2 of 6 texts differ", ""]
    assert bench.Export(model="m", target="tokens", made_s=0.1).row()[2] == "nothing to compare"
    rows = [PASSED.row(), failed.row()]
    assert {len(row) for row in rows} == {len(bench.COLUMNS)}


def test_the_figures_of_a_failure() -> None:
    message = "model.onnx does not say what its original says: 3 of 8 texts differ."
    assert bench.reason(message) == "3 of 8 texts differ"
    assert bench.reason("No exporter gave a right graph.") == "No exporter gave a right graph."


def test_both_kinds_of_int8_may_have_failed() -> None:
    said = "model.int8.onnx does not say what its original says:"
    message = (
        f"{said} 8.00% of the characters differ. {ctc_export.BEFORE}static: {said} 9.00% of the characters differ."
    )
    found = bench.failures("m", "onnx-int8", message, 1.0)
    assert [(one.target, one.failure) for one in found] == [
        ("onnx-int8, static", "9.00% of the characters differ"),
        ("onnx-int8, dynamic", "8.00% of the characters differ"),
    ]
    (alone,) = bench.failures("m", "onnx-int8", f"{said} 8.00% of the characters differ.", 1.0)
    assert (alone.target, alone.failure) == ("onnx-int8, dynamic", "8.00% of the characters differ")
    assert [one.target for one in bench.failures("m", "ctranslate2-int8", message, 1.0)] == ["ctranslate2-int8"]


def test_the_target_is_met_where_every_check_was_passed() -> None:
    tokens = bench.Export(model="m", target="tokens", made_s=0.1)
    good = bench.result([PASSED, tokens])
    assert (good["met"], good["figures"]) == (True, {"m, checks passed": {"value": 1, "unit": "of 1"}})
    failed = bench.Export(model="m", target="onnx-fp16", made_s=3.0, failure="2 of 6 texts differ")
    bad = bench.result([PASSED, failed, tokens])
    assert (bad["met"], bad["note"]) == (False, f"Failed: m, onnx-fp16. {bench.UNTRAINED}")
    assert bad["figures"]["m, checks passed"] == {"value": 1, "unit": "of 2"}
    page = performance_page.page([bad])
    assert "| m | onnx-fp16 | failed: 2 of 6 texts differ | | | |" in " ".join(page.split())
    assert not bench.result([tokens])["met"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    utterances = []
    for place in range(3):
        path = tmp_path / f"{place}.wav"
        samples = 4_000 * (place + 2)
        soundfile.write(path, 0.1 * generator.standard_normal(samples), 16_000, subtype="PCM_16")
        utterances.append(Utterance(id=f"u{place}", audio=str(path), duration_s=samples / 16_000, text="one"))
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path / "test.jsonl"


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A recurrent model over digits: the one that exports fastest."""
    family, tokenizer = find_family("recurrent-ctc"), WordTokenizer(["<pad>", "one", "two"])
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    settings = family.parse({"width": 32, "layers": 1}, source="test")
    torch.manual_seed(3)
    model = family.build(settings, features.dimensions, tokenizer.vocab_size).eval()
    description = describe(
        model, family="recurrent-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic",
        languages=["en"],
    )  # fmt: skip
    save_model(tmp_path / "model", model=model, description=description, tokenizer=tokenizer)
    return tmp_path / "model"


def test_exports_go_on_after_a_failure_and_say_what_the_records_say(
    model_folder: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"fp16": ParityLimits(log_prob=0.0), "int8": ParityLimits(cer=1.0, wer=1.0)}
    monkeypatch.setattr(ctc_export, "LIMITS", {**ctc_export.LIMITS, **changed})
    untold = bench.without_texts(manifest, tmp_path / "untold.jsonl")
    assert [line.text for line in read_manifest(untold)] == [None] * 3
    found = {one.target: one for one in bench.exports("shape", model_folder, bench.CTC, manifest=untold, clips=2)}
    # An LSTM has no static kind, which is said before the dynamic one.
    assert list(found) == ["onnx", "onnx-int8, static", "onnx-int8, dynamic", "onnx-fp16", "tokens", "triton"]
    assert "no products" in found["onnx-int8, static"].failure
    assert found["onnx-fp16"].failure.startswith("log probabilities differ by")
    record = read_record(model_folder, "onnx")
    assert record is not None
    for target, name in (("onnx", "model.onnx"), ("onnx-int8, dynamic", "model.int8.onnx")):
        assert found[target].parity == record.files[name]["parity"]
        assert found[target].size_bytes == (model_folder / "onnx" / name).stat().st_size
    assert record.files["model.onnx"]["parity"]["wer"] is None
    triton = read_record(model_folder, "triton")
    assert triton is not None
    assert [found["triton"].parity] == [entry["parity"] for entry in triton.files.values()]
    assert found["tokens"].parity is None


def test_a_model_that_knows_words_is_scored_on_all_of_them(
    model_folder: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"int8": ParityLimits(cer=1.0, wer=1.0)}
    monkeypatch.setattr(ctc_export, "LIMITS", {**ctc_export.LIMITS, **changed})
    found = bench.measure_digits(model_folder, "digits", ["onnx", "onnx-int8", "tokens"], manifest)
    assert [one.target for one in found] == ["torch", "onnx", "onnx-int8, static", "onnx-int8, dynamic", "tokens"]
    assert found[0].wer == found[1].wer
    assert found[0].wer is not None
    assert found[3].wer is not None
    assert found[2].wer is found[4].wer is None
