"""`StreamingASR`: a model on a stream, from a file, a microphone, or whatever pushes audio."""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harken.audio.decode import DecodeLimits, stream_audio
from harken.audio.feature_config import FeatureConfig
from harken.audio.features import check_waveform
from harken.audio.resample import StreamResampler
from harken.audio.vad import SpeechDetector
from harken.core import InputError, Tokenizer, Waveform
from harken.inference.streaming.build import build_streamer, policy_name, stream_parts
from harken.inference.streaming.config import StreamingConfig, chunk_samples
from harken.inference.streaming.events import StreamEvent
from harken.inference.streaming.microphone import open_microphone
from harken.inference.streaming.stream import StreamState

_log = logging.getLogger(__name__)
_LEAST_RATE_HZ = 4_000  # below it speech is not intelligible, and a forged header makes the resampler explode


class Processor(Protocol):
    """What stands around a model in memory: a `LoadedModel`, for one."""

    @property
    def features(self) -> FeatureConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...


class StreamingASR:
    """A model that hears audio as it comes.

    `model` is a model folder, a recognizer (`harken.load`), or a model in memory, which needs its `processor`. `vad`
    True (or a SpeechDetector) ends segments by voice activity detection instead of `config.endpoint.source`.

    `state, events = step(state, chunk)` is pure; `session()` keeps the state and converts the rate.
    """

    def __init__(
        self,
        model: Any,
        processor: Processor | None = None,
        *,
        vad: bool | SpeechDetector = False,
        config: StreamingConfig | None = None,
        engine: str = "auto",
    ) -> None:
        """`engine` runs a model folder. Raises MissingPart and InputError as `harken.load` does, InputError for a
        policy that this model cannot follow and for settings that do nothing with the policy that `auto` takes."""
        config = config or StreamingConfig()
        if vad is not False:
            config = replace(config, endpoint=replace(config.endpoint, source="vad"))
        detector = vad if isinstance(vad, SpeechDetector) else None
        parts = stream_parts(model, processor, engine=engine)
        policy = policy_name(parts, config)
        idle = config.idle_settings(policy)
        if idle is not None:
            raise InputError(f"policy is {config.policy}, for this model {policy}; {idle}.", hint="Leave it out.")
        self.policy, self.latency_s, self.streamer = build_streamer(parts, config, detector=detector)
        _log.info("streaming: policy %s, algorithmic latency %.0f ms", self.policy, self.latency_s * 1000)

    @property
    def sample_rate_hz(self) -> int:
        return self.streamer.sample_rate_hz

    def start(self) -> StreamState:
        """The state before the first sample."""
        return self.streamer.start()

    def step(self, state: StreamState, chunk: Waveform) -> tuple[StreamState, list[StreamEvent]]:
        """The events after `chunk`, (samples,) float32 in [-1, 1] at `sample_rate_hz`; see `Streamer.step`."""
        return self.streamer.step(state, chunk)

    def finish(self, state: StreamState) -> tuple[StreamState, list[StreamEvent]]:
        """The last events, `Final` at their end."""
        return self.streamer.finish(state)

    def session(self, *, sample_rate_hz: int | None = None) -> "Session":
        """A stream of its own, for audio at another rate than the model's."""
        return Session(self, sample_rate_hz=self.sample_rate_hz if sample_rate_hz is None else sample_rate_hz)

    def stream_from_file(
        self,
        path: str | Path,
        chunk_s: float = 0.05,
        realtime: bool = False,
        *,
        limits: DecodeLimits | None = None,
        stop: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[StreamEvent]:
        """Events of an audio file of any format, heard in chunks; with `realtime` no faster than it was spoken.

        `stop` is asked between chunks: once it is true the stream ends with what was heard, `Final` and all. Raises
        AudioDecodeError as `stream_audio` does, InputError for a `chunk_s` that is no number or less than a sample.
        """
        samples = chunk_samples(chunk_s, sample_rate_hz=self.sample_rate_hz)
        limits = limits or DecodeLimits(max_duration_s=86_400.0)
        pieces = stream_audio(path, sample_rate_hz=self.sample_rate_hz, limits=limits)
        return self._stream(_paced(_rechunked(pieces, samples), self.sample_rate_hz, realtime, clock, sleep), stop)

    def stream_from_microphone(
        self, duration_sec: float | None = 30, *, chunk_s: float = 0.05, stop: Callable[[], bool] | None = None
    ) -> Iterator[StreamEvent]:
        """Events of what the microphone hears for `duration_sec` seconds; None: until `stop`, asked between chunks, is
        true. The last events are told then too.

        Raises MissingPart without the package sounddevice, its library, or a microphone, and InputError for a duration
        or a `chunk_s` that is no number or too short.
        """
        return self._stream(open_microphone(self.sample_rate_hz, duration_s=duration_sec, chunk_s=chunk_s), stop)

    def _stream(
        self, chunks: Generator[Waveform, None, None], stop: Callable[[], bool] | None
    ) -> Iterator[StreamEvent]:
        state = self.start()
        for chunk in chunks if stop is None else _until(stop, chunks):
            state, events = self.step(state, chunk)
            yield from events
        yield from self.finish(state)[1]


class Session:
    """One stream with its state: `push` chunks, then `finish`. Not for several threads at once."""

    def __init__(self, asr: StreamingASR, *, sample_rate_hz: int) -> None:
        if sample_rate_hz < _LEAST_RATE_HZ:
            raise InputError(f"The audio has {sample_rate_hz} Hz.", hint=f"Send {_LEAST_RATE_HZ} Hz or more.")
        self._asr, self._state = asr, asr.start()
        self._resampler = StreamResampler(from_hz=sample_rate_hz, to_hz=asr.sample_rate_hz)

    def push(self, chunk: Waveform) -> list[StreamEvent]:
        """The events after `chunk`, (samples,) float32 in [-1, 1] at the session's rate. Errors as `Streamer.step`."""
        check_waveform(chunk)
        if self._state.ended:
            raise InputError("The stream has ended and takes no more audio.", hint="Start a new one.")
        self._state, events = self._asr.step(self._state, self._resampler.push(chunk))
        return events

    def finish(self) -> list[StreamEvent]:
        """The last events; the session takes no more audio."""
        events: list[StreamEvent] = []
        if not self._state.ended:
            self._state, events = self._asr.step(self._state, self._resampler.finish())
        self._state, last = self._asr.finish(self._state)
        return [*events, *last]


def _until(stop: Callable[[], bool], chunks: Generator[Waveform, None, None]) -> Iterator[Waveform]:
    """Chunks until `stop` is true; what they come from is closed then, before anything else is computed."""
    with closing(chunks):
        while not stop() and (chunk := next(chunks, None)) is not None:
            yield chunk


def _rechunked(pieces: Iterable[Waveform], samples: int) -> Iterator[Waveform]:
    """The same audio in chunks of that many samples, the last one as long as it is."""
    held = np.zeros(0, np.float32)
    for piece in pieces:
        held = np.concatenate([held, piece])
        whole = len(held) // samples * samples
        yield from held[:whole].reshape(-1, samples)
        held = held[whole:]
    if len(held):
        yield held


def _paced(
    chunks: Iterable[Waveform],
    sample_rate_hz: int,
    realtime: bool,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Generator[Waveform, None, None]:
    """Chunks as they are, or each no earlier than its last sample would have been heard."""
    begun, heard = clock(), 0
    for chunk in chunks:
        heard += len(chunk)
        if realtime:
            sleep(max(0.0, begun + heard / sample_rate_hz - clock()))
        yield chunk
