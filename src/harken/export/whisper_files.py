"""Whisper's two graphs as files: what they are called with, which exporter writes them, and 8-bit integers.

As with CTC models (`ctc_onnx`) two exporters of PyTorch are tried in turn, and a graph counts only once it has agreed
with PyTorch on sizes that the exporter did not see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harken.export.ctc_onnx import DYNAMO, OPSETS, TRACE, Exporter, write_first_right
from harken.export.graph import check_size, finish_graph
from harken.export.quantize import quiet_quantizer
from harken.export.whisper_graph import DecoderGraph, EncoderGraph
from harken.inference.onnx_session import open_session
from harken.inference.whisper import onnx_decoder as names
from harken.inference.whisper.onnx_decoder import WhisperMetadata
from harken.inference.whisper.special import alignment_heads
from harken.models.whisper import WhisperSeq2Seq

_ENCODER_SIZES = ((2,), (1,), (3,))  # (windows,), the exporter's example first
_DECODER_SIZES = ((2, 3, 4, 5, 2), (1, 1, 3, 0, 1), (3, 2, 1, 7, 1), (2, 1, 5, 0, 5))  # A, K, T, S - T, Q

Axes = dict[str, tuple[str | int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPlan:
    """A graph to write: `example` makes its inputs for some `sizes`; axes of inputs and outputs in their order."""

    module: nn.Module
    example: Callable[..., tuple[Tensor, ...]]
    sizes: Sequence[tuple[int, ...]]
    inputs: Axes
    outputs: Axes


def whisper_metadata(model: WhisperSeq2Seq, *, weights_sha256: str) -> WhisperMetadata:
    """What both files say of their model."""
    config, generation = model.config, model.settings.generation
    layers, heads = int(config.decoder_layers), int(config.decoder_attention_heads)
    return WhisperMetadata(
        window_frames=model.window_frames,
        dimensions=int(config.num_mel_bins),
        longest_tokens=model.longest_tokens,
        vocab_size=int(config.vocab_size),
        layers=layers,
        heads=heads,
        head_width=int(config.d_model) // heads,
        end_id=model.end_id,
        suppressed=_ids(generation.get("suppress_tokens")),
        suppressed_first=_ids(generation.get("begin_suppress_tokens")),
        alignment_heads=alignment_heads(generation, layers=layers, heads=heads),
        weights_sha256=weights_sha256,
    )


def encoder_plan(model: WhisperSeq2Seq) -> GraphPlan:
    frames, mels = model.window_frames, int(model.config.num_mel_bins)
    layers, heads, width, positions = _sizes(model)

    def example(windows: int) -> tuple[Tensor, ...]:
        return (_noise(windows, frames, mels, seed=windows),)

    return GraphPlan(
        module=EncoderGraph(model),
        example=example,
        sizes=_ENCODER_SIZES,
        inputs={names.FEATURES: ("windows", frames, mels)},
        outputs=_cross_axes(layers, heads, width, positions),
    )


def decoder_plan(model: WhisperSeq2Seq, metadata: WhisperMetadata) -> GraphPlan:
    layers, heads, width, positions = _sizes(model)
    vocab = int(model.config.vocab_size)
    kinds = {"windows": 0, "hypotheses": 1, "tokens": 2, "past": 3, "scored": 4}

    def caches(length: str, key: str, value: str) -> Axes:
        rows = ("windows", "hypotheses", heads)
        keys = dict.fromkeys(names.layered(key, layers), (*rows, width, length))
        return {**keys, **dict.fromkeys(names.layered(value, layers), (*rows, length, width))}

    taken = {**_cross_axes(layers, heads, width, positions), **caches("past", names.PAST_KEY, names.PAST_VALUE)}

    def example(*sizes: int) -> tuple[Tensor, ...]:
        draw = torch.Generator().manual_seed(sum(sizes))
        tokens = torch.randint(0, vocab, sizes[:3], generator=draw)
        wanted = torch.arange(sizes[2])[-sizes[4] :]
        shapes = [[axis if isinstance(axis, int) else sizes[kinds[axis]] for axis in axes] for axes in taken.values()]
        return (tokens, wanted, *(_noise(*shape, seed=place) for place, shape in enumerate(shapes)))

    queries = dict.fromkeys(
        names.layered(names.CROSS_QUERY, metadata.query_layers), ("windows", "hypotheses", heads, "tokens", width)
    )
    return GraphPlan(
        module=DecoderGraph(model, metadata.query_layers),
        example=example,
        sizes=_DECODER_SIZES,
        inputs={names.TOKENS: ("windows", "hypotheses", "tokens"), names.WANTED: ("scored",), **taken},
        outputs={
            names.SCORES: ("windows", "hypotheses", "scored", vocab),
            **caches("all", names.PRESENT_KEY, names.PRESENT_VALUE),
            **queries,
        },
    )


def write_graph(plan: GraphPlan, path: Path, metadata: WhisperMetadata) -> Exporter:
    """Write a graph with the first exporter whose file agrees with PyTorch. Raises RunFailed where none does,
    InputError for weights that do not fit into one file.
    """
    module = plan.module.requires_grad_(False).eval()
    tensors = [*module.parameters(), *module.buffers()]
    check_size(sum(tensor.numel() * tensor.element_size() for tensor in tensors), what=path.name)
    return write_first_right(
        path,
        {name: partial(_write, plan, exporter=name) for name in (DYNAMO, TRACE)},
        partial(_difference, plan),
        finish=lambda file: finish_graph(file, metadata.written(), {**plan.inputs, **plan.outputs}),
        what="shares of the largest number",
    )


def _write(plan: GraphPlan, path: Path, exporter: str) -> None:
    named: dict[str, Any] = {
        "input_names": list(plan.inputs),
        "output_names": list(plan.outputs),
        "opset_version": OPSETS[exporter],
    }
    dynamic = {
        name: {place: axis for place, axis in enumerate(axes) if isinstance(axis, str)}
        for name, axes in {**plan.inputs, **plan.outputs}.items()
    }
    example = plan.example(*plan.sizes[0])
    if exporter == TRACE:
        torch.onnx.export(plan.module, example, str(path), dynamo=False, dynamic_axes=dynamic, **named)
        return
    auto = torch.export.Dim.AUTO
    shapes = [dict.fromkeys(dynamic[name], auto) for name in plan.inputs]
    # Those behind the first two are one argument of the decoder's forward.
    shapes_given = (*shapes[:2], tuple(shapes[2:])) if len(shapes) > 2 else tuple(shapes)
    torch.onnx.export(
        plan.module,
        example,
        path,
        dynamo=True,
        verbose=False,
        external_data=False,
        dynamic_shapes=shapes_given,
        **named,
    )


def _difference(plan: GraphPlan, path: Path) -> float:
    """Largest difference between the file and PyTorch at all sizes, as a share of an output's largest number; infinite
    for other shapes and for numbers that are none.
    """
    session = open_session(path, device="cpu")
    largest = 0.0
    for sizes in plan.sizes:
        given = plan.example(*sizes)
        with torch.no_grad():
            expected = plan.module(*given)
        found = session.run(
            list(plan.outputs), {name: value.numpy() for name, value in zip(plan.inputs, given, strict=True)}
        )
        for mine, theirs in zip(found, expected, strict=True):
            if mine.shape != tuple(theirs.shape) or not np.isfinite(mine).all():
                return float("inf")
            off = np.abs(mine - theirs.numpy()).max(initial=0.0)
            largest = max(largest, float(off / max(1.0, float(theirs.abs().max()))))
    return largest


def quantize_products(source: Path, target: Path) -> None:
    """Write `source` with 8-bit weights in every product, activations scaled as they come.

    As in `quantize`, weights have 7 bits and a scale for each output. The output layer is among them: a token costs
    little else, and its table is the embedding as well, of which the file holds only the rounded one.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_quantizer():
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    model = onnx.load(str(target))
    _share_tables(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _share_tables(graph: Any) -> None:
    """Let what looks tokens up in a table (D, V) that was rounded for a product read the rounded one."""
    from onnx import TensorProto, helper

    held = {item.name for item in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gather" and f"{node.input[0]}_quantized" in held]:
        table, ids, found = node.input[0], node.input[1], node.output[0]
        place = list(graph.node).index(node)
        made = [
            helper.make_node("Gather", [f"{table}_quantized", ids], [f"{found}_rounded"], axis=1),
            helper.make_node("Cast", [f"{found}_rounded"], [f"{found}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{table}_scale", ids], [f"{found}_scale"], axis=0),
            helper.make_node("Mul", [f"{found}_float", f"{found}_scale"], [found]),
        ]
        graph.node.remove(node)
        for offset, new in enumerate(made):
            graph.node.insert(place + offset, new)
    read = {name for node in graph.node for name in node.input}
    for item in [item for item in graph.initializer if item.name not in read]:
        graph.initializer.remove(item)


def _sizes(model: WhisperSeq2Seq) -> tuple[range, int, int, int]:
    """(decoder layers, heads, width of a head, positions of the encoder)."""
    config = model.config
    heads = int(config.decoder_attention_heads)
    return range(config.decoder_layers), heads, int(config.d_model) // heads, int(config.max_source_positions)


def _cross_axes(layers: range, heads: int, width: int, positions: int) -> Axes:
    keys: Axes = dict.fromkeys(names.layered(names.CROSS_KEY, layers), ("windows", heads, width, positions))
    return {**keys, **dict.fromkeys(names.layered(names.CROSS_VALUE, layers), ("windows", heads, positions, width))}


def _noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _ids(value: Any) -> list[int]:
    return [int(id_) for id_ in value or [] if int(id_) >= 0]
