"""Every engine keeps the recognizer's contract with every family it runs, and says what torch says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import Waveform
from harken.export.clips import Clip
from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.models.family import CtcModel, find_family
from harken.models.folder import describe, save_model
from harken.models.pretrained import load_pretrained
from harken.testing import check_recognizer, random_wav2vec2, random_whisper
from harken.text.tokenize import CharTokenizer

pytest.importorskip("onnxscript", reason="needs the extra `export`")
pytest.importorskip("ctranslate2", reason="needs the extra `ctranslate2`")

CONFORMER = {"width": 32, "layers": 1, "heads": 2}
ON_FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "conformer": ("conformer-ctc", CONFORMER),
    "streaming conformer": ("conformer-ctc", {**CONFORMER, "chunk_frames": 4, "left_chunks": 2}),
    "recurrent": ("recurrent-ctc", {"width": 32, "layers": 1}),
    "nemo conformer": ("nemo-conformer-ctc", {**CONFORMER, "kernel": 9, "subsampling_channels": 8}),
}
CTC = (*ON_FEATURES, "wav2vec2")
ON_CPU = EngineConfig(device="cpu", threads=1)
WHISPER = replace(ON_CPU, whisper=WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20))


def noises() -> list[Waveform]:
    draw = np.random.default_rng(0)
    return [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in (16_000, 4_321, 24_000)]


def save(folder: Path, model: Any, *, family: str, settings: Any, features: FeatureConfig, tokenizer: Any) -> None:
    description = describe(
        model, family=family, settings=settings, features=features, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(folder, model=model, description=description, tokenizer=tokenizer)


def save_ctc(folder: Path, name: str) -> None:
    if name == "wav2vec2":
        (folder.parent / "pretrained").mkdir()
        random_wav2vec2(folder.parent / "pretrained", letters="abc", seed=2)
        parts = load_pretrained(folder.parent / "pretrained")
        louder(parts.model)
        save(folder, parts.model, family=parts.family, settings=parts.settings, features=parts.features,
             tokenizer=parts.tokenizer)  # fmt: skip
        return
    family, values = ON_FEATURES[name]
    found = find_family(family)
    settings = found.parse(values, source="test")
    torch.manual_seed(3)
    model = found.build(settings, 20, 5).eval()
    louder(model)
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    save(folder, model, family=family, settings=settings, features=features,
         tokenizer=CharTokenizer(["<pad>", " ", "a", "b", "c"]))  # fmt: skip


def louder(model: Any) -> None:
    """Greedy texts of noise are then not all empty, nor near ties."""
    assert isinstance(model, CtcModel)
    with torch.no_grad():
        model.get_submodule(model.head).weight.mul_(15)


@pytest.mark.slow
@pytest.mark.parametrize("name", CTC)
def test_torch_and_onnx(tmp_path: Path, name: str) -> None:
    from harken.export.run import export_model

    folder = tmp_path / "model"
    save_ctc(folder, name)
    import soundfile

    soundfile.write(tmp_path / "noise.wav", noises()[0], 16_000, subtype="FLOAT")
    (result,) = export_model(folder, ["onnx"], files=[tmp_path / "noise.wav"])
    assert result.parity is not None
    assert result.parity.largest_difference < 1e-3
    recognizers = {engine: load(folder, engine=engine, config=ON_CPU) for engine in ("torch", "onnx")}
    for recognizer in recognizers.values():
        check_recognizer(recognizer, noises())
    by_torch, by_onnx = (r.transcribe_batch(noises()) for r in recognizers.values())
    assert [t.text for t in by_onnx] == [t.text for t in by_torch]
    assert any(t.text for t in by_torch)


@pytest.mark.slow
def test_whisper_on_every_engine(tmp_path: Path) -> None:
    from harken.export.ctranslate2 import export_ctranslate2
    from harken.export.whisper_onnx import export_whisper_onnx

    (tmp_path / "pretrained").mkdir()
    random_whisper(tmp_path / "pretrained", times_s=1.5, seed=1, init_std=0.15)
    parts = load_pretrained(tmp_path / "pretrained")
    folder = tmp_path / "model"
    save(folder, parts.model, family=parts.family, settings=parts.settings, features=parts.features,
         tokenizer=parts.tokenizer)  # fmt: skip
    clips = [Clip(name="noise", waveform=noises()[0])]
    export_ctranslate2(folder, precision="fp32", clips=clips)
    list(export_whisper_onnx(folder, precisions=["fp32"], clips=clips))
    texts = []
    for engine in ("torch", "ctranslate2", "onnx"):
        recognizer = load(folder, engine=engine, config=WHISPER)
        check_recognizer(recognizer, noises())
        texts.append([(t.text, t.language) for t in recognizer.transcribe_batch(noises())])
    assert texts[0] == texts[1] == texts[2]
