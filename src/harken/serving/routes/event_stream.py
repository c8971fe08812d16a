"""A transcription as server-sent events, which begin before it is done."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from harken.core import HarkenError
from harken.http.error_responses import error_response
from harken.serving.contract import Transcription
from harken.serving.routes.disconnects import WatchedWork
from harken.serving.shapes.openai import OpenAIError, event_bytes, stream_events

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 10.0  # proxies give up on a silent connection after 30 s and more
_COMMENT = b": still at work\n\n"


class EventStream(Response):
    """Answers with the events of a transcription that is under way, and closes `stack` once it is over.

    What goes wrong after the first byte is the last event, as the status is out by then.
    """

    media_type = "text/event-stream"

    def __init__(self, work: WatchedWork[Transcription], stack: AsyncExitStack, headers: dict[str, str]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers})
        del self.headers["content-length"]
        self._work = work
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._stack:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for _ in _heartbeats(self._work):
                    await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
                result = await self._work.result()
            events = await asyncio.to_thread(_told, result)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  the door: whatever comes becomes an event
            if not isinstance(error, HarkenError):
                log.error("an unexpected error", exc_info=error)
            events = event_bytes(cast(OpenAIError, json.loads(bytes(error_response(error, scope).body))))
        await send({"type": "http.response.body", "body": events, "more_body": False})


def _told(result: Transcription) -> bytes:
    """All events; hours of speech take a while."""
    return b"".join(map(event_bytes, stream_events(result)))


async def _heartbeats(work: WatchedWork[Transcription]) -> AsyncIterator[None]:
    while not await work.over(within_s=KEEP_ALIVE_S):
        yield
