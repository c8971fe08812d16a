"""The level of speech: which samples belong to it, how loud they are, and bringing it back to where it was."""

import numpy as np
import numpy.typing as npt

from harken.core import Waveform
from harken.core.units import seconds_to_samples

_ACTIVITY_FRAME_S = 0.010
_ACTIVITY_MARGIN_DB = 15.9  # ITU-T P.56's margin between the active level and the threshold of activity


def active_samples(waveform: Waveform, *, sample_rate_hz: int) -> npt.NDArray[np.bool_]:
    """Which samples belong to active speech, (samples,) bool; none in digital silence.

    A 10 ms frame is active when its power is less than 15.9 dB under the mean power of the active frames: the fixed
    point that ITU-T P.56 defines, here on frames in place of its smoothed envelope. It is reached from below, starting
    with every frame that is not silent.
    """
    frame = max(1, seconds_to_samples(_ACTIVITY_FRAME_S, sample_rate_hz=sample_rate_hz))
    frames = -(-len(waveform) // frame)
    whole = len(waveform) // frame
    power = np.zeros(frames)
    blocks = waveform[: whole * frame].reshape(whole, frame)
    power[:whole] = np.einsum("fs,fs->f", blocks, blocks) / frame
    if frames > whole:
        rest = waveform[whole * frame :]
        power[whole] = np.dot(rest, rest) / len(rest)
    active = power > 0
    while active.any():
        threshold = power[active].mean() * 10 ** (-_ACTIVITY_MARGIN_DB / 10)
        stricter = active & (power > threshold)
        if np.array_equal(stricter, active):
            break
        active = stricter
    return np.repeat(active, frame)[: len(waveform)]


def active_power(waveform: Waveform, *, sample_rate_hz: int) -> float:
    """Mean square of the active samples of a waveform; 0 in digital silence."""
    active = active_samples(waveform, sample_rate_hz=sample_rate_hz)
    return float(np.square(waveform[active], dtype=np.float64).mean()) if active.any() else 0.0


def keep_level(waveform: Waveform, original: Waveform, *, sample_rate_hz: int) -> Waveform:
    """`waveform` with the active level of `original`, as (samples,) float32.

    One whose peak would exceed 1 is made quieter as a whole. Silence on either side leaves it as it is.
    """
    power = active_power(waveform, sample_rate_hz=sample_rate_hz)
    wanted = active_power(original, sample_rate_hz=sample_rate_hz)
    gain = np.sqrt(wanted / power) if power and wanted else 1.0
    levelled: Waveform = waveform * np.float32(gain)
    return within_full_scale(levelled)


def within_full_scale(waveform: Waveform) -> Waveform:
    """A waveform made quieter as a whole where its peak exceeds 1."""
    peak = np.abs(waveform).max(initial=0.0)
    return waveform / peak if peak > 1 else waveform
