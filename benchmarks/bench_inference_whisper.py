"""Whisper inference beside faster-whisper: see `inference_parts`."""

from typing import Any

from benchmarks.inference_parts import measure_together

NAME = "inference_whisper"
TITLE = "Whisper inference beside faster-whisper"
NOTE = "Weights are random, so texts are not compared: the token counts are the same."


def run() -> dict[str, Any]:
    return measure_together(NAME, TITLE, ("whisper", "whisper-batch"), note=NOTE)
