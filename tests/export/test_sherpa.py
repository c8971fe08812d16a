"""Our files in sherpa-onnx, as they are: the recipe of the export guide, features and all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harken.audio.feature_config import KaldiConfig
from harken.audio.features import FeatureConfig
from harken.core import Waveform
from harken.export.ctc_onnx import export_ctc
from harken.export.tokens import write_tokens
from harken.inference.config import EngineConfig
from harken.inference.torch_engine import make_recognizer
from harken.models.family import CtcModel
from harken.text.tokenize import WordTokenizer

pytestmark = pytest.mark.rival
UNITS = ("<pad>", "one", "three", "two")
METADATA = {"vocab_size": "4", "subsampling_factor": "4"}


def test_it_says_what_harken_says_of_the_same_audio(
    build: Callable[..., CtcModel], noise_of: Callable[..., Waveform], tmp_path: Path
) -> None:
    sherpa = pytest.importorskip("sherpa_onnx", reason="the rival is not installed")
    settings = {"width": 32, "layers": 1, "heads": 2, "input_mean": 10.0, "input_scale": 2.0}
    model, tokenizer = build("conformer-ctc", dimensions=80, **settings), WordTokenizer(UNITS)
    export_ctc(model, tmp_path / "model.onnx", dimensions=80, vocab_size=4, metadata=METADATA)
    write_tokens(tmp_path / "tokens.txt", tokenizer)
    rival = sherpa.OfflineRecognizer.from_wenet_ctc(
        model=str(tmp_path / "model.onnx"), tokens=str(tmp_path / "tokens.txt"), num_threads=1
    )
    features = FeatureConfig(
        kind="kaldi", dimensions=80, normalize="none", kaldi=KaldiConfig(snip_edges=False, high_hz=7_600.0)
    )
    ours = make_recognizer(model, features=features, tokenizer=tokenizer, config=EngineConfig(device="cpu"))
    for duration_s in (0.7, 1.5, 3.2):
        waveform = noise_of(duration_s)
        stream = rival.create_stream()
        stream.accept_waveform(16_000, waveform)
        rival.decode_stream(stream)
        heard = ours.transcribe(waveform).text.split()
        assert stream.result.text.split() == heard
        assert len(heard) > 1
