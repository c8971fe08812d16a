"""Files of ours: metadata in, paths of this machine out, standard operators only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harken.core import InputError
from harken.export.ctc_onnx import export_ctc
from harken.export.graph import add_metadata, check_size, finish_graph
from harken.inference.onnx_session import open_session
from harken.models.family import CtcModel


@pytest.fixture(scope="module")
def exported(build: Callable[..., CtcModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "m.onnx"
    model = build("conformer-ctc", width=32, layers=1, heads=2)
    export_ctc(model, path, dimensions=20, vocab_size=4, metadata={"family": "conformer-ctc", "blank_id": "0"})
    return path


def test_metadata_and_axes_are_in_the_file(exported: Path) -> None:
    session = open_session(exported, device="cpu")
    assert session.get_modelmeta().custom_metadata_map == {"family": "conformer-ctc", "blank_id": "0"}
    assert session.get_modelmeta().producer_name == "harken"
    assert [(item.name, item.shape, item.type) for item in session.get_inputs()] == [
        ("features", ["batch", "time", 20], "tensor(float)"),
        ("frames", ["batch"], "tensor(int64)"),
    ]
    assert [(item.name, item.shape) for item in session.get_outputs()] == [
        ("log_probs", ["batch", "output_time", 4]),
        ("output_frames", ["batch"]),
    ]


def test_nothing_of_this_machine_is_in_the_file(exported: Path) -> None:
    data = exported.read_bytes()
    assert b"site-packages" not in data
    assert b"harken/models" not in data
    assert str(Path.home()).encode() not in data


def test_operators_are_those_of_onnx_itself(exported: Path) -> None:
    model = onnx.load(str(exported))
    assert {node.domain for node in model.graph.node} == {""}
    assert [item.domain for item in model.opset_import] == [""]
    assert not any(node.op_type == "IsNaN" for node in model.graph.node)


def test_a_guard_against_nan_goes_and_other_choices_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=-1),
        helper.make_node("IsNaN", ["p"], ["nan"]),
        helper.make_node("Where", ["nan", "zero", "p"], ["guarded"]),
        helper.make_node("IsNaN", ["x"], ["broken"]),
        helper.make_node("Where", ["broken", "zero", "guarded"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    graph = helper.make_graph(nodes, "g", [value[0]], [value[1]], [zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    finish_graph(tmp_path / "m.onnx", {}, {"x": ("n",), "y": ("n",)})
    kept = [node.op_type for node in onnx.load(str(tmp_path / "m.onnx")).graph.node]
    assert kept == ["Softmax", "IsNaN", "Where"]
    found = open_session(tmp_path / "m.onnx", device="cpu").run(None, {"x": np.array([0.0, 0.0], np.float32)})
    np.testing.assert_allclose(found[0], [0.5, 0.5])


def test_metadata_can_be_replaced(exported: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.onnx"
    copied.write_bytes(exported.read_bytes())
    add_metadata(copied, {"family": "other"})
    assert open_session(copied, device="cpu").get_modelmeta().custom_metadata_map == {"family": "other"}


def test_weights_beyond_one_file_are_refused_before_the_work() -> None:
    check_size(1_900_000_000, what="m")
    with pytest.raises(InputError, match=r"m has 3\.9 GB of weights; one ONNX file holds 2 GB"):
        check_size(3_900_000_000, what="m")
