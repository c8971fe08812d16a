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
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from harken.client import calls
from harken.client.address import ServerAddress
from harken.client.async_live import AsyncStreamSession, open_session, stream_events
from harken.client.calls import Call
from harken.client.errors import ConnectionLost, ServerError
from harken.client.events import Flush, StreamEvent
from harken.client.live import Encoding, StreamOptions
from harken.client.results import Health, Job, JobResult, Readiness, ServedModel, TranscriptionResult
from harken.client.retries import retry_wait_s
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

    async def transcribe(
        self,
        audio: Audio,
        *,
        model: str | None = None,
        language_hint: str | None = None,
        word_times: bool = False,
        hotwords: Sequence[str] = (),
        prompt: str | None = None,
        temperature: float | None = None,
    ) -> TranscriptionResult:
        """The text of a file, which is sent as it is read. `language_hint` is a BCP-47 tag, `temperature` 0 to 1.

        Raises InputError for a path that is no file, and for options no server takes.
        """
        call = calls.transcribe_call(
            audio,
            model=model,
            language_hint=language_hint,
            word_times=word_times,
            hotwords=hotwords,
            prompt=prompt,
            temperature=temperature,
        )
        return await self._send(call)

    def transcribe_many(
        self, paths: Iterable[P], *, concurrency: int = 4, **options: Any
    ) -> AsyncGenerator[tuple[P, TranscriptionResult | HarkenError], None]:
        """Each path with its result, or with the error that says why there is none, in order.

        `concurrency` requests are under way at a time; `options` are those of `transcribe`.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; use 1 or more")
        return self._many(iter(paths), concurrency, options)

    async def _many(
        self, paths: Iterator[P], concurrency: int, options: Mapping[str, Any]
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

    async def health(self) -> Health:
        """That the server runs at all."""
        return await self._send(calls.health_call())

    async def ready(self) -> Readiness:
        """Whether it takes work. One that does not is an answer, no error."""
        return await self._send(calls.ready_call())

    async def stats(self) -> Mapping[str, Any]:
        return await self._send(calls.stats_call())

    async def submit_batch(
        self,
        audio: Iterable[Audio],
        *,
        webhook: str | None = None,
        model: str | None = None,
        language_hint: str | None = None,
        word_times: bool = False,
        hotwords: Sequence[str] = (),
        prompt: str | None = None,
        temperature: float | None = None,
    ) -> Job:
        """A job of many files. `webhook` is an https URL that the server calls once all have ended."""
        fields = calls.option_fields(
            model=model,
            language_hint=language_hint,
            word_times=word_times,
            hotwords=hotwords,
            prompt=prompt,
            temperature=temperature,
        )
        return await self._send(calls.submit_call(list(audio), fields, webhook))

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
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not (job := await self.job(id_)).ended:
            if until_s is not None and time.monotonic() >= until_s:
                raise ConnectionLost(f"Job {id_} has not ended within {timeout_s:g} s.", hint="Wait for it again.")
            await self._sleep(poll_s)
        return job

    @asynccontextmanager
    async def open_stream(
        self,
        *,
        sample_rate_hz: int,
        encoding: Encoding = "linear16",
        channels: int = 1,
        model: str | None = None,
        language: str | None = None,
        endpoint_pause_s: float | None = None,
        keepalive_s: float = 5.0,
    ) -> AsyncIterator[AsyncStreamSession]:
        """A live stream that the caller sends to and iterates, in tasks of its own making."""
        options = StreamOptions(
            sample_rate_hz=sample_rate_hz,
            encoding=encoding,
            channels=channels,
            model=model,
            language=language,
            endpoint_pause_s=endpoint_pause_s,
            keepalive_s=keepalive_s,
        )
        async with AsyncExitStack() as stack:
            yield await self._patiently(lambda: stack.enter_async_context(open_session(self._server, options)))

    async def stream(
        self, audio: AsyncIterable[bytes | Flush], *, realtime: bool = False, **options: Any
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
                harmless = call is not None and call.harmless_twice
                wait_s = retry_wait_s(err, attempt=attempt, retries=self._server.retries, harmless_twice=harmless)
                if wait_s is None or (call is not None and not call.repeatable):
                    raise
            await self._sleep(wait_s)
            attempt += 1
