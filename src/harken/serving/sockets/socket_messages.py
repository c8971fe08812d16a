"""Messages of one WebSocket, received one ahead, so that a client that leaves is noticed while its audio is heard."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from harken.serving.sockets.dialect import Message
from harken.serving.sockets.endings import Gone

_AT_ONCE = 16  # messages sent before others on the loop have their turn: a socket with room never waits by itself
_CLOSE_S = 5.0  # for a client that does not take the last frame


class SocketMessages:
    """Reads in one task, and sends in any number of them. At most one message is held."""

    def __init__(self, websocket: WebSocket, *, send_s: float) -> None:
        self._websocket, self._send_s = websocket, send_s
        self._receiving: asyncio.Task[Any] | None = None
        self._sending = asyncio.Lock()
        self._left = False

    def ahead(self) -> "asyncio.Task[Any]":
        """The next message, which is being received."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._websocket.receive())
        return self._receiving

    @property
    def client_left(self) -> bool:
        """Whether what was received ahead says that the client has left."""
        task = self._receiving
        if task is not None and task.done() and not task.cancelled():
            self._left = self._left or task.exception() is not None or _says_goodbye(task.result())
        return self._left

    async def next(self, timeout_s: float) -> str | bytes | None:
        """The next message, None after `timeout_s`. Raises Gone."""
        task = self.ahead()
        if not task.done():
            await asyncio.wait({task}, timeout=max(0.0, timeout_s))
            if not task.done():
                return None
        if self.client_left:
            raise Gone
        message, self._receiving = task.result(), None
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def until_gone(self) -> None:
        """Takes messages, and leaves them, until the client has left."""
        while not self.client_left:
            task = self.ahead()
            await asyncio.wait({task})
            if not self.client_left:
                self._receiving = None

    async def send(self, messages: Iterable[Message]) -> None:
        """Raises Gone where the client has left, or takes nothing for as long as the settings say."""
        for number, message in enumerate(messages, 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            async with self._sending:
                if self._left:
                    raise Gone
                try:
                    async with asyncio.timeout(self._send_s):
                        await self._websocket.send_text(json.dumps(message, ensure_ascii=False))
                except (TimeoutError, WebSocketDisconnect, OSError, RuntimeError) as err:
                    self._left = True  # a socket that half a message is stuck in is of no more use
                    raise Gone from err

    async def close(self, code: int, reason: str) -> None:
        if self._left:
            return
        self._left = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._websocket.close(code, reason)
        except (TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
            return  # it is closed, or will be once the server drops the connection

    async def release(self) -> None:
        """Stop receiving."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait({self._receiving})
            if not self._receiving.cancelled():
                self._receiving.exception()
            self._receiving = None


def _says_goodbye(message: dict[str, Any]) -> bool:
    return bool(message["type"] == "websocket.disconnect")
