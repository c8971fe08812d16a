"""Measures of a recording's technical quality, from its samples alone."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.audio.features import check_waveform
from harken.core import Waveform
from harken.core.units import seconds_to_samples

FRAME_S = 0.02
SILENCE_BELOW_PEAK_DB = 40.0
CLIP_RUN = 3
"""Consecutive samples at full scale that make clipping; a single one is what peak normalisation leaves."""

_FULL_SCALE = 0.999
_NOISE_SHARE = 0.1
_BANDWIDTH_DROP_DB = 50.0
_FFT_SAMPLES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioQuality:
    """What was measured. Levels are in dB below full scale, shares are of all samples or frames.

    `snr_db` is an estimate from the quietest tenth of the frames, frames of digital silence left out: None where fewer
    than 20 are left, or where that tenth lies below the step of 16 bits. On speech with pauses in white noise it is
    within 3 dB from 0 to 30 dB; where speech never pauses, or its pauses were muted, it reads too low.
    `bandwidth_hz` is the frequency above which the long-term spectrum stays 50 dB below its peak.
    """

    duration_s: float
    peak_db: float
    rms_db: float
    dc_offset: float
    clipped_share: float
    silence_share: float
    snr_db: float | None
    bandwidth_hz: float


def measure_quality(waveform: Waveform, *, sample_rate_hz: int) -> AudioQuality:
    """Quality of a waveform (samples,) float32 in [-1, 1]. Empty audio is silence of no length."""
    check_waveform(waveform)
    if not len(waveform):
        return AudioQuality(
            duration_s=0.0, peak_db=-math.inf, rms_db=-math.inf, dc_offset=0.0,
            clipped_share=0.0, silence_share=1.0, snr_db=None, bandwidth_hz=0.0,
        )  # fmt: skip
    energies = _frame_energies(waveform, seconds_to_samples(FRAME_S, sample_rate_hz=sample_rate_hz))
    return AudioQuality(
        duration_s=len(waveform) / sample_rate_hz,
        peak_db=_decibels(float(np.abs(waveform).max()) ** 2),
        rms_db=_decibels(float(np.square(waveform, dtype=np.float64).mean())),
        dc_offset=float(waveform.mean(dtype=np.float64)),
        clipped_share=_clipped_share(waveform),
        silence_share=_silence_share(energies),
        snr_db=_snr_db(energies),
        bandwidth_hz=_bandwidth_hz(waveform, sample_rate_hz),
    )


def peak_normalize(waveform: Waveform, *, peak_db: float = -1.0) -> Waveform:
    """The waveform scaled so that its largest sample is at `peak_db` (at most 0); silence stays silence."""
    if peak_db > 0:
        raise ValueError(f"peak_db is {peak_db}; use 0 or less")
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform * np.float32(10 ** (peak_db / 20) / peak) if peak > 0 else waveform


def _decibels(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf


def _frame_energies(waveform: Waveform, length: int) -> npt.NDArray[np.float64]:
    """Mean square of each whole frame; of everything, where there is less than one."""
    whole = len(waveform) // length * length
    frames = waveform[:whole].reshape(-1, length) if whole else waveform[None, :]
    energies: npt.NDArray[np.float64] = np.square(frames, dtype=np.float64).mean(axis=1)
    return energies


def _clipped_share(waveform: Waveform) -> float:
    """Share of samples in runs of at least CLIP_RUN at one end of the scale."""
    clipped = 0
    for side in (waveform >= _FULL_SCALE, waveform <= -_FULL_SCALE):
        edges = np.diff(np.concatenate([[False], side, [False]]).astype(np.int8))
        runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        clipped += int(runs[runs >= CLIP_RUN].sum())
    return clipped / len(waveform)


def _silence_share(energies: npt.NDArray[np.float64]) -> float:
    loudest = float(energies.max())
    if loudest == 0:
        return 1.0
    return float((energies < loudest * 10 ** (-SILENCE_BELOW_PEAK_DB / 10)).mean())


def _snr_db(energies: npt.NDArray[np.float64]) -> float | None:
    """Power of the frames well above the noise floor, less the floor, over the floor."""
    audible = np.sort(energies[energies > 0])
    if len(audible) < 20:
        return None
    noise = float(audible[: max(1, int(len(audible) * _NOISE_SHARE))].mean())
    speech = audible[audible > 2 * noise]
    if not len(speech) or noise < 1e-10:  # below the step of 16 bits: the pauses hold no noise to measure
        return None if len(speech) else 0.0
    return _decibels(max(float(speech.mean()) - noise, 1e-12) / noise)


def _bandwidth_hz(waveform: Waveform, sample_rate_hz: int) -> float:
    from scipy.signal import welch

    frequencies, power = welch(waveform, sample_rate_hz, nperseg=min(_FFT_SAMPLES, len(waveform)))
    if not power.max() > 0:
        return 0.0
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_BANDWIDTH_DROP_DB / 10))
    return float(frequencies[loud[-1]])
