"""HTTP with bounds that uvicorn does not have: on headers, their time and their connections.

What they refuse has no route yet, and no credentials.
"""

import asyncio
import json
import ssl
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from harken.serving.connections import LINGER_S, ConnectionSettings, Door
from harken.serving.socket_protocol import WebSocketProtocol
from harken.serving.tls import TlsEntrance

_MOST_HEADERS = 100  # of a request, with those after a chunked body
_MOST_PIPELINED = 16  # requests that wait for the answer to one before them
_HEADER_SLICE_BYTES = 16_384  # what a parser gets at once, so that it stops soon where headers are too many
_BODY_SLICE_BYTES = 65_536  # the same within a body, after which trailers may come


class HttpProtocol(HttpToolsProtocol):
    """HTTP with bounds on the number of connections and on everything in a request that is not its body."""

    door: Door

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaits_headers = True
        self._headers_timer: asyncio.TimerHandle | None = None
        self._headers_count = 0
        self._progress = 0  # counts headers that are complete, pieces of bodies and ends of requests
        self._bytes_without_progress = 0
        self._excess = ""  # what a request has too much of
        self._lingers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not self.door.enter(transport):
            self.transport = transport
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", "Too many connections are open.")
            transport.close()  # at once: it is not counted
            return
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self.transport)
        self._headers_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._awaits_headers:
            self._expect_headers()
        start = 0
        while start < len(data):
            size = _HEADER_SLICE_BYTES if self._awaits_headers else _BODY_SLICE_BYTES
            piece = data[start : start + size]
            start += size
            before = self._progress
            super().data_received(piece)
            if self._lingers or self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            self._bytes_without_progress = self._bytes_without_progress + len(piece) if self._progress == before else 0
            if self._bytes_without_progress > self.door.settings.header_bytes:
                self._refuse_headers(f"more than {self.door.settings.header_bytes} bytes")
                return

    def handle_websocket_upgrade(self) -> None:
        self._headers_arrived()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._too_much(f"more than {_MOST_PIPELINED} requests before it that wait")
        self._headers_count = 0
        self._expect_headers()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_count += 1
        if self._headers_count > _MOST_HEADERS:
            self._too_much(f"more than {_MOST_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._progress += 1
        self._headers_arrived()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress += 1
        self._awaits_headers = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn does with anything that its parser ends on, `_too_much` among it."""
        if self._excess:
            self._refuse_headers(self._excess)
        elif self._may_answer():
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _too_much(self, excess: str) -> None:
        self._excess = excess
        raise ValueError(excess)  # which ends the parser

    def _expect_headers(self) -> None:
        self._awaits_headers = True
        if self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self.door.settings.header_s, self._headers_are_late)

    def _headers_arrived(self) -> None:
        self._awaits_headers = False
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _headers_are_late(self) -> None:
        self._headers_timer = None
        if self._is_answering():  # that request first: it is closed with the connection
            self._expect_headers()
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _may_answer(self) -> bool:
        """Whether an answer now would be taken for that to the request which is at fault."""
        if not self._is_answering():
            return True
        return not (self._awaits_headers or self.pipeline or self.cycle.response_started)

    def _refuse_headers(self, excess: str) -> None:
        """Say why and close; only close where that would be taken for the answer to another request."""
        if not self._may_answer():
            self.transport.close()
            return
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._say(status, "headers_too_large", f"The request has {excess} outside of its body.")
        if self._is_answering():  # this is its answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._headers_arrived()
        self._lingers = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _say(self, status: HTTPStatus, code: str, message: str) -> None:
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        more = f"content-length: {len(body)}\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
        self.transport.write((head + more).encode() + body)


def bounded_protocols(
    settings: ConnectionSettings, tls: ssl.SSLContext | None = None
) -> tuple[type[Any], type[WebSocketProtocol]]:
    """The protocols of one server, for uvicorn's `http` and `ws`; they share one count of connections.

    With `tls`, connections begin with its handshake, and uvicorn must know of none.
    """
    counted = Door(settings)

    class Http(HttpProtocol):
        door = counted

    class WebSocket(WebSocketProtocol):
        door = counted

    if tls is None:
        return Http, WebSocket
    context = tls

    class Https(TlsEntrance):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(context, counted, Http(*args, **kwargs), kwargs["server_state"].connections)

    return Https, WebSocket
