"""Whisper as policy `local-agreement` reads with it: words with times, told what was said before."""

from collections.abc import Sequence
from dataclasses import replace

from harken.core import Waveform, Word
from harken.inference.whisper.recognizer import WhisperRecognizer


class WhisperBuffer:
    """A `BufferRecognizer` with the settings of a recognizer, words timed."""

    def __init__(self, recognizer: WhisperRecognizer) -> None:
        self._recognizer = recognizer
        self._config = replace(recognizer.config, word_times=True, long_form="sequential")

    @property
    def sample_rate_hz(self) -> int:
        return self._recognizer.sample_rate_hz

    def transcribe_buffer(self, waveform: Waveform, prompt: str) -> Sequence[Word]:
        """Words of (samples,) float32 at `sample_rate_hz`; `prompt`, the text before it, follows the user's own."""
        own = self._recognizer.config.initial_prompt
        told = " ".join(part for part in (own, prompt) if part)
        reader = self._recognizer.with_config(replace(self._config, initial_prompt=told or None))
        return reader.transcribe_batch([waveform])[0].words
