"""Recognition of audio while it is heard: `state, events = step(state, chunk)`."""

from importlib import import_module
from typing import Any

_HOMES = {
    "AgreementConfig": "config",
    "BufferRecognizer": "agreement",
    "Committed": "events",
    "Endpoint": "events",
    "EndpointConfig": "config",
    "Final": "events",
    "FixedConfig": "config",
    "Partial": "events",
    "StreamEvent": "events",
    "StreamState": "stream",
    "Streamer": "stream",
    "StreamingASR": "asr",
    "StreamingConfig": "config",
    "WindowConfig": "config",
    "event_json": "events",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.inference.streaming.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.inference.streaming' has no attribute {name!r}")
