"""Smaller graphs that are faster on a CPU: 8-bit integers.

Quantised are matrix products with fixed weights (and LSTMs): there the time of speech models goes. Weights have
7 bits and a scale for each output (`reduce_range`, `per_channel`): with all 8, processors without VNNI or AVX-VNNI
overflow their 16-bit sums, and a file that passed its check here would say something else there. Left in float32: the
output layer, whose rounding reaches the scores directly, products too small to gain, and the convolutions with which
models on samples begin: samples and what is near them span more than 8 bits, and all that follows hears their error.

Dynamic quantisation scales the activations of each batch as they come. The static kind has fixed scales from
calibration audio; audio unlike it is clipped.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import Features, InputError
from harken.inference.onnx_engine import FEATURES, FRAMES
from harken.inference.scoring import pad_features

_PRODUCTS = ("MatMul", "Gemm")
_LEAST_INPUTS = 16  # of a product that is quantised: the first layer on samples has 10, and needs their resolution


def quantize_dynamic(source: Path, target: Path, *, front: int = 0) -> int:
    """Write `source` with 8-bit weights and activations scaled as they come; returns how many operators changed.

    The first `front` products stay as they are. Raises InputError for a graph that has nothing to quantise.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    chosen = quantizable(source, ("MatMul", "Gemm", "LSTM"), front=front)
    with quiet_quantizer():
        quantize(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    return len(chosen)


def quantize_static(source: Path, target: Path, calibration: Sequence[Features], *, front: int = 0) -> int:
    """Write `source` with 8-bit weights and activations scaled by what they were on `calibration`; returns how many
    operators changed.

    The first `front` products stay as they are. Raises InputError for a graph that has nothing to quantise, and for no
    calibration features.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    if not calibration:
        raise InputError("There is nothing to calibrate with.", hint="Give a manifest with more utterances.")
    chosen = quantizable(source, _PRODUCTS, front=front)
    with quiet_quantizer():
        quantize(
            str(source),
            str(target),
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_PRODUCTS),
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    return len(chosen)


def quantizable(path: Path, kinds: Iterable[str], *, front: int = 0) -> list[str]:
    """Names of the operators of `kinds` with fixed weights that are worth it, without the first `front` products.

    Raises InputError where none is.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    kinds = tuple(kinds)
    weights = {item.name: tuple(item.dims) for item in graph.initializer}
    found = [node for node in graph.node if node.op_type in kinds and node.input[1] in weights]
    products = [node for node in found if node.op_type in _PRODUCTS]
    exact = {node.name for node in (*products[:front], *products[-1:])}
    chosen = [
        node.name
        for node in found
        if node.name not in exact and (node.op_type == "LSTM" or _inputs(node, weights) >= _LEAST_INPUTS)
    ]
    if not chosen:
        raise InputError("The graph has no products that quantisation would make faster.", hint="Use fp32.")
    return chosen


def _inputs(node: Any, weights: dict[str, tuple[int, ...]]) -> int:
    """Numbers that each output of a matrix product sums over."""
    shape = weights[node.input[1]]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return shape[-1] if transposed else shape[-2] if len(shape) > 1 else shape[0]


def _reader(calibration: Sequence[Features]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._items = self._inputs()

        def _inputs(self) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
            for features in calibration:
                features_BFM, frames_B = pad_features([features])
                yield {FEATURES: features_BFM, FRAMES: frames_B}

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            return next(self._items, None)

    return Reader()


@contextmanager
def quiet_quantizer() -> Iterator[None]:
    """onnxruntime's tools advise on the root logger to preprocess, which `fold_constants` has done."""
    import warnings

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
