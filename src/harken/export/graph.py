"""What every ONNX file of ours goes through: constants folded, nothing of this machine inside, metadata added."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart

LARGEST_BYTES = 2 * 1000**3
"""Weights above this do not fit into one ONNX file: protobuf ends at 2 GiB."""


def require_packages() -> None:
    """Raise MissingPart unless what export needs is installed."""
    from importlib.util import find_spec

    absent = [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]
    if absent:
        raise MissingPart(f"Export needs {', '.join(absent)}.", hint="pip install 'harken[export]'")


def check_size(weights_bytes: int, *, what: str) -> None:
    """Raise InputError for weights that do not fit into one ONNX file."""
    if weights_bytes > LARGEST_BYTES:
        raise InputError(
            f"{what} has {weights_bytes / 1e9:.1f} GB of weights; one ONNX file holds 2 GB.",
            hint="Serve it with the torch engine, or export a smaller model.",
        )


def fold_constants(source: Path, target: Path) -> None:
    """Write `source` with constants folded and dead ends removed, in standard ONNX operators only.

    That is ONNX Runtime's basic level. The levels above fuse nodes into operators of its own, and lay weights out for
    the processor they run on, which other runtimes cannot read; ONNX Runtime does that in a second when it loads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def finish_graph(path: Path, metadata: Mapping[str, str], axes: Mapping[str, Sequence[str | int]]) -> None:
    """Add metadata, name the axes of inputs and outputs, and remove what tells of this machine, in place.

    `axes` are names, or sizes, of each input's and output's axes. Exporters leave the paths of source files in every
    node, numbers for names of axes, and declarations of operator sets that are not used.
    """
    import onnx

    model = onnx.load(str(path))
    _drop_nan_guards(model.graph)
    _strip(model)
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for name in axes[value.name]:
            dimension = shape.dim.add()
            if isinstance(name, int):
                dimension.dim_value = name
            else:
                dimension.dim_param = name
    model.producer_name, model.producer_version = "harken", version("harken")
    model.graph.name = "harken"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def add_metadata(path: Path, metadata: Mapping[str, str], *, strip: bool = False) -> None:
    """Replace the metadata of a file, in place; tools that rewrite a graph leave it out.

    `strip` removes what tells of this machine, as `finish_graph` does, and leaves axes as they are.
    """
    import onnx

    model = onnx.load(str(path))
    if strip:
        _strip(model)
        model.graph.name = "harken"
    model.producer_name, model.producer_version = "harken", version("harken")
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))


def _drop_nan_guards(graph: Any) -> None:
    """Take out `where(isnan(x), 0, x)` behind the softmax of attention, a tenth of the time of a transformer.

    It is for queries that may see no key at all. In our models every query sees one, but in utterances without a single
    frame, whose scores count for nothing.
    """
    makers = {name: node for node in graph.node for name in node.output}
    guards = []
    for node in graph.node:
        condition = makers.get(node.input[0]) if node.op_type == "Where" else None
        if condition is not None and condition.op_type == "IsNaN" and condition.input[0] == node.input[2]:
            guards.append((node, node.output[0], node.input[2]))
    plain = {guarded: value for _, guarded, value in guards}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = plain.get(name, name)
    for node, _, _ in guards:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.op_type == "IsNaN" and node.output[0] not in read]:
        graph.node.remove(node)


def _strip(model: Any) -> None:
    graph = model.graph
    del graph.value_info[:]  # intermediate shapes; every runtime infers them
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    graph.doc_string = ""
    used = {node.domain for node in graph.node}
    kept = [(item.domain, item.version) for item in model.opset_import if item.domain in used or not item.domain]
    del model.opset_import[:]
    for domain, number in kept:
        model.opset_import.add(domain=domain, version=number)
