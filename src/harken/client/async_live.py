"""A live stream for programs that await."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from harken.client.address import ServerAddress
from harken.client.errors import ServerError, close_error
from harken.client.events import Flush, StreamEvent
from harken.client.live import (
    FINISH,
    FLUSH_MESSAGE,
    KEEPALIVE,
    PATH,
    POLL_S,
    Conversation,
    Ready,
    StreamOptions,
    connect_error,
    no_answer,
    opening_error,
    socket_settings,
)
from harken.client.session import SessionState, close_code


@asynccontextmanager
async def open_session(server: ServerAddress, options: StreamOptions) -> "AsyncIterator[AsyncStreamSession]":
    """An open stream, closed with the context. Raises the server's refusal, or ServerUnreachable."""
    try:
        socket = await connect(server.socket_at(PATH), **socket_settings(server))
    except (OSError, WebSocketException) as err:
        raise connect_error(err, server) from err
    try:
        conversation = Conversation(server)
        ready = await _begin(socket, conversation, options, server)
        session = AsyncStreamSession(socket, conversation, ready, options, server)
        keeper = asyncio.create_task(session.keep_alive())
        try:
            yield session
        finally:
            await _stop(keeper)
    finally:
        await socket.close()


async def _begin(
    socket: ClientConnection, conversation: Conversation, options: StreamOptions, server: ServerAddress
) -> Ready:
    try:
        await socket.send(options.start)
        event = conversation.hear(await asyncio.wait_for(socket.recv(), server.timeout_s))
    except TimeoutError as err:
        raise no_answer(server) from err
    except ConnectionClosed as err:
        raise close_error(close_code(err), None) from err
    if conversation.ready is None:
        raise opening_error(event)
    return conversation.ready


class AsyncStreamSession(SessionState):
    """A live stream. Iterating gives its events, up to the final one that follows `finish`; other tasks may call the
    rest meanwhile. `model` is the name of the model that hears it.
    """

    def __init__(
        self,
        socket: ClientConnection,
        conversation: Conversation,
        ready: Ready,
        options: StreamOptions,
        server: ServerAddress,
    ) -> None:
        super().__init__(conversation, ready, options, server)
        self._socket = socket

    async def send(self, audio: bytes) -> None:
        """More audio, of any length. Returns once the network took it; raises the reason of a stream that ended."""
        for piece in self._options.pieces(audio):
            await self._send(piece)
            self._sent_s = time.monotonic()

    async def flush(self) -> None:
        """Commit all that was heard so far: an endpoint follows."""
        await self._send(FLUSH_MESSAGE)

    async def finish(self) -> None:
        """No more audio comes; the last events follow."""
        self._finished_s = time.monotonic()
        await self._send(FINISH)

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        heard_s = time.monotonic()
        while True:
            try:
                event = self._conversation.hear(await asyncio.wait_for(self._socket.recv(), POLL_S))
            except TimeoutError:
                self._check_patience(heard_s)
                continue
            except ConnectionClosed as err:
                if (error := self._end(err)) is not None:
                    raise error from err
                return
            heard_s = time.monotonic()
            if event is not None:
                yield event

    async def send_all(self, audio: AsyncIterable[bytes | Flush], *, realtime: bool) -> None:
        """Send `audio` to its end, with `realtime` no faster than it is spoken, and finish."""
        began_s, spoken_s = time.monotonic(), 0.0
        async for item in audio:
            if isinstance(item, Flush):
                await self.flush()
                continue
            ahead_s = spoken_s - (time.monotonic() - began_s)
            if realtime and ahead_s > 0:
                await asyncio.sleep(ahead_s)
            await self.send(item)
            spoken_s += self._options.seconds(item)
        await self.finish()

    async def keep_alive(self) -> None:
        """Tell the server, while no audio comes, that the stream lives on; for as long as the stream is open."""
        wait_s = self._options.keepalive_s
        with suppress(ServerError):
            while True:
                await asyncio.sleep(wait_s)
                if self._finished_s is not None:
                    return
                if (wait_s := self._keepalive_in_s()) <= 0:
                    await self._send(KEEPALIVE)
                    wait_s = self._options.keepalive_s

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as err:
            raise self._refusal(err) from err

    async def close(self) -> None:
        """Leave the stream, finished or not."""
        await self._socket.close()


async def stream_events(
    session: AsyncStreamSession, audio: AsyncIterable[bytes | Flush], *, realtime: bool
) -> AsyncGenerator[StreamEvent, None]:
    """The events of `session` while a task sends it `audio`. What the audio raises, this raises."""

    async def send() -> None:
        try:
            await session.send_all(audio, realtime=realtime)
        except ServerError:
            return  # the events end for the same reason, and say it
        except BaseException:
            await session.close()
            raise

    sender = asyncio.create_task(send())
    try:
        async for event in session:
            yield event
    except ServerError:
        if sender.done() and not sender.cancelled() and (error := sender.exception()) is not None:
            raise error from None
        raise
    finally:
        await _stop(sender)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # seen: it was raised where it belongs, or the caller has left
