"""Audio inside the page: 16-bit FLAC, which every current browser plays and which keeps each sample in its place.

An Opus file would be a third of the size, but older Safari does not play it in Ogg, and an MP3 starts with the delay
of its encoder, which would shift the spectrogram against the words. Spectrograms are drawn in the browser from the
same samples, so they cost no bytes.
"""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from harken.audio.resample import resample
from harken.core import InputError, Waveform, Word

HIGHEST_RATE_HZ = 24_000
"""Clips above this rate are brought down to `LOWERED_RATE_HZ`: speech models hear no more, and the page stays small."""

LOWERED_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """What was heard: `waveform` (samples,) float32 in [-1, 1]; `words` are recognised ones with times, if known."""

    waveform: Waveform
    sample_rate_hz: int
    words: tuple[Word, ...] = ()


def encode_clip(id_: str, clip: Clip) -> tuple[str, dict[str, Any]]:
    """(FLAC as base64, the facts the page shows beside it). Equal clips give equal text.

    Samples beyond full scale are held at full scale. Raises InputError for a clip without samples or with a value
    that is not a number.
    """
    waveform, rate_hz = clip.waveform, clip.sample_rate_hz
    if waveform.ndim != 1 or not len(waveform) or rate_hz < 1:
        raise InputError(
            f"The clip of {id_!r} has the shape {waveform.shape} at {rate_hz} Hz.",
            hint="Give (samples,) with at least one sample, or leave the clip out.",
        )
    if not np.isfinite(waveform).all():
        raise InputError(f"The clip of {id_!r} holds values that are not numbers.", hint="Decode the audio again.")
    if rate_hz > HIGHEST_RATE_HZ:
        waveform, rate_hz = resample(waveform, from_hz=rate_hz, to_hz=LOWERED_RATE_HZ), LOWERED_RATE_HZ
    facts = {
        "duration_s": len(clip.waveform) / clip.sample_rate_hz,
        "sample_rate_hz": rate_hz,
        "words": [[word.text, word.start_s, word.end_s] for word in clip.words],
    }
    return base64.b64encode(_flac(waveform, rate_hz)).decode("ascii"), facts


def _flac(waveform: Waveform, rate_hz: int) -> bytes:
    import soundfile

    samples = np.clip(np.rint(waveform.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()
