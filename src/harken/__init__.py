"""Harken: from a folder of audio to a speech recogniser in production.

Importing this package loads nothing heavy; each public name imports its room when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harken.inference.engines import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

_HOMES = {"load": "harken.inference.engines"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harken' has no attribute {name!r}")
