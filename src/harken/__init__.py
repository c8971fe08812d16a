"""Harken: from a folder of audio to a speech recogniser in production.

Importing this package loads nothing heavy; each public name imports its room when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harken.autoconfig.manager import ASRConfigManager, create_optimal_config
    from harken.inference.engines import load
    from harken.inference.streaming.asr import StreamingASR
    from harken.models.manager import ModelManager, WhisperModelManager
    from harken.training.api import Trainer

# From version 1.29 ONNX Runtime reports models and hardware to its maker, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "ASRConfigManager",
    "ModelManager",
    "StreamingASR",
    "Trainer",
    "WhisperModelManager",
    "__version__",
    "create_optimal_config",
    "load",
]

_HOMES = {
    "ASRConfigManager": "harken.autoconfig.manager",
    "ModelManager": "harken.models.manager",
    "StreamingASR": "harken.inference.streaming.asr",
    "Trainer": "harken.training.api",
    "WhisperModelManager": "harken.models.manager",
    "create_optimal_config": "harken.autoconfig.manager",
    "load": "harken.inference.engines",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harken' has no attribute {name!r}")
