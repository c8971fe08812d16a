"""Floor 1: a client of Harken's server, sync and async: files, batches, live streams."""

from harken.core.lazy import lazy_names

_BY_HOME = {
    "async_client": ("AsyncHarkenClient",),
    "async_live": ("AsyncStreamSession",),
    "errors": (
        "AccessRefused", "ConnectionLost", "RequestRefused", "ServerBusy", "ServerError", "ServerFailed",
        "ServerIncomplete", "ServerUnreachable", "UnexpectedAnswer",
    ),
    "events": (
        "FLUSH", "Committed", "Endpoint", "Final", "Flush", "Hypothesis", "StreamEvent", "StreamProblem",
    ),
    "calls": ("TranscribeOptions",),
    "live": ("Encoding", "StreamKeywords"),
    "results": (
        "Check", "Health", "Job", "JobResult", "ModelFacts", "Problem", "Readiness", "ServedModel", "Timings",
        "TranscriptionResult",
    ),
    "sync_client": ("HarkenClient",),
    "sync_live": ("StreamSession",),
    "uploads": ("Audio",),
}  # fmt: skip
_HOMES = {name: home for home, names in _BY_HOME.items() for name in names}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
