"""Floor 3: engines that run model folders, decoding, transcription of many files."""

from importlib import import_module
from typing import Any

_HOMES = {
    "CtcDecodingConfig": "ctc.config",
    "CtcRecognizer": "ctc_recognizer",
    "OnnxCtcScorer": "onnx_engine",
    "EngineConfig": "config",
    "FORMATS": "formats",
    "FileResult": "files",
    "StreamingASR": "streaming.asr",
    "StreamingConfig": "streaming.config",
    "WhisperDecodingConfig": "whisper.config",
    "load": "engines",
    "render": "formats",
    "transcribe_files": "files",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.inference.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.inference' has no attribute {name!r}")
