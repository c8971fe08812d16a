"""A recognizer around a Whisper, whatever runs its network: audio of any length, many pieces at once.

Shapes: B windows, F feature frames, M mels.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harken.audio.decode import DecodeLimits, stream_audio
from harken.audio.features import FeatureExtractor, check_waveform
from harken.audio.vad import SpeechDetector, VadConfig
from harken.core import InputError, Transcript, Waveform, Word
from harken.core.stopping import check_stop
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.whisper.backend import Encoded, WhisperBackend
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.decoding import DecodedWindow, WindowDecoder
from harken.inference.whisper.job import TranscriptionJob
from harken.inference.whisper.long_form import Independent, Sequential, TimedIds, Window, Windowing, split_by_times
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.speech_windows import speech_windows
from harken.inference.whisper.word_times import words_of
from harken.text.whisper_tokenizer import WhisperTokenizer

Pending = tuple[TranscriptionJob, Window]


class WhisperRecognizer:
    """Answers `core.Recognizer`. Windows of all pieces of audio share the batches."""

    def __init__(
        self,
        backend: WhisperBackend[Any],
        extractor: FeatureExtractor,
        tokenizer: WhisperTokenizer,
        config: WhisperDecodingConfig | None = None,
        *,
        vad: VadConfig | None = None,
        longest_s: float = 14_400.0,
        batch_windows: int = 8,
    ) -> None:
        """`batch_windows` are encoded together; audio above `longest_s` is refused; `vad` finds speech where
        `config.long_form` is vad.

        Raises InputError for features that are not those of the model, and as `WindowDecoder` does; MissingPart where
        speech is to be found and the extra `vad` is not installed.
        """
        self.backend, self.extractor, self.tokenizer = backend, extractor, tokenizer
        self.config = config or WhisperDecodingConfig()
        _check_features(backend, extractor)
        self._decoder = WindowDecoder(backend, tokenizer, self.config)
        self._vad = vad or VadConfig()
        self._detector = SpeechDetector(threads=self._vad.threads) if self.config.long_form == "vad" else None
        self._longest_s, self._batch_windows = longest_s, max(1, batch_windows)
        self._window = seconds_to_samples(backend.window_frames * extractor.hop_s, sample_rate_hz=self.sample_rate_hz)

    def with_config(self, config: WhisperDecodingConfig) -> "WhisperRecognizer":
        """The same network with other settings of decoding."""
        return WhisperRecognizer(
            self.backend,
            self.extractor,
            self.tokenizer,
            config,
            vad=self._vad,
            longest_s=self._longest_s,
            batch_windows=self._batch_windows,
        )

    @property
    def sample_rate_hz(self) -> int:
        return self.extractor.config.sample_rate_hz

    @property
    def window_s(self) -> float:
        """What the encoder hears at once; longer audio is read window by window."""
        return samples_to_seconds(self._window, sample_rate_hz=self.sample_rate_hz)

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        """Transcript of a waveform (samples,) at `sample_rate_hz`, or of an audio file of any supported format.

        A file is read as it is decoded; memory holds a few windows of it. Raises AudioDecodeError for a file that
        cannot be decoded or that is too long.
        """
        if not isinstance(audio, str | Path):
            return self.transcribe_batch([audio])[0]
        limits = DecodeLimits(max_duration_s=self._longest_s)
        pieces = stream_audio(audio, sample_rate_hz=self.sample_rate_hz, limits=limits)
        return dict(self._transcribe([SampleStream(pieces)]))[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts in the order given. Longer ones go first: windows of similar length share a batch."""
        for waveform in waveforms:
            check_waveform(waveform)
            length_s = samples_to_seconds(len(waveform), sample_rate_hz=self.sample_rate_hz)
            if length_s > self._longest_s:
                raise InputError(
                    f"Audio of {length_s:.1f} s is longer than the {self._longest_s:g} s taken at once.",
                    hint="Cut it into pieces, or raise longest_s.",
                )
        order = sorted(range(len(waveforms)), key=lambda i: -len(waveforms[i]))
        found = dict(self._transcribe(SampleStream([waveforms[i]]) for i in order))
        return [found[place] for _, place in sorted(zip(order, range(len(order)), strict=True))]

    def _transcribe(self, streams: Iterable[SampleStream]) -> Iterator[tuple[int, Transcript]]:
        """(number of the stream, transcript) as they are finished. Few streams are open at a time."""
        waiting = enumerate(streams)
        active: dict[int, TranscriptionJob] = {}
        while True:
            check_stop()
            batch = self._collect(active, waiting)
            if batch:
                self._decode(batch)
            for number in [number for number, job in active.items() if job.finished]:
                yield number, active.pop(number).transcript()
            if not batch and not active:
                return

    def _collect(
        self, active: dict[int, TranscriptionJob], waiting: Iterator[tuple[int, SampleStream]]
    ) -> list[Pending]:
        """The next windows of the open streams, and of further ones while there is room in the batch."""
        batch: list[Pending] = []
        untried = list(active.values())
        while len(batch) < self._batch_windows:
            if not untried:
                upcoming = next(waiting, None)
                if upcoming is None:
                    break
                untried.append(self._open(upcoming[1]))
                active[upcoming[0]] = untried[0]
            window = untried[0].next()
            if window is None:
                untried.pop(0)
            else:
                batch.append((untried[0], window))
        return batch

    def _open(self, stream: SampleStream) -> TranscriptionJob:
        windowing: Windowing
        if self._detector is not None:
            spans = speech_windows(stream, longest=self._window, config=self._vad, detector=self._detector)
            windowing = Independent(spans, timestamps=self.config.timestamps)
        else:
            windowing = Sequential(
                stream,
                self.tokenizer,
                longest=self._window,
                rate_hz=self.sample_rate_hz,
                timestamps=self.config.timestamps,
            )
        return TranscriptionJob(stream, windowing, self.tokenizer, self.config, sample_rate_hz=self.sample_rate_hz)

    def _decode(self, batch: Sequence[Pending]) -> None:
        encoded = self.backend.encode(np.stack([self.extractor(window.samples) for _, window in batch]))
        decoded = self._decoder(encoded, [job.task(window) for job, window in batch])
        split = [self._split(window, found) for (_, window), found in zip(batch, decoded, strict=True)]
        words = self._words(encoded, batch, decoded, [segments for segments, _ in split])
        for (job, window), found, (segments, advance_s), timed in zip(batch, decoded, split, words, strict=True):
            job.accept(window, found, segments, timed, advance_s=advance_s)

    def _split(self, window: Window, found: DecodedWindow) -> tuple[list[TimedIds], float]:
        length_s = samples_to_seconds(len(window.samples), sample_rate_hz=self.sample_rate_hz)
        if found.ids and window.timestamps:
            return split_by_times(found.ids, self.tokenizer, length_s=length_s)
        return ([TimedIds(start_s=0.0, end_s=length_s, ids=found.ids)] if found.ids else []), length_s

    def _words(
        self,
        encoded: Encoded,
        batch: Sequence[Pending],
        decoded: Sequence[DecodedWindow],
        segments: Sequence[Sequence[TimedIds]],
    ) -> list[list[list[Word]]]:
        """The words of each segment of each window, with times from the window's start; none if not asked for."""
        words: list[list[list[Word]]] = [[[] for _ in found] for found in segments]
        groups: dict[str | None, list[int]] = {}
        for row, found in enumerate(segments):
            if found and self.config.word_times:
                groups.setdefault(decoded[row].language, []).append(row)
        for language, rows in groups.items():
            prompt = self.tokenizer.prompt(language=language, task=self._decoder.task, timestamps=True)
            ids = [[id_ for segment in segments[row] for id_ in segment.ids] for row in rows]
            frames = [self._frames(batch[row][1]) for row in rows]
            found_rows = self.backend.align(encoded.take(rows), prompt, ids, frames)
            for row, alignment in zip(rows, found_rows, strict=True):
                first = 0
                for place, segment in enumerate(segments[row]):
                    part = alignment.part(first, first + len(segment.ids))
                    words[row][place] = words_of(self.tokenizer, segment.ids, part)
                    first += len(segment.ids)
        return words

    def _frames(self, window: Window) -> int:
        return min(self.backend.window_frames, int(len(window.samples) / (self.extractor.hop_s * self.sample_rate_hz)))


def _check_features(backend: WhisperBackend[Any], extractor: FeatureExtractor) -> None:
    frames = extractor.frame_count(1)
    if extractor.config.kind != "whisper" or (frames, extractor.dimensions) != (
        backend.window_frames,
        backend.dimensions,
    ):
        raise InputError(
            f"The features are {frames} frames of {extractor.dimensions} of kind {extractor.config.kind}; this Whisper "
            f"reads {backend.window_frames} frames of {backend.dimensions}.",
            hint="Use the model folder's own feature settings.",
        )
