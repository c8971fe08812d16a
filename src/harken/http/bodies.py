"""Bodies of requests that cannot hurt: bounded before and while they are read, and not slower than they may be."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.core import HarkenError, InputError, Strict
from harken.core.units import format_bytes
from harken.http.error_responses import send_error
from harken.http.errors import BodyTooLarge, BodyTooSlow

_LINGER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySettings(Strict):
    """What the body of a request may be. `larger` gives other sizes to paths that begin with its keys.

    A body is too slow when nothing comes for `idle_s`, or less than `min_bytes_per_s` over `window_s` seconds spent
    waiting for it. `forms` are read or used at a time, with `form_bytes` of their files on disk.
    """

    max_bytes: int = 512 << 20
    larger: Mapping[str, int] = field(default_factory=dict)
    idle_s: float = 15.0
    min_bytes_per_s: int = 512
    window_s: float = 20.0
    forms: int = 128
    form_bytes: int = 16 << 30

    def __post_init__(self) -> None:
        if min([self.max_bytes, *self.larger.values()]) < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}, larger is {dict(self.larger)}; use 1 or more")
        if not (self.idle_s > 0 and self.window_s > 0 and self.min_bytes_per_s >= 0):
            raise ValueError(
                f"idle_s is {self.idle_s}, window_s {self.window_s}, min_bytes_per_s {self.min_bytes_per_s}; "
                "use times above 0 and a rate of 0 or more"
            )

        if self.forms < 1 or self.form_bytes < 1:
            raise ValueError(f"forms is {self.forms}, form_bytes {self.form_bytes}; use 1 or more")

    def limit_for(self, path: str) -> int:
        longest = max((prefix for prefix in self.larger if path.startswith(prefix)), key=len, default=None)
        return self.max_bytes if longest is None else self.larger[longest]


class BodyLimits:
    """Middleware that answers for a body it does not let through, whatever the route makes of the error."""

    def __init__(self, app: ASGIApp, settings: BodySettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.settings = settings
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.settings.limit_for(scope["path"])
        try:
            _check_headers(Headers(scope=scope), limit)
        except HarkenError as error:
            # A client that waits for "100 Continue" sends nothing, so that there is nothing to wait for.
            await _refuse(error, scope, receive, send, linger="expect" not in Headers(scope=scope))
            return
        body = _Body(receive, self.settings, limit, self._clock)
        answering = refused = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal answering, refused
            if not answering and body.error is not None:
                if not refused:
                    refused = True
                    await _refuse(body.error, scope, receive, send, linger=body.has_more)
                return
            answering = True
            await send(message)

        try:
            await self.app(scope, body.receive, send_unless_refused)
        except HarkenError:
            if body.error is None or answering:
                raise
        if body.error is not None and not answering and not refused:
            await _refuse(body.error, scope, receive, send, linger=body.has_more)


class _Body:
    """Counts what comes, and the time spent waiting for it: a route that is slow to read is not the client's fault."""

    def __init__(self, receive: Receive, settings: BodySettings, limit: int, clock: Callable[[], float]) -> None:
        self.error: HarkenError | None = None
        self.has_more = True
        self._receive = receive
        self._settings = settings
        self._limit = limit
        self._clock = clock
        self._bytes = 0
        self._waited_s = 0.0  # in this window
        self._window_bytes = 0

    async def receive(self) -> Message:
        if self.error is not None:
            raise self.error
        if not self.has_more:  # what is left to come is the end of the connection, which may take its time
            return await self._receive()
        message = await self._next()
        self.has_more = message["type"] == "http.request" and message.get("more_body", False)
        size = len(message.get("body", b""))
        self._bytes += size
        self._window_bytes += size
        if self._bytes > self._limit:
            self._fail(_too_large(self._limit))
        if self.has_more and self._waited_s >= self._settings.window_s:
            if self._window_bytes < self._settings.min_bytes_per_s * self._waited_s:
                self._fail(_too_slow())
            self._waited_s, self._window_bytes = 0.0, 0
        return message

    async def _next(self) -> Message:
        began_s = self._clock()
        try:
            async with asyncio.timeout(self._settings.idle_s):
                return await self._receive()
        except TimeoutError:
            self._fail(_too_slow())
        finally:
            self._waited_s += self._clock() - began_s

    def _fail(self, error: HarkenError) -> NoReturn:
        self.error = error
        raise error


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request has more than {format_bytes(limit)}.", hint="Send less at once.")


def _too_slow() -> BodyTooSlow:
    return BodyTooSlow("The body of the request did not come in time.", hint="Send it faster.")


def _check_headers(headers: Headers, limit: int) -> None:
    """Raise InputError for a length that cannot be one, BodyTooLarge for one above `limit`."""
    lengths = headers.getlist("content-length")
    if not lengths:
        return
    text = lengths[0].strip()
    if len(lengths) > 1 or "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
        # Two readings of one length are how requests are smuggled past a proxy.
        raise InputError("The request's Content-Length is not one number of bytes.", hint="Send it once, or chunks.")
    if len(text) > 18 or int(text) > limit:
        raise _too_large(limit)


async def _refuse(error: HarkenError, scope: Scope, receive: Receive, send: Send, *, linger: bool) -> None:
    """Answer at once, then let what the client still sends run out for a moment before the connection closes.

    A socket that is closed with bytes unread is reset, and the client may never see the answer.
    """
    ending: list[Message] = []

    async def hold_the_end(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [item for item in message["headers"] if item[0].lower() != b"connection"]
            message = {**message, "headers": [*headers, (b"connection", b"close")]}
        elif not message.get("more_body", False):
            ending.append({**message, "body": b""})
            message = {**message, "more_body": True}
        await send(message)

    await send_error(error, scope, receive, hold_the_end)
    if linger and not isinstance(error, BodyTooSlow):
        await _discard(receive)
    for message in ending:
        await send(message)


async def _discard(receive: Receive) -> None:
    try:
        async with asyncio.timeout(_LINGER_S):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        return
