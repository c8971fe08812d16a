"""A recording's fingerprint: equal for the same recording at another level, rate or in another codec."""

import numpy as np
import numpy.typing as npt

from harken.core import Waveform
from harken.core.units import seconds_to_samples

Fingerprint = npt.NDArray[np.float16]

_STEPS, _BANDS = 48, 8
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3_400.0  # what a telephone leaves
_FRAME_S, _HOP_S = 0.032, 0.008
_FLOOR = 1e-3  # of the loudest step: what a codec does 30 dB below it, nobody hears
_LEAST_CHANGE_DB = 1.0
_FRAMES_AT_ONCE = 4096


def fingerprint(waveform: Waveform, *, sample_rate_hz: int) -> Fingerprint | None:
    """(384,) float16 of length 1: how the energy of 8 bands moves over 48 equal parts of the recording, in decibels.

    Each band is taken about its own mean, so level and equalisation do not matter. The dot product of two is their
    similarity, up to 1. It compares whole recordings: one that was trimmed has another fingerprint. None for less than
    a frame (32 ms), for what hardly changes (silence, a steady noise or tone), and below 8 kHz.
    """
    length = seconds_to_samples(_FRAME_S, sample_rate_hz=sample_rate_hz)
    if sample_rate_hz < 2 * _HIGHEST_HZ or len(waveform) < length:
        return None
    energies = _band_energies(
        waveform, length, seconds_to_samples(_HOP_S, sample_rate_hz=sample_rate_hz), sample_rate_hz
    )
    sums = np.concatenate([np.zeros((1, _BANDS)), np.cumsum(energies, axis=0)])
    places = np.linspace(0, len(energies), _STEPS + 1)
    whole = np.minimum(places.astype(np.int64), len(energies) - 1)
    at_places = sums[whole] + (places - whole)[:, None] * energies[whole]
    steps = np.maximum(np.diff(at_places, axis=0), 0.0)
    if not steps.max() > 0:
        return None
    decibels = 10 * np.log10(np.maximum(steps / steps.max(), _FLOOR))
    decibels -= decibels.mean(axis=0)
    size = float(np.sqrt(np.square(decibels).sum()))
    if size < _LEAST_CHANGE_DB * np.sqrt(decibels.size):
        return None
    found: Fingerprint = (decibels / size).astype(np.float16).ravel()
    return found


def _band_energies(waveform: Waveform, length: int, hop: int, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """(frames, _BANDS) energies of bands that are equally wide in octaves."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop]
    window = np.hanning(length).astype(np.float32)
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1)
    edges = np.searchsorted(np.fft.rfftfreq(length, 1 / sample_rate_hz), edges_hz)
    energies = np.empty((len(frames), _BANDS))
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        energies[first : first + len(power)] = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    return energies
