"""The contract of a recognizer, for engines of our own and of others."""

from collections.abc import Sequence

import numpy as np

from harken.core import Recognizer, Waveform, Word


def check_recognizer(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> None:
    """Raise AssertionError, saying which promise is broken, unless the recognizer keeps `core.Recognizer`'s.

    `waveforms` are at least two pieces of audio (samples,) float32 of different length at the recognizer's rate, of
    the kind it was made for.
    """
    if len({len(waveform) for waveform in waveforms}) < 2:
        raise ValueError(f"{len(waveforms)} waveforms of one length; give two or more of different length")
    rate = recognizer.sample_rate_hz
    assert isinstance(rate, int), f"sample_rate_hz is {rate!r}, not an integer"
    assert rate > 0, f"sample_rate_hz is {rate}, not above 0"
    together = recognizer.transcribe_batch(list(waveforms))
    assert len(together) == len(waveforms), f"{len(together)} transcripts for {len(waveforms)} waveforms"
    for place, (waveform, transcript) in enumerate(zip(waveforms, together, strict=True)):
        alone = recognizer.transcribe(waveform)
        assert alone.text == transcript.text, f"waveform {place}: {alone.text!r} alone, {transcript.text!r} in a batch"
        length_s = len(waveform) / rate
        off_s = abs(transcript.duration_s - length_s)
        assert off_s < 1e-6, f"waveform {place}: {transcript.duration_s} s, not {length_s}"
        _check_words(place, transcript.words, length_s)
    backwards = recognizer.transcribe_batch(list(reversed(waveforms)))
    texts, reversed_texts = [t.text for t in together], [t.text for t in reversed(backwards)]
    assert texts == reversed_texts, "the order of a batch changes its results"
    assert recognizer.transcribe_batch([]) == [], "an empty batch gives transcripts"
    for samples in (0, 1):
        short = recognizer.transcribe(np.zeros(samples, np.float32))
        assert short.text == "", f"{samples} samples of silence give {short.text!r}"


def _check_words(place: int, words: Sequence[Word], length_s: float) -> None:
    last_s = 0.0
    for word in words:
        inside = last_s <= word.start_s <= word.end_s <= length_s + 1e-6
        assert inside, f"waveform {place}: {word} is out of order or outside"
        last_s = word.start_s
