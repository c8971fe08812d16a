"""One WebSocket from its handshake to its audit row, whatever protocol it speaks."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from starlette.websockets import WebSocket

from harken.core import HarkenError, InputError, RunFailed
from harken.http.credentials import accepted_protocol
from harken.http.errors import STATUSES, NotAuthenticated, code_of, status_of
from harken.http.principals import Principal
from harken.inference.streaming import StreamEvent
from harken.serving.contract import LiveOptions
from harken.serving.parts import ServerParts
from harken.serving.sockets.dialect import Action, Audio, Dialect, EndStream, Finish, Flush, Open, Say, Stop
from harken.serving.sockets.endings import (
    BAD_DATA,
    GOING_AWAY,
    NORMAL,
    OUR_FAULT,
    RESTART,
    TOO_LARGE,
    Ending,
    Gone,
    ending_of,
)
from harken.serving.sockets.open_stream import OpenStream, open_stream
from harken.serving.sockets.settings import SocketSettings
from harken.serving.sockets.socket_messages import SocketMessages
from harken.storage.audit import RequestRow

_log = logging.getLogger(__name__)
_SWITCHED = 101  # the status of an accepted WebSocket


class Conversation:
    """Reads messages by a `Dialect`, does what they ask for, and says what comes of it.

    One task reads and works, one tells the stream's events; whatever ends first decides how the conversation ends.
    """

    def __init__(
        self,
        websocket: WebSocket,
        dialect: Dialect,
        *,
        parts: ServerParts,
        principal: Principal,
        settings: SocketSettings,
        request_id: str,
    ) -> None:
        self._websocket, self._dialect, self._parts = websocket, dialect, parts
        self._principal, self._settings, self._request_id = principal, settings, request_id
        self._messages = SocketMessages(websocket, send_s=settings.send_s)
        self._context = AsyncExitStack()
        self._open: OpenStream | None = None
        self._over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._model: str | None = None
        self._texts: list[str] = []
        self._before_s = 0.0  # audio of earlier streams

    async def run(self) -> None:
        """Errors before the handshake are raised, and refuse it; later ones are said, and close the socket."""
        began_s = time.monotonic()
        try:
            async with self._parts.limiter.stream(self._principal):
                ending = await self._hold()
        except HarkenError as error:
            status = status_of(error, getattr(self._websocket.app.state, "error_statuses", STATUSES))
            await self._audit(status, {"ended": code_of(error)}, time.monotonic() - began_s)
            raise
        ended = {"ended": ending.reason or ("finished" if ending.code else "client_left")}
        codes = {"close_code": str(ending.code)} if ending.code else {}
        await self._audit(_SWITCHED, {**ended, **codes}, time.monotonic() - began_s)

    async def _hold(self) -> Ending:
        """The conversation with all that belongs to it, which is given back at the end."""
        try:
            options = self._dialect.first_options()
            if options is not None:
                await self._begin_stream(options)
            await self._websocket.accept(accepted_protocol(self._websocket.scope.get("subprotocols", [])))
            ending = await self._talk()
            await self._say_goodbye(ending)
            return ending
        finally:
            await self._leave_stream()
            await self._messages.release()

    async def _talk(self) -> Ending:
        """The conversation, up to how it ends; the stream is drained where that asks for it."""
        reading = asyncio.create_task(self._read())
        closing = asyncio.create_task(self._parts.closing.wait())
        watching = asyncio.create_task(self._watch_credentials())
        closing.add_done_callback(lambda _: self._end(Ending(code=RESTART, reason="shutdown", drain=True)))
        try:
            ending = await self._over
        finally:
            for task in (reading, closing, watching):
                task.cancel()
            await asyncio.wait({reading, closing, watching})
        return await self._drain(ending) if ending.drain else ending

    async def _watch_credentials(self) -> None:
        """Ends the conversation once the caller would be let in no more."""
        while await self._parts.authenticator.still_holds(self._principal):
            await asyncio.sleep(self._settings.recheck_s)
        refusal = NotAuthenticated("The credentials hold no more.", hint="Connect again with others.")
        self._end(ending_of(refusal))

    async def _read(self) -> None:
        try:
            await self._messages.send(self._dialect.greet())
            self._end(await self._read_messages())
        except Gone:
            self._end(Ending(code=None))
        except HarkenError as error:
            self._end(ending_of(error))
        except Exception:  # noqa: BLE001  the door: whatever breaks becomes an ending
            _log.exception("a WebSocket broke")
            self._end(Ending(code=OUR_FAULT, reason="internal_error", error=RunFailed("The server failed.")))

    async def _read_messages(self) -> Ending:
        """Until the client has finished, or may not go on."""
        settings, bad, last_s = self._settings, 0, time.monotonic()
        while True:
            message = await self._messages.next(last_s + settings.idle_s - time.monotonic())
            if message is None:
                return Ending(code=GOING_AWAY, reason="idle", drain=True)
            if len(message) > settings.message_bytes:
                return Ending(code=TOO_LARGE, reason="message_too_large")
            try:
                ending = await self._while_here(self._attend(message))
            except InputError as error:
                await self._messages.send(self._dialect.refused(error))
                bad += 1
                if bad >= settings.bad_messages:
                    return Ending(code=BAD_DATA, reason="bad_messages")
                continue
            if ending is not None:
                return ending
            bad, last_s = 0, time.monotonic()

    async def _while_here(self, work: Coroutine[Any, Any, Ending | None]) -> Ending | None:
        """The work's result; it is given up when the client leaves. Raises Gone then."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._messages.ahead()}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and self._messages.client_left:
                raise Gone
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _attend(self, message: str | bytes) -> Ending | None:
        """Do what a message asks for; how it ends the conversation, if it does."""
        for action in self._dialect.read(message):
            ending = await self._act(action)
            if ending is not None:
                return ending
        return None

    async def _act(self, action: Action) -> Ending | None:
        if isinstance(action, Audio):
            if self._open is not None and action.data:
                heard_s = await self._open.hear(action.data)
                await self._messages.send(self._dialect.pushed(heard_s))
        elif isinstance(action, Say):
            await self._messages.send([action.message])
        elif isinstance(action, Open):
            await self._begin_stream(action.options)
        elif isinstance(action, Flush):
            if self._open is not None:
                await self._open.stream.flush()
        elif isinstance(action, EndStream):
            await self._finish_stream()
        elif isinstance(action, Stop):
            return Ending(code=action.code, reason="refused", error=action.error)
        else:
            assert isinstance(action, Finish)
            return Ending(code=NORMAL, drain=True)
        return None

    async def _begin_stream(self, options: LiveOptions) -> None:
        opening = open_stream(
            self._parts.live, options, charge=self._charge, say=self._tell, on_ending=self._end
        )  # fmt: skip
        self._open = await self._context.enter_async_context(opening)
        self._model = self._open.stream.model
        if self._dialect.first_options() is None:
            await self._messages.send(self._dialect.opened(options, self._model))

    async def _finish_stream(self) -> None:
        """The stream's last events, and its end."""
        if self._open is None:
            return
        await self._open.stream.finish()
        await asyncio.wait({self._open.telling})
        await self._leave_stream()

    async def _leave_stream(self) -> None:
        if self._open is not None:
            self._texts.append(self._open.text)
            self._before_s += self._open.stream.heard_s
            self._open = None
            await self._context.aclose()

    async def _drain(self, ending: Ending) -> Ending:
        """The last events, unless the client leaves or they take too long."""
        if self._open is not None:
            await self._open.stream.finish()
            telling, leaving = self._open.telling, asyncio.create_task(self._messages.until_gone())
            try:
                await asyncio.wait(
                    {telling, leaving}, timeout=self._settings.drain_s, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                leaving.cancel()
                await asyncio.wait({leaving})
            if not telling.done():
                left = self._messages.client_left
                return Ending(code=None) if left else ending_of(RunFailed("The stream did not end in time."))
            ending = telling.result() or ending
        heard_s = self._before_s + (self._open.stream.heard_s if self._open is not None else 0.0)
        if ending.error is None and ending.code is not None:
            try:
                await self._messages.send(self._dialect.ended(heard_s))
            except Gone:
                return Ending(code=None)
        return ending

    async def _say_goodbye(self, ending: Ending) -> None:
        if ending.code is None:
            return
        try:
            if ending.error is not None:
                await self._messages.send(self._dialect.refused(ending.error))
        except Gone:
            return
        await self._messages.close(ending.code, ending.reason)

    async def _tell(self, event: StreamEvent) -> None:
        await self._messages.send(self._dialect.told(event))

    async def _charge(self, seconds: float) -> None:
        await self._parts.limiter.charge_audio(self._principal, seconds)

    def _end(self, ending: Ending) -> None:
        if not self._over.done():
            self._over.set_result(ending)

    async def _audit(self, status: int, details: dict[str, str], duration_s: float) -> None:
        row = RequestRow(
            request_id=self._request_id,
            principal=self._principal.id,
            route=self._websocket.scope["path"],
            status=status,
            model=self._model,
            audio_s=self._before_s,
            duration_s=duration_s,
            text="\n".join(text for text in self._texts if text),
            details=details,
        )
        await self._parts.audit(row)
