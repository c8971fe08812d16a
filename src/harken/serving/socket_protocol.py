"""WebSockets with bounds that uvicorn does not have: on frames that bring nothing, and on work at one go."""

import asyncio
import math
import time
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from harken.serving.connections import LINGER_S, Door

_SOCKET_SLICE_BYTES = 4_096  # some 700 empty frames, or 10 ms of work
_TURN_S = 0.01  # of one socket, before the event loop sees to others
_FRAMES_PER_S = 1_000  # that bring next to nothing: pings, pongs and continuations below _USEFUL_BYTES
_USEFUL_BYTES = 128
_MOST_FRAGMENTS = 1_000  # of one message
_POLICY_VIOLATION = 1008


class _CountingConnection(ServerProtocol):
    """Frames of a WebSocket, which fails with 1008 for a flood of those that bring nothing."""

    _second_began_at = -math.inf
    _frames_this_second = 0
    _fragments = 0

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._fragments = 0
        elif self._is_flood(frame):
            self.parser_exc = ProtocolError("too many frames")
            self.fail(_POLICY_VIOLATION, "too many frames that bring nothing")
            return
        super().recv_frame(frame)

    def _is_flood(self, frame: Frame) -> bool:
        if frame.opcode is Opcode.CONT:
            self._fragments += 1
            if self._fragments >= _MOST_FRAGMENTS:
                return True
            if len(frame.data) >= _USEFUL_BYTES:
                return False
        now = time.monotonic()
        if now - self._second_began_at >= 1:
            self._second_began_at, self._frames_this_second = now, 0
        self._frames_this_second += 1
        return self._frames_this_second > _FRAMES_PER_S


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that is parsed in small slices, and only while the application keeps up.

    uvicorn stops reading after a message, but parses all that it had received with it, hundreds of kilobytes at once.
    """

    door: Door

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _CountingConnection(
            extensions=self.conn.available_extensions, max_size=self.config.ws_max_size, logger=self.conn.logger
        )
        self._held = bytearray()
        self._lingers = False
        self._next_turn: asyncio.Handle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self.transport)
        self._held.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self.handshake_initiated:
            self._held += data
            self._take_turn()
            return
        super().data_received(data)
        if not self.handshake_initiated:  # headers that HTTP allows and `websockets` does not: it has said so
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_ping(self) -> None:
        """Answer, unless the client does not read its answers, which would pile up (RFC 6455 5.5.3 allows fewer)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_parser_exception(self) -> None:
        """The end of a socket whose client broke a rule: close it, but read on a little."""
        close = self.conn.close_sent
        if close is None or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._lingers = True
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    async def receive(self) -> ASGIReceiveEvent:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._take_turn_soon()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        if self._lingers:
            raise ClientDisconnected
        await super().send(message)
        if self._held:  # until the handshake was answered, or for the reply to a close
            self._take_turn_soon()

    def _take_turn(self) -> None:
        """Parse what is held, for as long as one turn lasts; read on once nothing is held."""
        self._next_turn = None
        ends_at = time.monotonic() + _TURN_S
        while self._held and self._may_parse():
            if time.monotonic() > ends_at:
                self._take_turn_soon()
                break
            piece = bytes(self._held[:_SOCKET_SLICE_BYTES])
            del self._held[:_SOCKET_SLICE_BYTES]
            super().data_received(piece)
        if self.transport.is_closing() or self._lingers:
            self._held.clear()
        if self.transport.is_closing():
            return
        if self._held:
            self.transport.pause_reading()
        elif self._lingers or not self.read_paused:
            self.transport.resume_reading()

    def _take_turn_soon(self) -> None:
        if self._next_turn is None and not self.disconnected:
            self._next_turn = self.loop.call_soon(self._take_turn)

    def _may_parse(self) -> bool:
        waits = self.read_paused or self._lingers or self.transport.is_closing()
        return self.handshake_complete and not waits
