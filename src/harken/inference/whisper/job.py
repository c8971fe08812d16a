"""One piece of audio on its way to a transcript."""

from collections import Counter
from collections.abc import Sequence

from harken.core import Segment, Transcript, Word
from harken.core.units import samples_to_seconds
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.decoding import DecodedWindow, WindowTask
from harken.inference.whisper.long_form import TimedIds, Window, Windowing
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.word_times import join_texts
from harken.text.whisper_tokenizer import WhisperTokenizer

RESET_TEMPERATURE = 0.5
"""A text that was drawn above it is not shown to the next window: errors would go on (section 4.5)."""


class TranscriptionJob:
    """Collects what the windows of one stream say."""

    def __init__(
        self,
        stream: SampleStream,
        windowing: Windowing,
        tokenizer: WhisperTokenizer,
        config: WhisperDecodingConfig,
        *,
        sample_rate_hz: int,
    ) -> None:
        self._stream, self._windowing = stream, windowing
        self._tokenizer, self._config, self._rate_hz = tokenizer, config, sample_rate_hz
        self._language = tokenizer.language_code(config.language)
        self._previous: list[int] = []
        self._open = 0
        self._segments: list[tuple[int, Segment]] = []
        self._heard: Counter[str] = Counter()  # samples of each language

    @property
    def finished(self) -> bool:
        return self._windowing.finished

    def next(self) -> Window | None:
        """The next window that can be decoded now; the first alone where it decides the language."""
        undecided = self._language is None and self._tokenizer.multilingual and not self._config.multilingual
        if undecided and self._open:
            return None
        window = self._windowing.next()
        self._open += window is not None
        return window

    def task(self, window: Window) -> WindowTask:
        return WindowTask(
            duration_s=self._seconds(len(window.samples)),
            language=self._language,
            previous=tuple(self._previous),
            timestamps=window.timestamps,
            key=window.start,
        )

    def accept(
        self,
        window: Window,
        found: DecodedWindow,
        segments: Sequence[TimedIds],
        words: Sequence[Sequence[Word]],
        *,
        advance_s: float,
    ) -> None:
        """Take in what a window says: its segments and their words, timed from its start."""
        self._open -= 1
        self._windowing.accept(window, advance_s)
        if self._language is None and not self._config.multilingual:
            self._language = found.language
        start_s = self._seconds(window.start)
        for segment, timed in zip(segments, words, strict=True):
            text = self._tokenizer.decode(segment.ids)
            if text:
                made = _shifted(text, segment, timed, start_s, latest_s=start_s + advance_s, language=found.language)
                self._segments.append((window.start, made))
        if found.language is not None and found.ids:
            self._heard[found.language] += len(window.samples)
        if self._config.condition_on_previous:
            self._remember(found, segments)

    def _remember(self, found: DecodedWindow, segments: Sequence[TimedIds]) -> None:
        if found.temperature > RESET_TEMPERATURE:
            self._previous = []
        else:
            self._previous += [id_ for segment in segments for id_ in segment.ids]
            del self._previous[:-1024]  # more than any decoder reads

    def transcript(self) -> Transcript:
        """What was said. Reads the stream to its end."""
        ordered = [segment for _, segment in sorted(self._segments, key=lambda item: item[0])]
        language = self._heard.most_common(1)[0][0] if self._heard else self._language
        return Transcript(
            text=join_texts([segment.text for segment in ordered]),
            duration_s=self._seconds(self._stream.length()),
            segments=tuple(ordered),
            language=language,
        )

    def _seconds(self, samples: int) -> float:
        return samples_to_seconds(samples, sample_rate_hz=self._rate_hz)


def _shifted(
    text: str, segment: TimedIds, words: Sequence[Word], start_s: float, *, latest_s: float, language: str | None
) -> Segment:
    """A segment on the clock of the audio. With words it spans those, none of which goes on after `latest_s`."""
    timed = tuple(
        Word(
            text=word.text,
            start_s=min(start_s + word.start_s, latest_s),
            end_s=min(start_s + word.end_s, latest_s),
            confidence=word.confidence,
        )
        for word in words
    )
    first_s, last_s = start_s + segment.start_s, start_s + segment.end_s
    if timed:
        first_s, last_s = timed[0].start_s, timed[-1].end_s
    return Segment(text=text, start_s=first_s, end_s=last_s, words=timed, language=language)
