"""16-bit graphs: close to the original, half the size, positions still exact beyond 2,048."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harken.core import RunFailed
from harken.export.ctc_onnx import export_ctc
from harken.export.half import convert_fp16
from harken.inference.onnx_session import open_session
from harken.models.family import CtcModel


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], outputs: dict[str, int]) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    values = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, values, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_angles_of_late_positions_keep_their_precision(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "first"], ["n"], name="n"),
        helper.make_node("Range", ["zero", "n", "one"], ["place"], name="range"),
        helper.make_node("Cast", ["place"], ["position"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["position", "rate"], ["angle"], name="angle"),
        helper.make_node("Sin", ["angle"], ["sine"], name="sine"),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Mul", ["sum", "sine"], ["z"], name="product"),
        helper.make_node("LogSoftmax", ["z"], ["y"], name="out", axis=0),
    ]
    weights = {
        "first": np.array(0), "zero": np.array(0), "one": np.array(1), "axes": np.array([1]),
        "rate": np.array([0.7], np.float32),
    }  # fmt: skip
    source = save(tmp_path / "m.onnx", nodes, weights, {"y": TensorProto.FLOAT})
    convert_fp16(source, tmp_path / "half.onnx")
    x = np.ones((5000, 4), np.float32) / 4
    expected, found = (
        open_session(path, device="cpu").run(None, {"x": x})[0] for path in (source, tmp_path / "half.onnx")
    )
    sines = np.sin(0.7 * np.arange(5000))
    np.testing.assert_allclose(expected - expected[0], sines - sines[0], atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=5e-3)  # in 16 bits the angle of frame 5,000 is off by a radian


def test_weights_that_do_not_fit_become_the_largest_there_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["z"], name="add"),
        helper.make_node("Softmax", ["z"], ["p"], name="softmax", axis=-1),
        helper.make_node("Log", ["p"], ["q"], name="log"),
        helper.make_node("LogSoftmax", ["q"], ["y"], name="out", axis=-1),
    ]
    mask = np.full(4, np.finfo(np.float32).min, np.float32)
    source = save(tmp_path / "m.onnx", nodes, {"mask": mask}, {"y": TensorProto.FLOAT})
    convert_fp16(source, tmp_path / "half.onnx")
    found = open_session(tmp_path / "half.onnx", device="cpu").run(None, {"x": np.zeros((1, 4), np.float32)})[0]
    np.testing.assert_allclose(found, np.log(0.25), atol=1e-3)  # minus infinity in every place would give NaN


def test_an_output_that_would_be_16_bit_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="relu")]
    source = save(tmp_path / "m.onnx", nodes, {}, {"y": TensorProto.FLOAT})
    with pytest.raises(RunFailed, match="'y' would be 16-bit"):
        convert_fp16(source, tmp_path / "half.onnx")


def test_a_conformer_in_half_the_bytes(build: Callable[..., CtcModel], tmp_path: Path) -> None:
    source, target = tmp_path / "m.onnx", tmp_path / "half.onnx"
    export_ctc(build("conformer-ctc", width=32, layers=1, heads=2), source, dimensions=20, vocab_size=4, metadata={})
    convert_fp16(source, target)
    kinds = {item.data_type for item in onnx.load(str(target)).graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    assert target.stat().st_size < 0.7 * source.stat().st_size  # a small graph is mostly names
    x = np.random.default_rng(0).standard_normal((2, 300, 20)).astype(np.float32)
    frames = np.array([300, 211])
    expected, found = (
        open_session(path, device="cpu").run(["log_probs"], {"features": x, "frames": frames})[0]
        for path in (source, target)
    )
    for row, length in enumerate((75, 53)):
        np.testing.assert_allclose(found[row, :length], expected[row, :length], atol=0.05)  # scores are 15 times larger
