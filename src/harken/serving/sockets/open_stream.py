"""A stream that is open on a socket: its context, the task that tells its events, and what its audio costs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from harken.core import HarkenError, RunFailed
from harken.http.errors import RateExceeded
from harken.inference.streaming import Final, StreamEvent
from harken.serving.contract import LiveOptions, LiveService, LiveStream
from harken.serving.sockets.endings import OUR_FAULT, Ending, Gone, ending_of

_log = logging.getLogger(__name__)
_CHARGED_S = 5.0  # audio is charged in pieces of this length


class OpenStream:
    """Make it with `open_stream`. `text` is the whole text once the stream has told it."""

    def __init__(self, stream: LiveStream, charge: Callable[[float], Awaitable[None]]) -> None:
        self.stream, self.text = stream, ""
        self.telling: asyncio.Task[Ending | None]
        self._charge, self._charged_s = charge, 0.0

    async def hear(self, audio: bytes) -> float:
        """Pushes and charges. Returns the seconds pushed so far. Raises as `LiveStream.push`, and RateExceeded."""
        await self.stream.push(audio)
        heard_s = self.stream.heard_s
        if heard_s - self._charged_s >= (_CHARGED_S if self._charged_s else 0.0):
            await self._charge_rest()
        return heard_s

    async def _charge_rest(self) -> None:
        rest_s, self._charged_s = self.stream.heard_s - self._charged_s, self.stream.heard_s
        if rest_s > 0:
            await self._charge(rest_s)

    async def charge_last(self) -> None:
        """What has not been charged. The audio was heard: what does not fit the caller's day is its next refusal."""
        try:
            await self._charge_rest()
        except RateExceeded as error:
            _log.info("the last audio of a stream exceeds its quota: %s", error)

    async def tell(self, say: Callable[[StreamEvent], Awaitable[None]]) -> Ending | None:
        """Says each event; what goes wrong is how the conversation ends."""
        try:
            async for event in self.stream.events():
                if isinstance(event, Final):
                    self.text = event.text
                await say(event)
        except Gone:
            return Ending(code=None)
        except HarkenError as error:
            return ending_of(error)
        except Exception:  # noqa: BLE001  the door: whatever breaks a stream ends its conversation, not the server
            _log.exception("a live stream of %s broke", self.stream.model)
            failed = RunFailed("The server failed on this stream.", hint="Begin a new one.")
            return Ending(code=OUR_FAULT, reason="internal_error", error=failed)
        return None


@asynccontextmanager
async def open_stream(
    live: LiveService,
    options: LiveOptions,
    *,
    charge: Callable[[float], Awaitable[None]],
    say: Callable[[StreamEvent], Awaitable[None]],
    on_ending: Callable[[Ending], None],
) -> AsyncIterator[OpenStream]:
    """A stream whose events are said as they come; `on_ending` hears what ends the conversation. Raises as
    `LiveService.open`."""

    def told(task: "asyncio.Task[Ending | None]") -> None:
        ending = None if task.cancelled() else task.result()
        if ending is not None:
            on_ending(ending)

    async with live.open(options) as stream:
        opened = OpenStream(stream, charge)
        opened.telling = asyncio.create_task(opened.tell(say))
        opened.telling.add_done_callback(told)
        try:
            yield opened
        finally:
            opened.telling.cancel()
            await asyncio.wait({opened.telling})
            await opened.charge_last()
