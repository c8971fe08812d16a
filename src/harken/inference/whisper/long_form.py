"""Audio of any length as windows of Whisper's: one after the other along its time tokens, or cut where nobody speaks.

Each window is normalised by itself, as those Whisper was trained on were, and not by the loudest point of the whole
recording, which OpenAI's code does: a window's text then depends on nothing outside it, memory does not grow with the
recording, and a stream gives what a file gives.

Positions are samples from the start of the audio.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from harken.core import InputError, Waveform
from harken.inference.whisper.backend import POSITION_S
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.speech_windows import SpeechSpan
from harken.text.whisper_tokenizer import WhisperTokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Samples (n,) that begin at `start`; `timestamps` says whether to decode time tokens."""

    start: int
    samples: Waveform
    timestamps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedIds:
    """Text tokens with the span they stand on, in seconds from the start of their window."""

    start_s: float
    end_s: float
    ids: list[int]


class Windowing(Protocol):
    """Where the windows of one piece of audio lie."""

    def next(self) -> Window | None:
        """A window to decode; None when there is none, or none before `accept` has been called."""
        ...

    def accept(self, window: Window, advance_s: float) -> None:
        """The window was decoded, and what it holds after its first `advance_s` was not taken care of."""
        ...

    @property
    def finished(self) -> bool:
        """Whether all windows have been given and accepted."""
        ...


class Sequential:
    """Each window begins where the last whole segment of the one before ended (Radford et al. 2022, section 4.5).

    Audio within one window is decoded without time tokens, unless `timestamps`. Windows of digital silence are left
    out.
    """

    def __init__(
        self, stream: SampleStream, tokenizer: WhisperTokenizer, *, longest: int, rate_hz: int, timestamps: bool
    ) -> None:
        """`longest` is the window in samples."""
        self._stream, self._tokenizer = stream, tokenizer
        self._longest, self._rate_hz = longest, rate_hz
        self._timestamps = timestamps
        self._seek = 0
        self._waiting = self._over = False

    def next(self) -> Window | None:
        """Raises InputError for audio of several windows and a tokenizer without time tokens."""
        while not (self._waiting or self._over):
            self._stream.drop(self._seek)
            samples = self._stream.read(self._seek, self._longest + 1)
            self._check_times(len(samples) > self._longest)
            samples = samples[: self._longest]
            if len(samples) < POSITION_S * self._rate_hz:  # less than the encoder has a position for
                self._over = True
            elif not samples.any():
                self._seek += len(samples)
            else:
                self._waiting = True
                return Window(start=self._seek, samples=samples, timestamps=self._timestamps)
        return None

    def accept(self, window: Window, advance_s: float) -> None:
        self._waiting = False
        self._seek = window.start + min(len(window.samples), round(advance_s * self._rate_hz))

    @property
    def finished(self) -> bool:
        return self._over

    def _check_times(self, more: bool) -> None:
        if more and not self._tokenizer.has_times:
            raise InputError(
                "Audio beyond one window is followed by time tokens, and this model's tokenizer has none.",
                hint="Set long_form to vad, or cut the audio into pieces.",
            )
        self._timestamps = self._timestamps or more


class Independent:
    """Windows of speech, all of which may be decoded at once."""

    def __init__(self, spans: Iterator[SpeechSpan], *, timestamps: bool) -> None:
        self._spans, self._timestamps = spans, timestamps
        self._open = 0
        self._over = False

    def next(self) -> Window | None:
        span = None if self._over else next(self._spans, None)
        if span is None:
            self._over = True
            return None
        self._open += 1
        return Window(start=span.start, samples=span.samples, timestamps=self._timestamps)

    def accept(self, window: Window, advance_s: float) -> None:
        self._open -= 1

    @property
    def finished(self) -> bool:
        return self._over and self._open == 0


def split_by_times(ids: Sequence[int], tokenizer: WhisperTokenizer, *, length_s: float) -> tuple[list[TimedIds], float]:
    """Segments of a window of `length_s`, and the seconds of it that they take care of.

    Two time tokens in a row are the end of one segment and the beginning of the next; what follows the last such pair
    is unfinished and left to the next window. A single time at the end closes the window: nothing is said after it.
    Without a pair all tokens are one segment. (openai/whisper, transcribe.py.)
    """
    times = [tokenizer.time_s(id_) for id_ in ids]
    pairs = [place for place in range(1, len(ids)) if times[place] is not None and times[place - 1] is not None]
    closed = len(ids) > 1 and times[-1] is not None and times[-2] is None
    if not pairs:
        known = [time for time in times[1:] if time]  # the first is where it begins
        segment = _segment(ids, times, length_s, start_s=_first(times), end_s=known[-1] if known else length_s)
        return ([segment] if segment.ids else []), length_s
    bounds = [0, *pairs, *([len(ids)] if closed else [])]
    segments = [
        _segment(ids[a:b], times[a:b], length_s, start_s=_first(times[a:b]), end_s=times[b - 1])
        for a, b in pairwise(bounds)
    ]
    advance_s = length_s if closed else (times[pairs[-1] - 1] or 0.0)
    if advance_s < POSITION_S:  # no segment of it has a length: the next window would be this one again
        advance_s = length_s
        last = pairs[-1]
        segments.append(_segment(ids[last:], times[last:], length_s, start_s=_first(times[last:]), end_s=length_s))
    return [segment for segment in segments if segment.ids], min(advance_s, length_s)


def _first(times: Sequence[float | None]) -> float:
    return (times[0] if times else None) or 0.0


def _segment(
    ids: Sequence[int], times: Sequence[float | None], length_s: float, *, start_s: float, end_s: float | None
) -> TimedIds:
    text = [id_ for id_, time in zip(ids, times, strict=True) if time is None]
    start_s = min(start_s, length_s)
    end_s = length_s if end_s is None else min(end_s, length_s)
    return TimedIds(start_s=start_s, end_s=max(start_s, end_s), ids=text)
