"""Floor 3: alignment, error rates, intervals, reports."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Hypotheses": "report",
    "Interval": "statistics",
    "Operation": "alignment",
    "Score": "metrics",
    "align_characters": "alignment",
    "align_words": "alignment",
    "bootstrap_interval": "statistics",
    "build_report": "report",
    "evaluate_recognizer": "recognition",
    "format_report": "report",
    "read_report": "report",
    "score": "metrics",
    "write_report": "report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.evaluation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.evaluation' has no attribute {name!r}")
