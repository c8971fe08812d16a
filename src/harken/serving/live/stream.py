"""One live stream: audio in with backpressure, events out in order, its work in turns with all others."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from harken.core import HarkenError, InputError, RunFailed
from harken.core.units import seconds_to_samples
from harken.inference.streaming import Final, Partial, StreamEvent
from harken.serving.errors import StreamFlooded
from harken.serving.live.backlog import Backlog, Mark
from harken.serving.live.frames import FrameDecoder
from harken.serving.live.hearing import Hearing
from harken.serving.live.settings import LiveSettings
from harken.serving.live.turns import Turns

_log = logging.getLogger(__name__)
_MOST_MARKS = 16  # flushes that may wait


class Stream:
    """Answers `LiveStream` and takes turns in `Turns`. Everything but the hearing itself runs on the event loop.

    Memory is bounded whatever a client does: one that sends faster than it is heard waits in `push`, and one that does
    not read its events is not heard further until it does.
    """

    def __init__(
        self, hearing: Hearing, decoder: FrameDecoder, *, settings: LiveSettings, turns: Turns, model: str
    ) -> None:
        self._hearing, self._decoder, self._settings, self._turns, self._model = (
            hearing, decoder, settings, turns, model,
        )  # fmt: skip
        rate = decoder.sample_rate_hz
        self._backlog = Backlog(seconds_to_samples(settings.chunk_s, sample_rate_hz=rate))
        self._most_samples = seconds_to_samples(settings.backlog_s, sample_rate_hz=rate)
        self._pushed = 0
        self._told: deque[StreamEvent] = deque()
        self._failure: HarkenError | None = None
        self._finished = self._closed = False
        self._progress, self._news = asyncio.Event(), asyncio.Event()

    @property
    def heard_s(self) -> float:
        return self._pushed / self._decoder.sample_rate_hz

    @property
    def model(self) -> str:
        return self._model

    async def push(self, audio: bytes) -> None:
        """See `LiveStream.push`."""
        self._check_open()
        for piece in self._pieces(audio):
            waveform = self._decoder.push(piece)
            await self._wait_until(lambda: self._backlog.samples < self._most_samples)
            self._check_open()
            self._pushed += len(waveform)
            if self.heard_s > self._settings.longest_s:
                raise self._fail(StreamFlooded(f"The stream is longer than {self._settings.longest_s:g} s."))
            self._backlog.add(waveform)
            self._turns.ask(self)

    async def flush(self) -> None:
        """See `LiveStream.flush`."""
        self._check_open()
        await self._wait_until(lambda: self._backlog.marks < _MOST_MARKS)
        self._check_open()
        self._backlog.mark(Mark.FLUSH)
        self._turns.ask(self)

    async def finish(self) -> None:
        """See `LiveStream.finish`; a second call does nothing."""
        if not self._finished and not self._closed and self._failure is None:
            self._finished = True
            self._backlog.mark(Mark.FINISH)
            self._turns.ask(self)
        self._progress.set()

    async def events(self) -> AsyncIterator[StreamEvent]:
        """See `LiveStream.events`; for one reader."""
        while True:
            while self._told:
                event = self._told.popleft()
                self._turns.ask(self)
                yield event
                if isinstance(event, Final):
                    return
            if self._failure is not None:
                raise self._failure
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Gives up everything that waits, and waits for the turn that runs."""
        self._closed = True
        self._turns.leave(self)
        self._backlog.clear()
        self._told.clear()
        self._news.set()
        while self._turns.is_working(self):
            self._progress.clear()
            await self._progress.wait()
        self._progress.set()

    @property
    def wants_turn(self) -> bool:
        open_ = not self._closed and self._failure is None
        return open_ and bool(self._backlog) and len(self._told) < self._settings.waiting_events

    def next_work(self) -> Callable[[], list[StreamEvent]]:
        item = self._backlog.take()
        self._progress.set()
        if item is Mark.FLUSH:
            return self._hearing.flush
        if item is Mark.FINISH:
            return self._hearing.finish
        return lambda: self._hearing.hear(item)

    def worked(self, result: Any, error: BaseException | None) -> None:
        if isinstance(error, HarkenError):
            self._fail(error)
        elif error is not None:
            _log.error("a live stream of %s broke", self._model, exc_info=error)
            failed = RunFailed("The model failed on this stream.", hint="Begin a new one.")
            failed.__cause__ = error
            self._fail(failed)
        elif not self._closed:
            self._tell(result)
        self._progress.set()

    def _pieces(self, audio: bytes) -> Iterator[bytes]:
        """A message in pieces of one turn at most, so that what is decoded never exceeds the backlog by more."""
        per_s = self._decoder.bytes_per_s
        size = len(audio) if per_s is None else max(1, int(per_s * self._settings.chunk_s))
        for first in range(0, len(audio), max(1, size)):
            yield audio[first : first + size]

    async def _wait_until(self, has_room: Callable[[], bool]) -> None:
        """Raises StreamFlooded once nothing has moved for as long as the settings say."""
        while not has_room() and not self._closed and self._failure is None:
            self._progress.clear()
            try:
                async with asyncio.timeout(self._settings.patience_s):
                    await self._progress.wait()
            except TimeoutError:
                raise self._fail(
                    StreamFlooded(
                        f"The stream sends faster than it is heard, or does not read its events: no room for "
                        f"{self._settings.patience_s:g} s.",
                        hint="Send at the speed of speech, and read what comes back.",
                    )
                ) from None

    def _tell(self, events: Iterable[StreamEvent]) -> None:
        """A partial that nobody has read is replaced by the next one; other events never are."""
        for event in events:
            if isinstance(event, Partial) and self._told and isinstance(self._told[-1], Partial):
                self._told.pop()
            self._told.append(event)
        self._news.set()

    def _fail(self, error: HarkenError) -> HarkenError:
        if self._failure is None and not self._closed:
            self._failure = error
            self._backlog.clear()
            self._turns.leave(self)
        self._news.set()
        self._progress.set()
        return error

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._finished or self._closed:
            raise InputError("The stream has ended and takes no more audio.", hint="Begin a new one.")
