"""The protocol of `/ws/transcribe`: what is sent, and what the messages that come back mean. No I/O."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Required, TypeAlias, TypedDict

from harken.client.address import CONNECT_S, ServerAddress
from harken.client.errors import (
    ConnectionLost,
    RequestRefused,
    ServerError,
    ServerUnreachable,
    UnexpectedAnswer,
    answer_error,
    close_error,
)
from harken.client.events import Committed, Endpoint, Final, Hypothesis, StreamEvent, StreamProblem
from harken.client.results import read
from harken.core import Strict

PATH = "/ws/transcribe"
KEEPALIVE = json.dumps({"type": "keepalive"})
FLUSH_MESSAGE = json.dumps({"type": "flush"})
FINISH = json.dumps({"type": "finish"})
LARGEST_MESSAGE = 1 << 20  # bytes of one event
POLL_S = 0.5
_PIECE_BYTES = 64 * 1024
_LOG = logging.getLogger("harken.client.socket")
_LOG.setLevel(logging.WARNING)  # below, the library that uses it writes out the headers, and the key with them

Encoding: TypeAlias = Literal["linear16", "linear32", "mulaw", "alaw", "opus"]
_SAMPLE_BYTES: Mapping[str, int] = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}


class StreamKeywords(TypedDict, total=False):
    """The fields of `StreamOptions`, to be given by name."""

    sample_rate_hz: Required[int]
    encoding: Encoding
    channels: int
    model: str | None
    language: str | None
    endpoint_pause_s: float | None
    keepalive_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions(Strict):
    """How a stream is to be heard. `linear16` is signed 16-bit, `linear32` 32-bit float, both little-endian with
    channels interleaved; `opus` is one packet a piece of audio. `keepalive_s` is after how long without audio the
    server is told that the stream lives on.
    """

    sample_rate_hz: int
    encoding: Encoding = "linear16"
    channels: int = 1
    model: str | None = None
    language: str | None = None
    endpoint_pause_s: float | None = None
    keepalive_s: float = 5.0

    def __post_init__(self) -> None:
        if self.sample_rate_hz <= 0:
            raise ValueError(f"sample_rate_hz is {self.sample_rate_hz}; use that of the audio, such as 16000")
        if self.encoding not in (*_SAMPLE_BYTES, "opus"):
            raise ValueError(f"encoding is {self.encoding!r}; use one of {', '.join(_SAMPLE_BYTES)}, opus")
        if self.channels < 1:
            raise ValueError(f"channels is {self.channels}; use 1 or more")
        for name in ("endpoint_pause_s", "keepalive_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}; use seconds above 0")

    @property
    def start(self) -> str:
        """The first message."""
        fields = {
            "type": "start",
            "model": self.model,
            "language": self.language,
            "encoding": self.encoding,
            "sample_rate": self.sample_rate_hz,
            "channels": self.channels,
            "endpoint_pause_s": self.endpoint_pause_s,
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    def pieces(self, audio: bytes) -> Iterator[bytes]:
        """`audio` as messages, none too large; a packet of Opus is never cut."""
        if self.encoding == "opus":
            yield audio
            return
        for start in range(0, len(audio), _PIECE_BYTES):
            yield audio[start : start + _PIECE_BYTES]

    def seconds(self, audio: bytes) -> float:
        """How long PCM lasts when it is spoken; 0 for Opus, whose packets say it only to a decoder."""
        sample_bytes = _SAMPLE_BYTES.get(self.encoding)
        return len(audio) / (sample_bytes * self.channels * self.sample_rate_hz) if sample_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The server's first message: the stream is open. `sample_rate` is what it takes audio at, in Hz."""

    session_id: str
    model: str
    sample_rate: int | None = None


class Conversation:
    """What the server has said so far on one stream."""

    def __init__(self, server: ServerAddress) -> None:
        self._server = server
        self._problem: Mapping[str, Any] | None = None
        self.ready: Ready | None = None
        self.complete = False  # the final event came

    def hear(self, message: str | bytes) -> StreamEvent | None:
        """The event of a message, None for the first one and for kinds this version does not know."""
        data = _object(self._server.without_key(_text(message)))
        kind = data.pop("type", None)
        if kind == "ready":
            self.ready = read(Ready, data)
            return None
        if kind == "error":
            fields = data.get("error")
            self._problem = fields if isinstance(fields, dict) else {"code": "error", "message": "The server failed."}
            return read(StreamProblem, self._problem)
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            return None
        self._problem = None
        event = reader(data)
        self.complete = isinstance(event, Final)
        return event

    def end(self, code: int | None) -> ServerError | None:
        """What the close of the connection means: nothing wrong after the final event and a code of 1000."""
        if self.complete and code == 1000:
            return None
        return close_error(code, self._problem)


_READERS: Mapping[str, Callable[[object], StreamEvent]] = {
    "hypothesis": lambda data: read(Hypothesis, data),
    "committed": lambda data: read(Committed, data),
    "endpoint": lambda data: read(Endpoint, data),
    "final": lambda data: read(Final, data),
}


def connect_error(error: Exception, server: ServerAddress) -> ServerError:
    """The error of a stream that could not be opened, in the server's words where it answered the handshake."""
    from websockets.exceptions import InvalidStatus

    if isinstance(error, InvalidStatus):
        headers = {name.lower(): server.without_key(value) for name, value in error.response.headers.raw_items()}
        body = server.without_key(bytes(error.response.body or b"").decode(errors="replace"))
        return answer_error(error.response.status_code, headers, body.encode())
    reason = str(error) or type(error).__name__
    return ServerUnreachable(
        f"No stream could be opened at {server.socket_at(PATH)} ({reason}).",
        hint="Check the address, and that it runs.",
    )


def opening_error(event: StreamEvent | None) -> ServerError:
    """The error of a stream that the server answered with something other than that it is ready."""
    if isinstance(event, StreamProblem):
        return RequestRefused(event.message, hint=event.hint, code=event.code)
    return UnexpectedAnswer("The server did not say that the stream is ready.", hint="Check its version.")


def no_answer(server: ServerAddress) -> ServerError:
    return ConnectionLost(
        f"{server.url} did not answer within {server.timeout_s:g} s.", hint="Allow more with timeout_s."
    )


def socket_settings(server: ServerAddress) -> dict[str, Any]:
    """How a connection is opened, for both kinds of client. Audio is not compressed: it would not get smaller."""
    return {
        "additional_headers": {name: value for name, value in server.headers.items() if name != "User-Agent"},
        "user_agent_header": server.headers["User-Agent"],
        "compression": None,
        "open_timeout": min(CONNECT_S, server.timeout_s),
        "max_size": LARGEST_MESSAGE,
        "logger": _LOG,
    }


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise UnexpectedAnswer("The server sent binary data.", hint="Check the address.")
    return message


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise UnexpectedAnswer("The server sent a message that is no JSON object.", hint="Check the address.")
    return data
