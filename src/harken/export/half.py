"""Graphs in 16-bit floats, for GPUs. Inputs and outputs stay 32-bit.

What would not survive 16 bits stays in 32: the angles of positions (a 16-bit float counts to 2,048 at most) and the log
probabilities at the end. A value crosses between the two by one cast, however many read it. onnxconverter-common's and
onnxruntime's own converters cast to 16 bits and back between two operators that are both to stay, which loses exactly
the bits that were to be kept.
"""

from pathlib import Path
from typing import Any

import numpy as np

from harken.core import RunFailed

_LARGEST = 65_504.0  # what masks of minus the largest float become; infinities would turn softmax into NaN
_KEPT = ("LogSoftmax", "Cos", "Sin")
_COUNTS = ("Shape", "Size")


def convert_fp16(source: Path, target: Path) -> None:
    """Write `source` with 16-bit weights and arithmetic. Raises RunFailed for a graph with branches or loops."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(source)))
    _Conversion(model).convert()
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


class _Conversion:
    """One graph on its way; nodes are replaced in place, casts put in front of the first that needs them."""

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto

        self.graph = model.graph
        self.float, self.half = TensorProto.FLOAT, TensorProto.FLOAT16
        self.weights = {item.name: item for item in self.graph.initializer}
        typed = (*self.graph.value_info, *self.graph.input, *self.graph.output)
        self.floats = {item.name for item in typed if item.type.tensor_type.elem_type == self.float}
        self.floats |= {name for name, item in self.weights.items() if item.data_type == self.float}
        self.halves: set[str] = set()  # values that are computed in 16 bits
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []

    def convert(self) -> None:
        kept = self._kept()
        for node in list(self.graph.node):
            wanted = self.float if node.name in kept else self.half
            for place, name in enumerate(node.input):
                if name in self.floats:
                    node.input[place] = self._as(name, wanted)
            if wanted == self.half:
                self._retype(node)
                self.halves.update(name for name in node.output if name in self.floats)
            self.nodes.append(node)
        for output in self.graph.output:
            if output.name in self.halves:
                raise RunFailed(f"The output {output.name!r} would be 16-bit.", hint="Export with --to onnx instead.")
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        unused = [item for item in self.graph.initializer if item.name not in used]
        for item in unused:
            self.graph.initializer.remove(item)

    def _kept(self) -> set[str]:
        """Names of the operators that stay in 32 bits: `_KEPT`, and what the angles of positions are computed from."""
        makers = {name: node for node in self.graph.node for name in node.output}
        kept = {node.name for node in self.graph.node if node.op_type in _KEPT}
        waiting = [node for node in self.graph.node if node.op_type in ("Cos", "Sin")]
        while waiting:
            for name in waiting.pop().input:
                maker = makers.get(name)
                if maker is not None and maker.op_type not in _COUNTS and maker.name not in kept:
                    kept.add(maker.name)
                    waiting.append(maker)
        return kept

    def _as(self, name: str, wanted: int) -> str:
        """The name of a float value in the type wanted: its own, that of a converted weight, or of a cast."""
        is_half = name in self.halves
        if is_half == (wanted == self.half):
            return name
        if (name, wanted) not in self.casts:
            self.casts[name, wanted] = self._half_weight(name) if name in self.weights else self._cast(name, wanted)
        return self.casts[name, wanted]

    def _half_weight(self, name: str) -> str:
        from onnx import numpy_helper

        values = numpy_helper.to_array(self.weights[name])
        halved = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
        self.graph.initializer.append(numpy_helper.from_array(halved, f"{name}_fp16"))
        return f"{name}_fp16"

    def _cast(self, name: str, wanted: int) -> str:
        from onnx import helper

        target = f"{name}_{'fp16' if wanted == self.half else 'fp32'}"
        self.nodes.append(helper.make_node("Cast", [name], [target], name=f"cast_{target}", to=wanted))
        return target

    def _retype(self, node: Any) -> None:
        """What an operator's own attributes say about 32-bit floats."""
        from onnx import AttributeProto, numpy_helper

        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                raise RunFailed(f"{node.name} holds a graph of its own.", hint="Export with --to onnx instead.")
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == self.float:
                attribute.i = self.half
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type == self.float:
                values = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)))
