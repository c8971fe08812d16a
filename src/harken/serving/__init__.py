"""Floor 4: the transcription server, HTTP and WebSocket."""

from harken.core.lazy import lazy_names

_HOMES = {
    "ServeSettings": "settings",
    "create_app": "app",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
