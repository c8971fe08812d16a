"""The client for programs that await."""

import asyncio
import os
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from harken.client import calls
from harken.client.address import ServerAddress
from harken.client.async_live import AsyncStreamSession, open_session, stream_events
from harken.client.calls import Call, TranscribeOptions
from harken.client.errors import ServerError
from harken.client.events import Flush, StreamEvent
from harken.client.live import StreamKeywords, StreamOptions
from harken.client.results import Health, Job, JobResult, ModelFacts, Readiness, ServedModel, TranscriptionResult
from harken.client.uploads import Audio
from harken.core import HarkenError

T = TypeVar("T")
P = TypeVar("P", bound="str | os.PathLike[str]")


class AsyncHarkenClient:
    """A Harken server at `url`. Tasks of one event loop may share one; `close` it, or use it as a context.

    `timeout_s` is the longest wait for an answer. A request that the server had no time for (429, 503), or that found
    no connection, is sent again up to `retries` times, after as long as the server asks (at most 30 s; else the error
    is raised). Every method raises a ServerError, each kind of it also one of the families of `harken.core`.
    `transport` and `sleep` stand in for the network and the clock.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = ServerAddress(url=url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http = httpx.AsyncClient(
            headers=self._server.headers, timeout=calls.timeouts(self._server), transport=transport
        )
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def transcribe(self, audio: Audio, **options: Unpack[TranscribeOptions]) -> TranscriptionResult:
        """The text of a file, which is sent as it is read; `TranscribeOptions` says what may be asked for.

        Raises InputError for a path that is no file, and for options no server takes.
        """
        return await self._send(calls.transcribe_call(audio, **options))

    def transcribe_many(
        self, paths: Iterable[P], *, concurrency: int = 4, **options: Unpack[TranscribeOptions]
    ) -> AsyncGenerator[tuple[P, TranscriptionResult | HarkenError], None]:
        """Each path with its result, or with the error that says why there is none, in order.

        `concurrency` requests are under way at a time; `options` are those of `transcribe`.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; use 1 or more")
        return self._many(iter(paths), concurrency, options)

    async def _many(
        self, paths: Iterator[P], concurrency: int, options: TranscribeOptions
    ) -> AsyncGenerator[tuple[P, TranscriptionResult | HarkenError], None]:
        places = asyncio.Semaphore(concurrency)

        async def one(path: P) -> TranscriptionResult | HarkenError:
            async with places:
                try:
                    return await self.transcribe(path, **options)
                except HarkenError as err:
                    return err

        ahead: deque[tuple[P, asyncio.Task[TranscriptionResult | HarkenError]]] = deque()
        try:
            for path in paths:
                ahead.append((path, asyncio.create_task(one(path))))
                if len(ahead) >= 2 * concurrency:  # one slow file then keeps no place idle
                    yield ahead[0][0], await ahead[0][1]
                    ahead.popleft()
            while ahead:
                yield ahead[0][0], await ahead[0][1]
                ahead.popleft()
        finally:
            for _, task in ahead:
                task.cancel()
            await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)

    async def models(self) -> tuple[ServedModel, ...]:
        return await self._send(calls.models_call())

    async def swap_model(self, name: str, path: str) -> ModelFacts:
        """Puts the model in a folder of the server's behind a name; no request notices. It needs a key with the scope
        `admin`, and returns once every new request gets the new model. Raises RequestRefused where that cannot be
        loaded (the old one stays) or another exchange of the name is under way, AccessRefused for a folder outside
        those that the server allows.
        """
        return await self._send(calls.swap_call(name, path))

    async def health(self) -> Health:
        """That the server runs at all."""
        return await self._send(calls.health_call())

    async def ready(self) -> Readiness:
        """Whether it takes work. One that does not is an answer, no error."""
        return await self._send(calls.ready_call())

    async def stats(self) -> Mapping[str, Any]:
        return await self._send(calls.stats_call())

    async def submit_batch(
        self, audio: Iterable[Audio], *, webhook: str | None = None, **options: Unpack[TranscribeOptions]
    ) -> Job:
        """A job of many files. `webhook` is an https URL that the server calls once all have ended."""
        return await self._send(calls.submit_call(list(audio), webhook, **options))

    async def job(self, id_: str) -> Job:
        return await self._send(calls.job_call(id_))

    async def cancel(self, id_: str) -> Job:
        return await self._send(calls.cancel_call(id_))

    async def results(self, id_: str) -> AsyncGenerator[JobResult, None]:
        """Every file in order, those that have not ended yet without a result."""
        offset = 0
        while page := await self._send(calls.results_call(id_, offset)):
            for result in page:
                yield result
            if len(page) < calls.RESULTS_PAGE:
                return
            offset += len(page)

    async def wait(self, id_: str, *, poll_s: float = 1.0, timeout_s: float | None = None) -> Job:
        """The job once it has ended, asked for every `poll_s`. Raises ConnectionLost after `timeout_s`."""
        began_s = time.monotonic()
        while not (job := await self.job(id_)).ended:
            calls.check_patience(id_, time.monotonic() - began_s, timeout_s)
            await self._sleep(poll_s)
        return job

    @asynccontextmanager
    async def open_stream(self, **options: Unpack[StreamKeywords]) -> AsyncIterator[AsyncStreamSession]:
        """A live stream that the caller sends to and iterates, in tasks of its own making."""
        heard = StreamOptions(**options)
        async with AsyncExitStack() as stack:
            yield await self._patiently(lambda: stack.enter_async_context(open_session(self._server, heard)))

    async def stream(
        self, audio: AsyncIterable[bytes | Flush], *, realtime: bool = False, **options: Unpack[StreamKeywords]
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of live audio while a task sends it; `options` are those of `open_stream`.

        `FLUSH` among the pieces commits what was heard. With `realtime` recorded audio is sent no faster than it was
        spoken, which a server may ask for. What `audio` raises, this raises.
        """
        async with (
            self.open_stream(**options) as session,
            aclosing(stream_events(session, audio, realtime=realtime)) as events,
        ):
            async for event in events:
                yield event

    async def _send(self, call: Call[T]) -> T:
        return await self._patiently(lambda: self._send_once(call), call)

    async def _send_once(self, call: Call[T]) -> T:
        content = call.form.apieces() if call.form is not None else None
        try:
            response = await self._http.request(
                call.method, self._server.at(call.path), headers=call.headers, content=content
            )
        except httpx.TransportError as err:
            raise calls.transport_error(err, self._server) from err
        finally:
            if call.form is not None:
                call.form.close()
        return call.result(response, self._server)

    async def _patiently(self, work: Callable[[], Awaitable[T]], call: Call[Any] | None = None) -> T:
        attempt = 0
        while True:
            try:
                return await work()
            except ServerError as err:
                if (wait_s := calls.pause_s(err, attempt, self._server, call)) is None:
                    raise
            await self._sleep(wait_s)
            attempt += 1
