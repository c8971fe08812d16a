"""What a client raises: every answer that is no result, and every connection that gave none.

One table each turns a status of HTTP and a code of a closed WebSocket into a family of `core`, so that a program, and
the exit code of a command, treats a server's refusal as it treats the same refusal of the library.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused

_LONGEST_TEXT = 500  # characters of a server's message that are repeated


class ServerError(HarkenError):
    """Base of what goes wrong between a client and its server.

    `status` is that of HTTP, `close_code` that of a closed WebSocket, `code` the server's own word for the error and
    `request_id` what finds it in the server's log; `retry_after_s` is when the server asks to come again. Each is None
    where the server did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        close_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.close_code = close_code
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class RequestRefused(ServerError, InputError):
    """The server cannot take this request: its audio, its options or its size (400, 404, 413, 415)."""


class AccessRefused(ServerError, ServiceRefused):
    """No key, one that does not hold, or one that may not do this (401, 403)."""


class ServerBusy(ServerError, ServiceRefused):
    """Too much at once, or the server is stopping (429, 503): the same request may work later."""


class ServerIncomplete(ServerError, MissingPart):
    """The server lacks a part the request needs, such as a model (503 without a time to come again)."""


class ServerFailed(ServerError, RunFailed):
    """The server broke over the request (5xx)."""


class ServerUnreachable(ServerError, ServiceRefused):
    """Nothing answers at the address; no request was begun."""


class ConnectionLost(ServerError, RunFailed):
    """The connection ended, or the time ran out, before the answer."""


class UnexpectedAnswer(ServerError, RunFailed):
    """An answer that no Harken server gives."""


_CLOSED: Mapping[int, tuple[type[ServerError], str, str]] = {
    1001: (ServerBusy, "The server closed a stream that was idle too long.", "Send audio or keep-alives."),
    1007: (RequestRefused, "The server could not read what was sent.", "Check the encoding of the audio."),
    1008: (ServerBusy, "The server closed the stream.", "Send audio no faster than it is spoken."),
    1009: (RequestRefused, "A message was too large for the server.", "Send audio in smaller pieces."),
    1011: (ServerFailed, "The server failed over the stream.", "Its log says why."),
    1012: (ServerBusy, "The server is stopping; audio after the last event was not heard.", "Connect again."),
    1013: (ServerBusy, "The server has no room for the stream.", "Try again later."),
}


def answer_error(status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """The error that an answer of HTTP other than a result stands for; `headers` by lower-case names."""
    found = _error_fields(body)
    retry_after_s = _retry_after_s(headers.get("retry-after"))
    kind = _kind(status, native=found is not None, retry_after_s=retry_after_s)
    found = found or {}
    hint = _clean(found.get("hint"))
    if 300 <= status < 400:
        place = _clean(headers.get("location")) or "another address"
        hint = f"The server sends on to {place}; give the client that address."
    elif not hint and status == 401:
        hint = "Give a key that the server knows."
    elif not hint and status == 404:
        hint = "Check that the address is that of a Harken server."
    return kind(
        _clean(found.get("message")) or f"The server answered with status {status}.",
        hint=hint,
        status=status,
        code=_clean(found.get("code")) or None,
        request_id=_clean(found.get("request_id")) or _clean(headers.get("x-request-id")) or None,
        retry_after_s=retry_after_s,
    )


def close_error(code: int | None, problem: Mapping[str, Any] | None) -> ServerError:
    """The error that a WebSocket closed with `code` stands for, in the words of the server's last `problem` if any."""
    kind, message, hint = _CLOSED.get(
        code or 1006, (ConnectionLost, "The connection ended before the last event.", "Try again.")
    )
    told = problem or {}
    return kind(
        _clean(told.get("message")) or message,
        hint=_clean(told.get("hint")) or hint,
        close_code=code,
        code=_clean(told.get("code")) or None,
    )


def _kind(status: int, *, native: bool, retry_after_s: float | None) -> type[ServerError]:
    """A 503 of Harken's that names no time to come again is of a missing part; a proxy's may be of anything."""
    if status in (401, 403):
        return AccessRefused
    if status == 429 or (status == 503 and (retry_after_s is not None or not native)):
        return ServerBusy
    if status == 503:
        return ServerIncomplete
    if 400 <= status < 500:
        return RequestRefused
    return ServerFailed if status >= 500 else UnexpectedAnswer


def _error_fields(body: bytes) -> Mapping[str, Any] | None:
    """The fields of an error's body, None where it is not one of Harken's."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return None
    return error if isinstance(error, dict) else None


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _clean(value: object) -> str:
    """A server's words as they may stand in a terminal: of one line, without control characters, not too long."""
    text = " ".join(str(value if isinstance(value, str | int) else "").split())
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_TEXT]
