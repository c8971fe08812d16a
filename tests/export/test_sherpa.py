"""Our files in sherpa-onnx, as they are: a model on Kaldi features loads as its zipformer CTC, which has our inputs."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from harken.core import Waveform
from harken.export.ctc_onnx import export_ctc
from harken.models.family import CtcModel

pytestmark = pytest.mark.rival


def test_it_says_what_the_model_says_of_the_same_features(
    build: Callable[..., CtcModel], noise_of: Callable[..., Waveform], tmp_path: Path
) -> None:
    sherpa = pytest.importorskip("sherpa_onnx", reason="the rival is not installed")
    kaldi = pytest.importorskip("kaldi_native_fbank", reason="makes the rival's features")
    settings = {"width": 32, "layers": 1, "heads": 2, "input_mean": -3.0, "input_scale": 2.0}
    model = build("conformer-ctc", dimensions=80, **settings)
    export_ctc(model, tmp_path / "model.onnx", dimensions=80, vocab_size=4, metadata={"vocab_size": "4"})
    units = ["<blk>", "▁one", "▁three", "▁two"]
    (tmp_path / "tokens.txt").write_text("".join(f"{unit} {id_}\n" for id_, unit in enumerate(units)))
    recognizer = sherpa.OfflineRecognizer.from_zipformer_ctc(
        model=str(tmp_path / "model.onnx"), tokens=str(tmp_path / "tokens.txt"), num_threads=1
    )
    stream = recognizer.create_stream()
    stream.accept_waveform(16_000, noise_of(1.5))
    recognizer.decode_stream(stream)
    options = kaldi.FbankOptions()
    options.frame_opts.dither, options.frame_opts.snip_edges = 0, False
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = 80, 20, -400
    frontend = kaldi.OnlineFbank(options)
    frontend.accept_waveform(16_000, noise_of(1.5).tolist())
    frontend.input_finished()
    features = np.stack([frontend.get_frame(place) for place in range(frontend.num_frames_ready)])
    with torch.no_grad():
        scores_BTV, _ = model(torch.from_numpy(features)[None], torch.tensor([len(features)]))
    heard = [units[id_].removeprefix("▁") for id_, _ in groupby(scores_BTV[0].argmax(-1).tolist()) if id_]
    assert stream.result.text.split() == heard
    assert len(heard) > 1
