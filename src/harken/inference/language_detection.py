"""Which language is spoken: what detectors answer, a Whisper as one of them, and the part of the audio they hear."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from harken.audio.vad import RATE_HZ, SpeechDetector, VadConfig
from harken.core import InputError, Waveform
from harken.core.units import seconds_to_samples
from harken.inference.engines import load
from harken.inference.routes import RoutedModel
from harken.inference.whisper.backend import POSITION_S
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.speech_windows import speech_windows
from harken.models.description import read_description
from harken.text.languages import primary_language

HEARD_S = 30.0
"""Seconds of audio that a language is told from, the window of OpenAI's models."""


class LanguageDetector(Protocol):
    """Tells which language is spoken. A subclass needs `sample_rate_hz`, `languages` and `detect`."""

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def languages(self) -> Sequence[str]:
        """The languages it tells apart, by the codes that `detect` gives."""
        ...

    def detect(self, waveform: Waveform) -> dict[str, float]:
        """Probability of each of `languages`; they sum to 1. The waveform is (samples,) float32, `HEARD_S` at most."""
        ...

    def detect_batch(self, waveforms: Sequence[Waveform]) -> list[dict[str, float]]:
        """What `detect` gives for each waveform, in order."""
        return [self.detect(waveform) for waveform in waveforms]

    def code_of(self, language: str) -> str:
        """The detector's own code of a BCP-47 tag, whose script and region do not count.

        Raises InputError that lists what it knows for another language.
        """
        primary = primary_language(language)
        for code in self.languages:
            if primary_language(code) == primary:
                return code
        raise InputError(
            f"The detector does not know the language {language!r}.",
            hint=f"It knows {', '.join(sorted(self.languages))}.",
        )


class WhisperLanguageDetector(LanguageDetector):
    """A multilingual Whisper's own choice of a language token (Radford et al. 2022, section 2.3)."""

    def __init__(self, recognizer: WhisperRecognizer, *, batch_windows: int = 8) -> None:
        """`batch_windows` are heard together. Raises InputError for a Whisper that knows one language only."""
        self._backend, self._extractor = recognizer.backend, recognizer.extractor
        self._tokenizer, self._batch = recognizer.tokenizer, batch_windows
        if not self._tokenizer.multilingual:
            raise InputError(
                "This Whisper is for English only; it cannot tell languages.",
                hint="Take a multilingual one (without .en in its name) as the detector.",
            )
        window_s = self._backend.window_frames * self._extractor.hop_s
        self._window = seconds_to_samples(window_s, sample_rate_hz=self.sample_rate_hz)

    @property
    def sample_rate_hz(self) -> int:
        return self._extractor.config.sample_rate_hz

    @property
    def languages(self) -> Sequence[str]:
        return list(self._tokenizer.languages)

    def detect(self, waveform: Waveform) -> dict[str, float]:
        return self.detect_batch([waveform])[0]

    def detect_batch(self, waveforms: Sequence[Waveform]) -> list[dict[str, float]]:
        """Of each waveform the model's window is heard."""
        found: list[dict[str, float]] = []
        for first in range(0, len(waveforms), self._batch):
            features = [
                self._extractor(waveform[: self._window]) for waveform in waveforms[first : first + self._batch]
            ]
            found += self._backend.detect(self._backend.encode(np.stack(features)))
        return found

    def code_of(self, language: str) -> str:
        """As `LanguageDetector.code_of`; newer names of Whisper's codes and English names of languages count too."""
        code = self._tokenizer.language_code(primary_language(language))
        assert code is not None
        return code


def load_whisper(model: RoutedModel) -> WhisperRecognizer:
    """The recognizer of a detector's folder. Raises InputError for a model or an engine that tells no languages."""
    family = read_description(model.model).family
    if family != "whisper":
        raise InputError(
            f"{model.model} is of the family {family}, which does not tell languages.",
            hint="Name the folder of a multilingual Whisper.",
        )
    recognizer = load(model.model, engine=model.engine, config=model.settings)
    if not isinstance(recognizer, WhisperRecognizer):
        raise InputError(
            f"The engine {model.engine!r} gives a {type(recognizer).__name__}, which does not tell languages.",
            hint="Use the engine auto, torch, onnx or ctranslate2.",
        )
    return recognizer


def first_heard(
    pieces: Iterable[Waveform], *, sample_rate_hz: int, speech: SpeechDetector | None = None
) -> Waveform | None:
    """The `HEARD_S` (samples,) of some audio that its language is told from, or all of it; None for silence.

    It is the first stretch that is not digital silence; with `speech`, whose rate is 16 kHz, the first one of speech,
    as `speech_windows` cuts it. `pieces` are read no further than to its end.
    """
    stream = SampleStream(pieces)
    longest = seconds_to_samples(HEARD_S, sample_rate_hz=sample_rate_hz)
    if speech is not None:
        if sample_rate_hz != RATE_HZ:
            raise ValueError(f"sample_rate_hz is {sample_rate_hz}; speech is found at {RATE_HZ} Hz")
        span = next(speech_windows(stream, longest=longest, config=VadConfig(), detector=speech), None)
        return None if span is None else span.samples
    start = 0
    while True:
        samples = stream.read(start, longest)
        if len(samples) < POSITION_S * sample_rate_hz:  # less than there is a position for in a Whisper's encoder
            return None
        if samples.any():
            return samples
        start += len(samples)
        stream.drop(start)
