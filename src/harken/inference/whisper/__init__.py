"""Whisper at inference: windows of sound to timed text, whatever runs the network."""

from harken.core.lazy import lazy_names

_HOMES = {
    "TorchWhisperBackend": "torch_backend",
    "WhisperBackend": "backend",
    "WhisperDecodingConfig": "config",
    "WhisperRecognizer": "recognizer",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
