"""What somebody who listens to a stream in real time sees, and when: a way to run a recognizer for `compare_modes`.

Nobody waits for audio here. A chunk is heard once its last sample is; what it brings arrives after the chunks before
are worked off and its own computing is over: max(heard, free) + time taken. So a stream that is slower than its audio
falls behind as it would live, and hours of audio take no longer than their computing.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from harken.core import InputError, Recognizer, Utterance, Waveform, Word
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.evaluation.modes import Answer, Mode
from harken.evaluation.recognition import LoadAudio
from harken.evaluation.word_latency import HeardWord

Clock = Callable[[], float]
CHUNK_S = 0.05


class StreamRecognizer(Protocol):
    """A stream as `harken.inference.streaming.StreamingASR` is one.

    An event is words that are committed (`CommittedWords`), an endpoint (`SegmentEnd`), or the text that is tentative
    now (`TentativeText`), told by what they have. The last event of `finish` is the whole text again.
    """

    @property
    def sample_rate_hz(self) -> int: ...

    def start(self) -> Any: ...

    def step(self, state: Any, chunk: Waveform) -> tuple[Any, Sequence[Any]]: ...

    def finish(self, state: Any) -> tuple[Any, Sequence[Any]]: ...


@runtime_checkable
class CommittedWords(Protocol):
    """Words that follow those committed before and are never taken back."""

    @property
    def words(self) -> Sequence[Word]: ...


@runtime_checkable
class SegmentEnd(Protocol):
    """The speaker has paused, by `rule`; the silence began at `silence_s`."""

    @property
    def rule(self) -> str: ...

    @property
    def silence_s(self) -> float: ...


@runtime_checkable
class TentativeText(Protocol):
    """What is shown after the committed text, until the next one."""

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a listener saw of one stream. Times are seconds from the beginning of the audio unless they say otherwise.

    `corrections` counts the words that had to be deleted from the end of what was shown, before the new text could be
    written: the erasure of N. Arivazhagan et al., "Re-translation versus Streaming for Simultaneous Translation", 2020.
    `appeared_s` are the times at which a word was first shown in some place, in order; it may have gone again.
    `final_s` is the time from the end of the audio to the final text, `processing_s` the time spent computing.
    """

    words: tuple[HeardWord, ...]
    corrections: int
    appeared_s: tuple[float, ...]
    endpoints: tuple[tuple[SegmentEnd, float], ...]
    audio_s: float
    final_s: float
    processing_s: float
    cpu_s: float

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


class Watch:
    """The screen of a listener. `tell` takes events with the time they arrived at, computing included."""

    def __init__(self) -> None:
        self.corrections = 0
        self.appeared_s: list[float] = []
        self.endpoints: list[tuple[SegmentEnd, float]] = []
        self._committed: list[tuple[str, float]] = []
        self._tentative: list[str] = []
        self._first_shown_s: dict[tuple[int, str], float] = {}  # by place and word
        self._settled, self._open = 0, list[str]()  # what was on the screen: words committed by then, and those behind

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """The committed words."""
        return tuple(
            HeardWord(text=text, shown_s=self._first_shown_s[place, text], committed_s=at_s)
            for place, (text, at_s) in enumerate(self._committed)
        )

    def tell(self, events: Sequence[object], arrived_s: float) -> None:
        """The events of one step, which are shown together."""
        for event in events:
            if isinstance(event, CommittedWords):
                self._committed += [(word.text, arrived_s) for word in event.words]
                # The words that are committed leave the tentative text; the next tentative text says what remains.
                self._tentative = self._tentative[len(event.words) :]
            elif isinstance(event, SegmentEnd):
                self.endpoints.append((event, arrived_s))
            elif isinstance(event, TentativeText):
                self._tentative = event.text.split()
            else:
                raise TypeError(f"a {type(event).__name__} is no event of a stream")
        self._show(arrived_s)

    def _show(self, now_s: float) -> None:
        shown = [text for text, _ in self._committed[self._settled :]] + self._tentative
        kept = 0
        while kept < min(len(shown), len(self._open)) and shown[kept] == self._open[kept]:
            kept += 1
        self.corrections += len(self._open) - kept
        for place, text in enumerate(shown[kept:], start=self._settled + kept):
            if (place, text) not in self._first_shown_s:
                self._first_shown_s[place, text] = now_s
                self.appeared_s.append(now_s)
        self._settled, self._open = len(self._committed), self._tentative


