"""The client for programs that wait."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from harken.client import calls
from harken.client.address import ServerAddress
from harken.client.calls import Call
from harken.client.errors import ConnectionLost, ServerError
from harken.client.events import Flush, StreamEvent
from harken.client.live import Encoding, StreamOptions
from harken.client.results import Health, Job, JobResult, Readiness, ServedModel, TranscriptionResult
from harken.client.retries import retry_wait_s
from harken.client.sync_live import StreamSession, open_session, stream_events
from harken.client.uploads import Audio
from harken.core import HarkenError

T = TypeVar("T")
P = TypeVar("P", bound="str | os.PathLike[str]")


class HarkenClient:
    """A Harken server at `url`. Threads may share one; `close` it, or use it as a context.

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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = ServerAddress(url=url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http = httpx.Client(
            headers=self._server.headers, timeout=calls.timeouts(self._server), transport=transport
        )
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def transcribe(
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
        return self._send(call)

    def transcribe_many(
        self, paths: Iterable[P], *, concurrency: int = 4, **options: Any
    ) -> Iterator[tuple[P, TranscriptionResult | HarkenError]]:
        """Each path with its result, or with the error that says why there is none, in order.

        `concurrency` requests are under way at a time; `options` are those of `transcribe`.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; use 1 or more")
        return self._many(iter(paths), concurrency, options)

    def _many(
        self, paths: Iterator[P], concurrency: int, options: Mapping[str, Any]
    ) -> Iterator[tuple[P, TranscriptionResult | HarkenError]]:
        def one(path: P) -> TranscriptionResult | HarkenError:
            try:
                return self.transcribe(path, **options)
            except HarkenError as err:
                return err

        pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="transcribe")
        ahead: deque[tuple[P, Future[TranscriptionResult | HarkenError]]] = deque()
        try:
            for path in paths:
                ahead.append((path, pool.submit(one, path)))
                if len(ahead) >= 2 * concurrency:  # one slow file then keeps no thread idle
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def models(self) -> tuple[ServedModel, ...]:
        return self._send(calls.models_call())

    def health(self) -> Health:
        """That the server runs at all."""
        return self._send(calls.health_call())

    def ready(self) -> Readiness:
        """Whether it takes work. One that does not is an answer, no error."""
        return self._send(calls.ready_call())

    def stats(self) -> Mapping[str, Any]:
        return self._send(calls.stats_call())

    def submit_batch(
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
        return self._send(calls.submit_call(list(audio), fields, webhook))

    def job(self, id_: str) -> Job:
        return self._send(calls.job_call(id_))

    def cancel(self, id_: str) -> Job:
        return self._send(calls.cancel_call(id_))

    def results(self, id_: str) -> Iterator[JobResult]:
        """Every file in order, those that have not ended yet without a result."""
        offset = 0
        while page := self._send(calls.results_call(id_, offset)):
            yield from page
            if len(page) < calls.RESULTS_PAGE:
                return
            offset += len(page)

    def wait(self, id_: str, *, poll_s: float = 1.0, timeout_s: float | None = None) -> Job:
        """The job once it has ended, asked for every `poll_s`. Raises ConnectionLost after `timeout_s`."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not (job := self.job(id_)).ended:
            if until_s is not None and time.monotonic() >= until_s:
                raise ConnectionLost(f"Job {id_} has not ended within {timeout_s:g} s.", hint="Wait for it again.")
            self._sleep(poll_s)
        return job

    @contextmanager
    def open_stream(
        self,
        *,
        sample_rate_hz: int,
        encoding: Encoding = "linear16",
        channels: int = 1,
        model: str | None = None,
        language: str | None = None,
        endpoint_pause_s: float | None = None,
        keepalive_s: float = 5.0,
    ) -> Iterator[StreamSession]:
        """A live stream that the caller sends to and iterates, in threads of its own making."""
        options = StreamOptions(
            sample_rate_hz=sample_rate_hz,
            encoding=encoding,
            channels=channels,
            model=model,
            language=language,
            endpoint_pause_s=endpoint_pause_s,
            keepalive_s=keepalive_s,
        )
        with ExitStack() as stack:
            yield self._patiently(lambda: stack.enter_context(open_session(self._server, options)))

    def stream(
        self, audio: Iterable[bytes | Flush], *, realtime: bool = False, **options: Any
    ) -> Iterator[StreamEvent]:
        """The events of live audio while a thread sends it; `options` are those of `open_stream`.

        `FLUSH` among the pieces commits what was heard. With `realtime` recorded audio is sent no faster than it was
        spoken, which a server may ask for. What `audio` raises, this raises.
        """
        with self.open_stream(**options) as session:
            yield from stream_events(session, audio, realtime=realtime)

    def _send(self, call: Call[T]) -> T:
        return self._patiently(lambda: self._send_once(call), call)

    def _send_once(self, call: Call[T]) -> T:
        content = call.form.pieces() if call.form is not None else None
        try:
            response = self._http.request(
                call.method, self._server.at(call.path), headers=call.headers, content=content
            )
        except httpx.TransportError as err:
            raise calls.transport_error(err, self._server) from err
        finally:
            if call.form is not None:
                call.form.close()
        return call.result(response, self._server)

    def _patiently(self, work: Callable[[], T], call: Call[Any] | None = None) -> T:
        attempt = 0
        while True:
            try:
                return work()
            except ServerError as err:
                harmless = call is not None and call.harmless_twice
                wait_s = retry_wait_s(err, attempt=attempt, retries=self._server.retries, harmless_twice=harmless)
                if wait_s is None or (call is not None and not call.repeatable):
                    raise
            self._sleep(wait_s)
            attempt += 1
