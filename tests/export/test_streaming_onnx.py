"""The streaming graph says what the model says of the whole, and streams without torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harken.core import InputError, Waveform
from harken.export.run import export_model
from harken.export.streaming_onnx import StreamedScorer
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load
from harken.inference.exported import read_record
from harken.inference.scoring import pad_features
from harken.inference.streaming import StreamingASR
from harken.inference.torch_engine import TorchCtcScorer
from harken.models.folder import load_model

pytest.importorskip("onnxscript", reason="needs the extra `export`")

STREAM = """
import sys, harken
events = list(harken.StreamingASR(sys.argv[1], engine="onnx").stream_from_file(sys.argv[2]))
print(events[-1].text.replace("\\n", " "), "|", "torch" in sys.modules)
"""


@pytest.mark.slow
def test_a_stream_runs_the_export(
    streaming_folder: Path, make_manifest: Callable[..., Path], noise_of: Callable[..., Waveform], tmp_path: Path
) -> None:
    manifest = make_manifest(["one", "two", "three"])
    targets = ["onnx", "onnx-streaming"]
    whole, streaming = export_model(streaming_folder, targets, manifest=manifest)
    assert whole.parity is not None
    assert streaming.parity is not None
    assert streaming.parity.largest_difference < 1e-3
    assert streaming.parity.texts_differing == 0
    assert streaming.path == streaming_folder / "onnx" / "streaming.onnx"
    record = read_record(streaming_folder, "onnx")
    assert record is not None
    assert sorted(record.files) == ["model.onnx", "streaming.onnx"]

    soundfile.write(tmp_path / "noise.wav", noise_of(3.0), 16_000, subtype="FLOAT")
    with_torch = list(StreamingASR(streaming_folder, engine="torch").stream_from_file(tmp_path / "noise.wav"))
    assert StreamingASR(streaming_folder).policy == "cached"
    exported = load(streaming_folder, engine="onnx")  # as a server has it
    assert isinstance(exported, CtcRecognizer)
    for recognizer in (exported, exported.with_decoder(exported.decoder)):
        by_recognizer = StreamingASR(recognizer)
        assert by_recognizer.policy == "cached"
        assert list(by_recognizer.stream_from_file(tmp_path / "noise.wav")) == list(
            StreamingASR(streaming_folder, engine="onnx").stream_from_file(tmp_path / "noise.wav")
        )
    command = [sys.executable, "-c", STREAM, str(streaming_folder), str(tmp_path / "noise.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, torch_loaded = done.stdout.strip().rpartition(" | ")
    assert text == with_torch[-1].text.replace("\n", " ")  # type: ignore[union-attr]
    assert len(text.split()) > 2
    assert torch_loaded == "False"

    loaded = load_model(streaming_folder)
    features = pad_features(
        [np.random.default_rng(row).normal(-8, 2, (n, 20)).astype(np.float32) for row, n in enumerate((97, 40))]
    )
    found_BTV, found_B = StreamedScorer(streaming.path, loaded.features)(*features)
    expected_BTV, expected_B = TorchCtcScorer(loaded.model, torch.device("cpu"))(*features)  # type: ignore[arg-type]
    assert found_B.tolist() == expected_B.tolist()
    for found_TV, expected_TV, frames in zip(found_BTV, expected_BTV, found_B, strict=True):
        np.testing.assert_allclose(found_TV[:frames], expected_TV[:frames], atol=1e-3)


def test_only_a_conformer_with_chunks_has_a_streaming_form(
    model_folder: Path, conformer_folder: Path, make_manifest: Callable[..., Path]
) -> None:
    manifest = make_manifest(["one"])
    with pytest.raises(InputError, match="A RecurrentCtc has no streaming form"):
        list(export_model(model_folder, ["onnx-streaming"], manifest=manifest))
    with pytest.raises(InputError, match="was trained without chunks"):
        list(export_model(conformer_folder, ["onnx-streaming"], manifest=manifest))
    assert not (conformer_folder / "onnx").exists()
