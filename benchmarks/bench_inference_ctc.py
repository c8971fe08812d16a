"""CTC inference beside transformers and sherpa-onnx: see `inference_parts`."""

from typing import Any

from benchmarks.inference_parts import measure_together

NAME = "inference_ctc"
TITLE = "CTC inference beside transformers and sherpa-onnx"
NOTE = "Weights are random and choose among units that are nearly alike, so rounding to int8 changes texts."


def run() -> dict[str, Any]:
    return measure_together(NAME, TITLE, ("ctc", "sherpa"), note=NOTE)
