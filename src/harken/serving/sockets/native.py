"""The server's own protocol, `/ws/transcribe`."""

from collections.abc import Sequence
from typing import Any, cast

from harken.core import HarkenError
from harken.http.errors import code_of
from harken.inference.streaming import Committed, Endpoint, Partial, StreamEvent
from harken.serving.contract import DEFAULT_MODEL, Encoding, LiveOptions
from harken.serving.live.frames import OPUS_HZ, check_format
from harken.serving.sockets.dialect import (
    Action,
    Audio,
    BadMessage,
    Finish,
    Flush,
    Message,
    Open,
    read_field,
    read_object,
)

_START = ("type", "model", "language", "encoding", "sample_rate", "channels", "endpoint_pause_s")


class NativeDialect:
    """`start`, then audio; hypotheses replace each other, committed words stay."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._open = False
        self._shown = ""

    def first_options(self) -> LiveOptions | None:
        return None

    def greet(self) -> Sequence[Message]:
        return []

    def read(self, message: str | bytes) -> Sequence[Action]:
        if isinstance(message, bytes):
            self._check_open("audio")
            return [Audio(message)]
        data = read_object(message)
        kind = data.get("type")
        if kind == "start":
            if self._open:
                raise BadMessage("The stream has been started.", hint="Open another socket for another stream.")
            return [Open(start_options(data))]
        if kind == "keepalive":
            return []
        if kind == "flush":
            self._check_open(kind)
            return [Flush()]
        if kind == "finish":
            return [Finish()]
        raise BadMessage(
            f"type is {str(kind)[:50]!r}.", hint="Use start, keepalive, flush or finish; send audio as binary messages."
        )

    def opened(self, options: LiveOptions, model: str) -> Sequence[Message]:
        self._open = True
        ready = {"type": "ready", "session_id": self._session_id, "model": model}
        return [{**ready, "sample_rate": options.sample_rate_hz}]

    def pushed(self, heard_s: float) -> Sequence[Message]:
        return []

    def told(self, event: StreamEvent) -> Sequence[Message]:
        if isinstance(event, Partial):
            changed, self._shown = event.text != self._shown, event.text
            return [{"type": "hypothesis", "text": event.text, "at_s": event.at_s}] if changed else []
        if isinstance(event, Committed):
            # Whoever listens takes the committed words out of the hypothesis.
            self._shown = " ".join(self._shown.split()[len(event.words) :])
            return [{"type": "committed", "text": event.text, "words": _words(event), "at_s": event.at_s}]
        if isinstance(event, Endpoint):
            fields = {"rule": event.rule, "silence_s": event.silence_s, "at_s": event.at_s}
            return [{"type": "endpoint", **fields}]
        return [{"type": "final", "text": event.text, "duration_s": event.at_s}]

    def ended(self, heard_s: float) -> Sequence[Message]:
        return [] if self._open else [{"type": "final", "text": "", "duration_s": 0.0}]

    def refused(self, error: HarkenError) -> Sequence[Message]:
        fields = {"code": code_of(error), "message": error.message, "hint": error.hint}
        return [{"type": "error", "error": fields}]

    def _check_open(self, what: str) -> None:
        if not self._open:
            raise BadMessage(f"There is no stream for {what}.", hint='Send {"type": "start"} first.')


def start_options(data: dict[str, Any]) -> LiveOptions:
    """The stream that a start message asks for. Raises BadMessage, and InputError for a format that no stream takes."""
    unknown = sorted(set(data) - set(_START))
    if unknown:
        raise BadMessage(f"start has no {str(unknown[0])[:50]!r}.", hint=f"It has {', '.join(_START[1:])}.")
    encoding = read_field(data, "encoding", str, "linear16")
    rate = read_field(data, "sample_rate", int, OPUS_HZ if encoding == "opus" else 16_000)
    channels = read_field(data, "channels", int, 1)
    check_format(encoding, rate, channels)
    pause_s = read_field(data, "endpoint_pause_s", (int, float))
    return LiveOptions(
        model=read_field(data, "model", str, DEFAULT_MODEL),
        language=read_field(data, "language", str),
        encoding=cast(Encoding, encoding),
        sample_rate_hz=rate,
        channels=channels,
        endpoint_pause_s=pause_s,
    )


def _words(event: Committed) -> list[Message]:
    return [
        {"text": word.text, "start_s": word.start_s, "end_s": word.end_s, "confidence": word.confidence}
        for word in event.words
    ]
