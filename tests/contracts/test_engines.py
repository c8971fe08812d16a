"""Every engine keeps the recognizer's contract with every family it runs, and says what torch says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers

from harken.audio.decode import decode_audio
from harken.audio.features import FeatureConfig
from harken.core import Recognizer, Waveform
from harken.export.clips import Clip
from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.inference.files import transcribe_files
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
ON_SAMPLES = {
    "wav2vec2": (transformers.Wav2Vec2ForCTC, transformers.Wav2Vec2Config),
    "hubert": (transformers.HubertForCTC, transformers.HubertConfig),
    "wavlm": (transformers.WavLMForCTC, transformers.WavLMConfig),
}
CTC = (*ON_FEATURES, *ON_SAMPLES)
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
    if name in ON_SAMPLES:
        pretrained = folder.parent / "pretrained"
        pretrained.mkdir()
        settings = random_wav2vec2(pretrained, letters="abc", seed=2).config.to_dict()
        network, config = ON_SAMPLES[name]
        torch.manual_seed(1)
        settings = {key: value for key, value in settings.items() if key not in ("model_type", "architectures")}
        network(config(**settings)).save_pretrained(pretrained)
        parts = load_pretrained(pretrained)
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


def check_files(recognizer: Recognizer, folder: Path) -> None:
    """Files are heard as their samples are, and one that cannot be read costs the others nothing."""
    folder.mkdir(exist_ok=True)
    rate, noise = recognizer.sample_rate_hz, noises()[0]
    stereo = np.stack([noise[::2], noise[1::2]], axis=1)
    soundfile.write(folder / "8 kHz, stereo.wav", stereo, 8_000)
    soundfile.write(folder / "silence.wav", np.zeros(rate, np.float32), rate)
    soundfile.write(folder / "one sample.wav", np.zeros(1, np.float32), rate)
    soundfile.write(folder / "10 ms.wav", noise[:160], rate)
    (folder / "odd bytes.wav").write_bytes((folder / "8 kHz, stereo.wav").read_bytes()[:-1])
    (folder / "text.wav").write_text("not audio")
    found = {Path(result.path).stem: result for result in transcribe_files(recognizer, sorted(folder.glob("*.wav")))}
    heard = {name: result.transcript for name, result in found.items() if result.transcript is not None}
    assert set(found) - set(heard) == {"text"}
    assert str(folder / "text.wav") in str(found["text"].error)
    assert (heard["silence"].text, heard["one sample"].text) == ("", "")
    for name, transcript in heard.items():
        samples = decode_audio(folder / f"{name}.wav", sample_rate_hz=rate)
        assert transcript.text == recognizer.transcribe(samples).text, name
        assert transcript.duration_s == pytest.approx(len(samples) / rate), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CTC)
def test_torch_and_onnx(tmp_path: Path, name: str) -> None:
    from harken.export.run import export_model

    folder = tmp_path / "model"
    save_ctc(folder, name)
    soundfile.write(tmp_path / "noise.wav", noises()[0], 16_000, subtype="FLOAT")
    (result,) = export_model(folder, ["onnx"], files=[tmp_path / "noise.wav"])
    assert result.parity is not None
    assert result.parity.largest_difference < 1e-3
    recognizers = {engine: load(folder, engine=engine, config=ON_CPU) for engine in ("torch", "onnx")}
    for recognizer in recognizers.values():
        check_recognizer(recognizer, noises())
        check_files(recognizer, tmp_path / "files")
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
        check_files(recognizer, tmp_path / "files")
        texts.append([(t.text, t.language) for t in recognizer.transcribe_batch(noises())])
    assert texts[0] == texts[1] == texts[2]
