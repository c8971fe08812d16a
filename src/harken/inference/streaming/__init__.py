"""Recognition of audio while it is heard: `state, events = step(state, chunk)`."""

from harken.core.lazy import lazy_names

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
__getattr__ = lazy_names(__name__, _HOMES)
