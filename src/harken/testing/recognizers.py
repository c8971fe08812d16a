"""The contract of a recognizer, for engines of our own and of others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harken.core import HarkenError, Recognizer, Waveform, Word


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
    recognizer.transcribe(waveforms[0][: rate // 100])  # 10 ms: whatever it says, no error
    for what, wrong in wrong_waveforms(waveforms[0]).items():
        for batch in ([wrong], [waveforms[0], wrong]):
            assert _refused(recognizer, batch), f"{what} is not refused with an error of harken.core"
    again = [transcript.text for transcript in recognizer.transcribe_batch(list(waveforms))]
    assert again == texts, "what was refused changes later results"


def wrong_waveforms(waveform: Waveform) -> dict[str, Any]:
    """What no recognizer takes, by name, made of a waveform that it takes."""
    holes, loud = waveform.copy(), waveform.copy()
    holes[len(holes) // 2], loud[-1] = np.nan, np.inf
    return {
        "audio with NaN": holes,
        "audio with an infinity": loud,
        "audio of two channels": np.stack([waveform, waveform]),
        "16-bit integers": (waveform * 32_767).astype(np.int16),
    }


def _refused(recognizer: Recognizer, batch: Sequence[Waveform]) -> bool:
    try:
        recognizer.transcribe_batch(batch)
    except HarkenError:
        return True
    return False


def _check_words(place: int, words: Sequence[Word], length_s: float) -> None:
    last_s = 0.0
    for word in words:
        inside = last_s <= word.start_s <= word.end_s <= length_s + 1e-6
        assert inside, f"waveform {place}: {word} is out of order or outside"
        last_s = word.start_s
