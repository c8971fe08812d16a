"""Many files, and long ones: see `inference_parts`."""

from typing import Any

from benchmarks.inference_parts import measure_together

NAME = "inference_files"
TITLE = "Many files, and long ones"


def run() -> dict[str, Any]:
    return measure_together(NAME, TITLE, ("files", "memory"))
