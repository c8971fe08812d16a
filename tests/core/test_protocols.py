"""The protocols that can be asked for at run time tell an answerer from a stranger."""

from collections.abc import Sequence
from pathlib import Path

from harken.core import Recognizer, Tokenizer, Transcript, Waveform


class Parrot:
    sample_rate_hz = 16_000

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        return Transcript(text="polly", duration_s=1.0)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return [self.transcribe(waveform) for waveform in waveforms]


class Mute:
    sample_rate_hz = 16_000

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        return Transcript(text="", duration_s=1.0)


def test_a_recognizer_is_known_by_what_it_does() -> None:
    assert isinstance(Parrot(), Recognizer)
    assert not isinstance(Mute(), Recognizer)
    assert not isinstance(Parrot(), Tokenizer)
