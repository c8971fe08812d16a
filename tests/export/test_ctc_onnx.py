"""CTC models as graphs: the scores of PyTorch for sizes that the exporter never saw, alone and in padded batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harken.core import RunFailed
from harken.export import ctc_onnx
from harken.export.ctc_onnx import export_ctc
from harken.inference.onnx_engine import OnnxCtcScorer
from harken.inference.onnx_session import open_session
from harken.models.family import CtcModel

Build = Callable[..., CtcModel]
NEMO = {"width": 32, "layers": 1, "heads": 2, "kernel": 9, "subsampling_channels": 8}
# As many samples a frame as the seven convolutions of the first model have, in three; one layer does what two do.
FEW_LAYERS = {"conv_dim": [32] * 3, "conv_kernel": [10, 8, 8], "conv_stride": [5, 8, 8], "num_hidden_layers": 1}


def check_against_torch(model: CtcModel, path: Path, *, dimensions: int) -> None:
    """Scores within 1e-4, rows of a batch against the model on that row alone."""
    scorer = OnnxCtcScorer(open_session(path, device="cpu", threads=1))
    generator = np.random.default_rng(0)
    step = model.subsampling
    for lengths in ([1], [3 * step + 1], [41 * step], [150 * step + 3, 7, 60 * step - 1], [30 * step] * 4):
        features = [generator.standard_normal((n, dimensions)).astype(np.float32) for n in lengths]
        padded = np.zeros((len(lengths), max(lengths), dimensions), np.float32)
        for row, item in zip(padded, features, strict=True):
            row[: len(item)] = item
        found_BTV, found_B = scorer(padded, np.array(lengths, dtype=np.int64))
        assert found_BTV.dtype == np.float32
        assert found_B.dtype == np.int64
        for row, item in enumerate(features):
            with torch.no_grad():
                scores, frames = model(torch.from_numpy(item)[None], torch.tensor([len(item)]))
            expected = scores[0, : frames[0]].log_softmax(-1).numpy()
            assert found_B[row] == int(frames[0])
            np.testing.assert_allclose(found_BTV[row, : found_B[row]], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "settings", "exporter"),
    [
        ("conformer-ctc", {"width": 32, "layers": 1, "heads": 2}, ctc_onnx.DYNAMO),
        ("conformer-ctc", {"width": 32, "layers": 1, "heads": 2, "chunk_frames": 4, "left_chunks": 2}, ctc_onnx.DYNAMO),
        ("recurrent-ctc", {"width": 32, "layers": 2}, ctc_onnx.TRACE),
        ("nemo-conformer-ctc", NEMO, ctc_onnx.DYNAMO),
        pytest.param(
            "nemo-conformer-ctc",
            {**NEMO, "subsampling": "dw_striding", "subsampling_factor": 8, "convolution_norm": "layer_norm",
             "untie_biases": False},
            ctc_onnx.DYNAMO,
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_models_on_features(build: Build, tmp_path: Path, family: str, settings: dict[str, Any], exporter: str) -> None:
    model = build(family, **settings)
    used = export_ctc(model, tmp_path / "m.onnx", dimensions=20, vocab_size=4, metadata={})
    assert used.name == exporter
    assert bool(used.why) == (exporter == ctc_onnx.TRACE)
    check_against_torch(model, tmp_path / "m.onnx", dimensions=20)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("wav2vec2", {}),
        pytest.param(
            "wav2vec2",
            {**FEW_LAYERS, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
            marks=pytest.mark.slow,
        ),
        pytest.param("hubert", FEW_LAYERS, marks=pytest.mark.slow),
        # Its later layers take the positions that the first one has made.
        pytest.param("wavlm", {**FEW_LAYERS, "num_hidden_layers": 2}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_models_on_samples(
    build: Build, wav2vec2_config: dict[str, object], tmp_path: Path, kind: str, changes: dict[str, object]
) -> None:
    config = {**wav2vec2_config, "model_type": kind, **changes}
    model = build("wav2vec2-ctc", dimensions=1, config=config)
    used = export_ctc(model, tmp_path / "m.onnx", dimensions=1, vocab_size=4, metadata={})
    assert used == ctc_onnx.Exporter(name=ctc_onnx.DYNAMO, opset=20)
    check_against_torch(model, tmp_path / "m.onnx", dimensions=1)


def test_the_older_exporter_takes_over_with_the_reason(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("no graph today")

    monkeypatch.setattr(ctc_onnx, "_write_with_dynamo", refuse)
    model = build("conformer-ctc", width=32, layers=1, heads=2)
    used = export_ctc(model, tmp_path / "m.onnx", dimensions=20, vocab_size=4, metadata={})
    assert used == ctc_onnx.Exporter(name=ctc_onnx.TRACE, opset=17, why="torch.export: ValueError: no graph today")
    assert "no graph today" in caplog.text
    check_against_torch(model, tmp_path / "m.onnx", dimensions=20)


def test_a_graph_that_is_right_for_its_example_only_does_not_count(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fixed(graph: Any, example: Any, path: Path) -> None:
        # dynamic_axes left out: the example's sizes become the only ones
        torch.onnx.export(
            graph, example, str(path), dynamo=False, opset_version=17, input_names=["features", "frames"],
            output_names=["log_probs", "output_frames"],
        )  # fmt: skip

    monkeypatch.setattr(ctc_onnx, "_write_with_trace", fixed)
    model = build("recurrent-ctc", width=32, layers=1)
    with pytest.raises(RunFailed, match="No exporter gave a right graph"):
        export_ctc(model, tmp_path / "m.onnx", dimensions=20, vocab_size=4, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_weight_norm_is_computed_once(build: Build, wav2vec2_config: dict[str, object]) -> None:
    model = build("wav2vec2-ctc", dimensions=1, config={**wav2vec2_config, "model_type": "wav2vec2"})
    convolution: Any = model.get_submodule("wav2vec2.encoder.pos_conv_embed.conv")
    before = convolution.weight.detach().clone()
    ctc_onnx.fold_parametrizations(model)
    assert not hasattr(convolution, "parametrizations")
    torch.testing.assert_close(convolution.weight, before)
