"""Whisper at inference: windows of sound to timed text, whatever runs the network."""

from importlib import import_module
from typing import Any

_HOMES = {
    "TorchWhisperBackend": "torch_backend",
    "WhisperBackend": "backend",
    "WhisperDecodingConfig": "config",
    "WhisperRecognizer": "recognizer",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.inference.whisper.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.inference.whisper' has no attribute {name!r}")
