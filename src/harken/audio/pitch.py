"""Pitch shift that keeps the duration: resampling, then a time stretch that undoes the change of length."""

import numpy as np

from harken.core import Waveform

_FRAME_S = 0.030
_SEARCH_S = 0.0125
"""How far a frame may be moved to fit the one before: one period of a voice at 80 Hz is in reach."""


def shift_pitch(waveform: Waveform, semitones: float, *, sample_rate_hz: int) -> Waveform:
    """A waveform of the same length with every frequency multiplied by 2 ** (semitones / 12).

    Formants move with the pitch, as for a speaker with a shorter or longer vocal tract. A waveform shorter than four
    frames (0.12 s) has too little to stretch and is returned as it is.
    """
    from harken.audio.resample import resample

    frame = 2 * round(_FRAME_S * sample_rate_hz / 2)
    played_hz = round(sample_rate_hz * 2.0 ** (semitones / 12))
    if played_hz == sample_rate_hz or len(waveform) < 4 * frame:
        return waveform
    moved = resample(waveform, from_hz=played_hz, to_hz=sample_rate_hz)
    search = round(_SEARCH_S * sample_rate_hz)
    return stretch(moved, len(waveform), frame_samples=frame, search_samples=search)


def stretch(waveform: Waveform, samples: int, *, frame_samples: int, search_samples: int) -> Waveform:
    """A waveform brought to `samples` samples at the same pitch by WSOLA (Verhelst and Roelands 1993).

    Frames of `frame_samples` (even), half overlapping under a Hann window, are laid down at a constant hop. Each is
    taken near the place its time asks for, at most `search_samples` away, where it correlates best with what would
    have followed the frame before in the original.
    """
    hop = frame_samples // 2
    frames = -(-samples // hop) + 1
    # Zeros in front for the half frame before time 0, behind for the search after the end.
    tail = frame_samples + hop + 2 * search_samples
    padded = np.pad(waveform, (hop + search_samples, tail))
    energy = np.concatenate(([0.0], np.cumsum(np.square(padded, dtype=np.float64))))
    window = (0.5 - 0.5 * np.cos(2 * np.pi / frame_samples * np.arange(frame_samples))).astype(np.float32)
    out = np.zeros((frames + 1) * hop, np.float32)
    last_start = len(padded) - frame_samples
    previous = search_samples
    for index in range(frames):
        asked = search_samples + round(index * hop * len(waveform) / samples)
        low = max(0, min(asked - search_samples, last_start))
        high = min(asked + search_samples, last_start)
        start = asked if index == 0 else _best_start(padded, energy, previous + hop, low, high, frame_samples)
        out[index * hop : index * hop + frame_samples] += padded[start : start + frame_samples] * window
        previous = start
    return out[hop : hop + samples]


def _best_start(
    padded: Waveform,
    energy: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    ideal: int,
    low: int,
    high: int,
    frame: int,
) -> int:
    """Start in [low, high] of the frame most like the one at `ideal` (normalised cross-correlation)."""
    if low <= ideal <= high:
        return ideal
    template = padded[ideal : ideal + frame]
    if len(template) < frame:
        return high
    likeness = np.correlate(padded[low : high + frame], template)
    norm = energy[low + frame : high + frame + 1] - energy[low : high + 1]
    return low + int(np.argmax(likeness / np.sqrt(norm + 1e-9)))
