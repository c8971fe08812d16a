"""The telephone: a band of 300 to 3400 Hz at 8 kHz, companded to 8 bits after ITU-T G.711."""

from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harken.audio.level import keep_level
from harken.audio.resample import resample
from harken.core import Waveform

Law = Literal["mu", "a"]

TELEPHONE_HZ = 8_000
BAND_HZ = (300, 3_400)
_FILTER_TAPS = 257  # odd, so that its delay is a whole number of samples; edges about 100 Hz wide


def telephone(waveform: Waveform, *, law: Law, sample_rate_hz: int) -> Waveform:
    """(samples,) float32 as it comes out of a telephone line: same length, no delay, active level kept."""
    if len(waveform) == 0:
        return waveform
    narrow = _band_pass(resample(waveform, from_hz=sample_rate_hz, to_hz=TELEPHONE_HZ))
    samples = np.clip(np.rint(narrow * np.float32(32_768)), -32_768, 32_767).astype(np.int32)
    companded = compand(samples, law).astype(np.float32) / np.float32(32_768)
    wide = resample(companded, from_hz=TELEPHONE_HZ, to_hz=sample_rate_hz)
    fitted = np.zeros(len(waveform), np.float32)
    fitted[: len(wide)] = wide[: len(waveform)]
    return keep_level(fitted, waveform, sample_rate_hz=sample_rate_hz)


def compand(samples: npt.NDArray[np.int32], law: Law) -> npt.NDArray[np.int32]:
    """16-bit samples after encoding to 8 bits and back: `mu` or `a` of ITU-T G.711.

    Either law has sixteen equal steps an octave; each sample becomes the middle of its step.
    """
    magnitudes = np.minimum(np.abs(samples), 32_635 if law == "mu" else 32_767)
    if law == "mu":
        middles = _middles(magnitudes + 132) - 132
    else:
        middles = np.where(magnitudes < 512, magnitudes // 16 * 16 + 8, _middles(magnitudes))
    return np.where(samples < 0, -middles, middles)


def _middles(magnitudes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    octave = np.frexp(magnitudes.astype(np.float64))[1] - 1
    step = np.left_shift(1, np.maximum(octave - 4, 1))
    middles: npt.NDArray[np.int32] = magnitudes // step * step + step // 2
    return middles


def telephone_facts(law: Law) -> dict[str, Any]:
    """What a number under this codec should be stated with."""
    return {"codec": "telephone", "law": law, "kbps": 64, "coded_rate_hz": TELEPHONE_HZ, "band_hz": list(BAND_HZ)}


def _band_pass(waveform: Waveform) -> Waveform:
    """Linear phase with the delay taken away."""
    from scipy.signal import oaconvolve

    filtered = oaconvolve(waveform, _band_filter())
    start = _FILTER_TAPS // 2
    narrow: Waveform = filtered[start : start + len(waveform)].astype(np.float32, copy=False)
    return narrow


@cache
def _band_filter() -> npt.NDArray[np.float32]:
    from scipy.signal import firwin

    taps: npt.NDArray[np.float32] = firwin(_FILTER_TAPS, BAND_HZ, pass_zero=False, fs=TELEPHONE_HZ).astype(np.float32)
    return taps
