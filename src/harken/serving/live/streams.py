"""Live streams on the served models: how many there are, what they share, and that nothing of one outlives it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

from harken.core import Recognizer
from harken.serving.contract import LiveOptions, LiveStream, ModelInfo, TranscribeOptions
from harken.serving.errors import QueueFull
from harken.serving.live.frames import FrameDecoder
from harken.serving.live.hearing import Hearing
from harken.serving.live.settings import LiveSettings
from harken.serving.live.shared_asr import SharedAsrs, stream_config
from harken.serving.live.stream import Stream
from harken.serving.live.turns import Turns
from harken.serving.scheduling.stream_load import StreamLoad


class StreamModels(Protocol):
    """Where streams get their models."""

    def find(self, name: str) -> ModelInfo:
        """Raises UnknownModel."""
        ...

    def acquire(self, name: str, options: TranscribeOptions) -> AbstractAsyncContextManager[Recognizer]:
        """A model that stays loaded within the context. Entering raises UnknownModel, InputError for options that it
        cannot take, MissingPart where it cannot be loaded."""
        ...


class StreamCounts(Protocol):
    """What is counted of streams, for metrics."""

    def stream_opened(self, model: str) -> None: ...

    def stream_heard(self, model: str, audio_s: float) -> None: ...

    def stream_closed(self, model: str) -> None: ...


class LiveStreams:
    """Answers `LiveService`. Belongs to one event loop."""

    def __init__(
        self, models: StreamModels, settings: LiveSettings, load: StreamLoad, *, counts: StreamCounts | None = None
    ) -> None:
        """`load` is told of every turn that is waited for, `counts` of every stream."""
        self._models, self._settings, self._counts = models, settings, counts
        self._turns = Turns(threads=settings.threads, load=load)
        self._asrs = SharedAsrs()
        self._open = 0

    @property
    def open_streams(self) -> int:
        return self._open

    @asynccontextmanager
    async def open(self, options: LiveOptions) -> AsyncIterator[LiveStream]:
        """See `LiveService.open`."""
        settings = self._settings
        if self._open >= settings.streams:
            raise QueueFull(f"{self._open} streams are open, as many as this server takes.", hint="Try again later.")
        self._open += 1
        try:
            decoder = FrameDecoder(options.encoding, options.sample_rate_hz, options.channels)
            name = self._models.find(options.model).name
            wanted = TranscribeOptions(model=name, language=options.language)
            async with self._models.acquire(name, wanted) as recognizer:
                config = stream_config(settings.streaming, recognizer, options)
                async with self._asrs.use(recognizer, config, self._turns.run) as asr:
                    begin = partial(Hearing, asr, sample_rate_hz=decoder.sample_rate_hz)
                    hearing: Hearing = await self._turns.run(begin)
                    stream = Stream(hearing, decoder, settings=settings, turns=self._turns, model=name)
                    if self._counts is not None:
                        self._counts.stream_opened(name)
                    try:
                        yield stream
                    finally:
                        if self._counts is not None:
                            self._counts.stream_heard(name, stream.heard_s)
                            self._counts.stream_closed(name)
                        await stream.close()
        finally:
            self._open -= 1

    def close(self) -> None:
        """Ends the threads; for when no stream is open any more."""
        self._turns.close()