def listen(
    asr: StreamRecognizer,
    waveform: Waveform,
    *,
    chunk_s: float = CHUNK_S,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> Heard:
    """Stream `waveform`, (samples,) float32 in [-1, 1] at the stream's rate, to a listener in real time.

    `clock` says how long computing takes: by default wall time, which on a busy machine is also that of its other work.
    `cpu_clock` gives CPU seconds, all threads together. Raises InputError for a chunk of less than a sample.
    """
    rate = asr.sample_rate_hz
    size = _chunk_samples(chunk_s, rate)
    watch, state = Watch(), asr.start()
    free_s = processing_s = cpu_s = 0.0

    def work(heard: int, call: Callable[..., tuple[Any, Sequence[Any]]], *given: Any) -> tuple[Any, Sequence[Any]]:
        nonlocal free_s, processing_s, cpu_s
        cpu_begun, begun = cpu_clock(), clock()
        found = call(*given)
        took_s = clock() - begun
        cpu_s += cpu_clock() - cpu_begun
        processing_s += took_s
        free_s = max(samples_to_seconds(heard, sample_rate_hz=rate), free_s) + took_s
        return found

    for first in range(0, len(waveform), size):
        chunk = waveform[first : first + size]
        state, events = work(first + len(chunk), asr.step, state, chunk)
        if events:
            watch.tell(events, free_s)
    state, events = work(len(waveform), asr.finish, state)
    watch.tell(events[:-1], free_s)
    audio_s = samples_to_seconds(len(waveform), sample_rate_hz=rate)
    return Heard(
        words=watch.words,
        corrections=watch.corrections,
        appeared_s=tuple(watch.appeared_s),
        endpoints=tuple(watch.endpoints),
        audio_s=audio_s,
        final_s=free_s - audio_s,
        processing_s=processing_s,
        cpu_s=cpu_s,
    )


def stream_mode(
    asr: StreamRecognizer,
    *,
    chunk_s: float = CHUNK_S,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> Mode:
    """One utterance after the other as a stream in real time, in chunks of `chunk_s` seconds; see `listen`.

    Answers have the words with the times they were shown and committed at. For their latencies `compare_modes` has to
    know when words were spoken: give it `word_times`, such as `single_pass_times`. Raises InputError for a chunk of
    less than a sample.
    """
    _chunk_samples(chunk_s, asr.sample_rate_hz)

    def answer(waveform: Waveform) -> Answer:
        heard = listen(asr, waveform, chunk_s=chunk_s, clock=clock, cpu_clock=cpu_clock)
        return Answer(
            text=heard.text,
            latency_s=heard.final_s,
            first_s=heard.appeared_s[0] if heard.appeared_s else None,
            processing_s=heard.processing_s,
            cpu_s=heard.cpu_s,
            words=heard.words,
            corrections=heard.corrections,
        )

    return Mode(run=lambda waveforms: [answer(waveform) for waveform in waveforms])


def single_pass_times(recognizer: Recognizer) -> Callable[[Utterance, Waveform], Sequence[Word]]:
    """`word_times` for `compare_modes` where nobody has timed the words: those of one pass over the whole utterance.

    Sounder than the times that a stream gives its own words. They are one clock for all streams that are compared,
    where a stream's own would excuse it: words that it places late, or at the end of a window, would look prompt. They
    know what follows a word, and with CTC models they cover the word, where the frames of a stream barely mark it.

    What they are not is the truth. A model that emits its words late does so in one pass too, and that delay is not in
    the latencies; and a word that one pass does not hear has none. Where references have word times, use those.
    """
    return lambda utterance, waveform: recognizer.transcribe(waveform).words


def with_single_pass_texts(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Utterance]:
    """The utterances with what one pass over each says as its text: rates then say how far a mode is from that.

    For audio that nobody has transcribed. Raises as `load_audio` and the recognizer do.
    """
    told = []
    for number, utterance in enumerate(utterances, start=1):
        told.append(replace(utterance, text=recognizer.transcribe(load_audio(utterance)).text))
        if progress:
            progress(number, len(utterances))
    return told


def _chunk_samples(chunk_s: float, sample_rate_hz: int) -> int:
    samples = seconds_to_samples(chunk_s, sample_rate_hz=sample_rate_hz) if math.isfinite(chunk_s) else 0
    if samples < 1:
        raise InputError(
            f"chunk_s is {chunk_s}.",
            hint=f"Use seconds of at least one sample of {sample_rate_hz} Hz, such as {CHUNK_S}.",
        )
    return samples
