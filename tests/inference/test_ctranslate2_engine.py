"""The ctranslate2 engine: the recognizer's contract, the text of torch, no torch, and what it refuses."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, MissingPart, Recognizer, Waveform
from harken.core.files import write_json
from harken.export.clips import Clip
from harken.export.ctranslate2 import export_ctranslate2
from harken.inference import ctranslate2_engine
from harken.inference.config import EngineConfig
from harken.inference.ctranslate2_engine import load_engine
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.models.folder import load_model
from harken.models.pretrained_import import save_parts
from harken.models.whisper import load_whisper
from harken.testing import check_recognizer, random_whisper

pytest.importorskip("ctranslate2")

ON_CPU = EngineConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a Whisper that hears 1.5 s, fine-tuned for Uzbek as far as it says, with its export."""
    root = tmp_path_factory.mktemp("whisper")
    (root / "pretrained").mkdir()
    random_whisper(root / "pretrained", times_s=1.5, seed=1, init_std=0.15, generation={"language": "uz"})
    parts = load_whisper(root / "pretrained")
    save_parts(parts, root / "model", normalizer="basic")
    clip = Clip(name="noise", waveform=np.random.default_rng(0).standard_normal(9_000).astype(np.float32) * 0.1)
    export_ctranslate2(root / "model", precision="fp32", clips=[clip])
    return root / "model"


@pytest.fixture(scope="module")
def waveforms() -> list[Waveform]:
    draw = np.random.default_rng(5)
    return [(0.2 * draw.standard_normal(n)).astype(np.float32) for n in (8_000, 61_000, 4_321, 23_999)]


@pytest.mark.parametrize("options", [{}, {"word_times": True}, {"timestamps": True, "beam_size": 1}])
def test_the_contract(folder: Path, waveforms: list[Waveform], options: dict[str, Any]) -> None:
    # Drawn texts are not the same twice: temperature 0 alone.
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20, **options)
    recognizer = load_engine(folder, config=replace(ON_CPU, whisper=decoding))
    assert isinstance(recognizer, Recognizer)
    check_recognizer(recognizer, waveforms)


@pytest.mark.parametrize("options", [{}, {"word_times": True, "beam_size": 2}, {"timestamps": True}])
def test_transcripts_are_those_of_torch(folder: Path, waveforms: list[Waveform], options: dict[str, Any]) -> None:
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20, language="uz", **options)
    recognizer = load_engine(folder, config=replace(ON_CPU, whisper=decoding))
    loaded: Any = load_model(folder)
    backend = TorchWhisperBackend(loaded.model, loaded.tokenizer)
    torch_recognizer = WhisperRecognizer(backend, recognizer.extractor, loaded.tokenizer, decoding)
    for mine, theirs in zip(
        recognizer.transcribe_batch(waveforms), torch_recognizer.transcribe_batch(waveforms), strict=True
    ):
        assert (mine.text, mine.language) == (theirs.text, theirs.language)
        assert len(mine.text) > 0
        times = [[(s.start_s, s.end_s, *(w.start_s for w in s.words)) for s in t.segments] for t in (mine, theirs)]
        assert times[0] == times[1]


def test_the_model_says_its_language_and_the_engine_may_say_another(folder: Path, waveforms: list[Waveform]) -> None:
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=5)
    assert load_engine(folder, config=ON_CPU).config.language == "uz"
    told = EngineConfig(device="cpu", threads=1, language="ru", task="translate", batch_s=4.6)
    recognizer = load_engine(folder, config=replace(told, whisper=decoding))
    assert (recognizer.config.language, recognizer.config.task) == ("ru", "translate")
    assert recognizer.transcribe(waveforms[0]).language == "ru"
    assert recognizer._batch_windows == 3


def test_torch_is_not_imported(folder: Path, tmp_path: Path, waveforms: list[Waveform]) -> None:
    np.save(tmp_path / "noise.npy", waveforms[0])
    code = f"""
import sys, numpy as np
from pathlib import Path
from harken.inference.ctranslate2_engine import load_engine
text = load_engine(Path({str(folder)!r})).transcribe(np.load({str(tmp_path / "noise.npy")!r})).text
assert text, "nothing said"
print(",".join(sorted({{"torch", "onnx"}} & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_refusals(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"precision is int8, and the CTranslate2 export in .* is fp32"):
        load_engine(folder, config=EngineConfig(precision="int8"))
    record = folder / "ctranslate2" / "export.json"
    data = json.loads(record.read_text())
    try:
        write_json(record, {**data, "weights_sha256": "0" * 64})
        with pytest.raises(InputError, match="older than its weights"):
            load_engine(folder)
        entry = dict(data["files"]["model.bin"])
        del entry["window_frames"]
        write_json(record, {**data, "files": {"model.bin": entry}})
        with pytest.raises(InputError, match="does not say its window_frames"):
            load_engine(folder)
        record.unlink()
        with pytest.raises(MissingPart, match="has no ctranslate2 export"):
            load_engine(folder)
    finally:
        write_json(record, data)

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(ctranslate2_engine.load_library.__module__ + ".import_module", absent)
    with pytest.raises(MissingPart, match=r"needs the package ctranslate2. pip install 'harken\[ctranslate2\]'"):
        load_engine(folder)
    with pytest.raises(MissingPart):
        load_engine(tmp_path)


def test_another_family_is_refused(model_folder: Path) -> None:
    with pytest.raises(InputError, match="of the family recurrent-ctc; CTranslate2 runs Whisper only"):
        load_engine(model_folder)
