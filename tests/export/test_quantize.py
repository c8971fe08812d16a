"""8-bit graphs: which products change, and what they still say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from harken.core import InputError
from harken.export.ctc_onnx import export_ctc
from harken.export.quantize import quantizable, quantize_dynamic, quantize_static
from harken.inference.onnx_engine import OnnxCtcScorer
from harken.inference.onnx_session import open_session
from harken.models.family import CtcModel

Build = Callable[..., CtcModel]
PRODUCTS_OF_A_LAYER = 8  # two feed-forwards of two, two of attention, two of the convolution


@pytest.fixture(scope="module")
def conformer(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantize") / "m.onnx"
    model = build("conformer-ctc", width=64, layers=2, heads=2)
    export_ctc(model, path, dimensions=20, vocab_size=4, metadata={})
    return path


def scores(path: Path, features: np.ndarray) -> np.ndarray:
    scorer = OnnxCtcScorer(open_session(path, device="cpu", threads=1))
    return scorer(features[None], np.array([len(features)], dtype=np.int64))[0][0]


def noises(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal((120 + 40 * place, 20)).astype(np.float32) for place in range(count)]


def test_all_products_of_the_layers_and_not_the_output(conformer: Path) -> None:
    names = quantizable(conformer, ("MatMul", "Gemm"))
    assert len(names) == 2 * PRODUCTS_OF_A_LAYER
    nodes = [node.name for node in onnx.load(str(conformer)).graph.node if node.op_type in ("MatMul", "Gemm")]
    assert nodes[-1] not in names


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_scores_stay_close_in_a_file_of_a_third(conformer: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "int8.onnx"
    if kind == "dynamic":
        changed = quantize_dynamic(conformer, target)
    else:
        changed = quantize_static(conformer, target, noises(4))
    assert changed == 2 * PRODUCTS_OF_A_LAYER
    assert target.stat().st_size < 0.5 * conformer.stat().st_size
    weights = {item.data_type for item in onnx.load(str(target)).graph.initializer}
    assert onnx.TensorProto.INT8 in weights
    features = noises(2)[1]
    exact, rounded = scores(conformer, features), scores(target, features)
    agreement = (exact.argmax(-1) == rounded.argmax(-1)).mean()
    assert agreement > 0.8  # of frames, of a random model
    assert 1e-4 < np.abs(exact - rounded).mean() < 1.0


def test_weights_use_seven_bits_so_that_older_processors_do_not_overflow(conformer: Path, tmp_path: Path) -> None:
    quantize_dynamic(conformer, tmp_path / "int8.onnx")
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    values = [onnx.numpy_helper.to_array(item) for item in graph.initializer if item.data_type == onnx.TensorProto.INT8]
    weights = [item for item in values if item.ndim == 2]
    assert len(weights) == 2 * PRODUCTS_OF_A_LAYER
    assert max(int(np.abs(item.astype(int)).max()) for item in weights) <= 64


def test_recurrent_layers_are_quantised_dynamically_only(build: Build, tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    export_ctc(build("recurrent-ctc", width=64, layers=1), source, dimensions=20, vocab_size=4, metadata={})
    assert quantize_dynamic(source, tmp_path / "int8.onnx") == 2  # one LSTM each way
    assert (tmp_path / "int8.onnx").stat().st_size < source.stat().st_size
    with pytest.raises(InputError, match="no products"):
        quantize_static(source, tmp_path / "static.onnx", noises(1))


@pytest.mark.slow
def test_samples_are_not_rounded_to_eight_bits(
    build: Build, wav2vec2_config: dict[str, object], tmp_path: Path
) -> None:
    changes = {"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": True}
    model = build("wav2vec2-ctc", dimensions=1, config={**wav2vec2_config, **changes})
    export_ctc(model, tmp_path / "m.onnx", dimensions=1, vocab_size=4, metadata={})
    graph = onnx.load(str(tmp_path / "m.onnx")).graph
    shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    first = next(node for node in graph.node if node.op_type in ("MatMul", "Gemm"))
    assert 10 in shapes[first.input[1]]  # the kernel of the first convolution
    products = ("MatMul", "Gemm")
    assert first.name not in quantizable(tmp_path / "m.onnx", products)
    assert model.front_products == 7  # the convolutions of this shape, 32 channels each
    exact = [node for node in graph.node if node.op_type in products and node.input[1] in shapes][:7]
    assert {shapes[node.input[1]][-1] for node in exact} == {32}
    chosen = quantizable(tmp_path / "m.onnx", products, front=model.front_products)
    assert not {node.name for node in exact} & set(chosen)
    assert len(chosen) == len(quantizable(tmp_path / "m.onnx", products)) - 6  # the first was too small before


def test_calibrating_with_nothing_is_refused(conformer: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to calibrate"):
        quantize_static(conformer, tmp_path / "int8.onnx", [])
