"""Measures of a recording's technical quality, from its samples alone."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.audio.features import check_waveform
from harken.audio.loudness import integrated_loudness
from harken.core import Waveform
from harken.core.units import samples_to_seconds, seconds_to_samples

FRAME_S = 0.02
SILENCE_BELOW_PEAK_DB = 40.0
CLIP_RUN = 3
"""Consecutive samples at full scale that make clipping; a single one is what peak normalisation leaves."""

_FULL_SCALE = 0.999
_HALF_STEP = 0.5 / 2**15  # of 16 bits
_FEWEST_RUNS = 5  # at an extreme below full scale; 8-bit recordings have one or two at their loudest peak
_NOISE_SHARE = 0.1
_BANDWIDTH_DROP_DB = 50.0
_FFT_SAMPLES = 1024
_FRAMES_AT_ONCE = 1024  # of the spectrum: 4 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioQuality:
    """What was measured. Levels are in dB below full scale, shares are of all samples or frames.

    `loudness_lufs` is the integrated loudness of ITU-R BS.1770, None for less than 400 ms and for near silence.
    `clipped_share` counts samples in runs at full scale, and at the recording's own extreme where it stays there again
    and again (clipped first, turned down later). Silence is 40 dB below the loudest 20 ms: its share, and how long it
    lasts before and after the sound (all of a silent recording is before).
    `bandwidth_hz` is the frequency above which the long-term spectrum stays 50 dB below its peak. Below a second it
    follows what is said: a lone vowel may end at 4 kHz.
    `snr_db` is an estimate from the quietest tenth of the frames, frames of digital silence left out: None where fewer
    than 20 are left, or where that tenth lies below the step of 16 bits. It needs pauses: where speech never pauses, or
    its pauses were muted, it reads too low. Against known mixtures of clean speech with steady noise it is within
    3 dB from 10 to 30 dB and reads about 2 dB too high at 5 dB and 4 dB too high at 0 dB; with other voices or changing
    noise, whose quiet moments it takes for the floor, 3 to 9 dB too high below 15 dB.
    """

    duration_s: float
    sample_rate_hz: int
    peak_db: float
    rms_db: float
    loudness_lufs: float | None
    dc_offset: float
    clipped_share: float
    silence_share: float
    leading_silence_s: float
    trailing_silence_s: float
    snr_db: float | None
    bandwidth_hz: float


def measure_quality(waveform: Waveform, *, sample_rate_hz: int) -> AudioQuality:
    """Quality of a waveform (samples,) float32 in [-1, 1]. Empty audio is silence of no length."""
    check_waveform(waveform)
    if not len(waveform):
        return AudioQuality(
            duration_s=0.0, sample_rate_hz=sample_rate_hz, peak_db=-math.inf, rms_db=-math.inf, loudness_lufs=None,
            dc_offset=0.0, clipped_share=0.0, silence_share=1.0, leading_silence_s=0.0, trailing_silence_s=0.0,
            snr_db=None, bandwidth_hz=0.0,
        )  # fmt: skip
    highest, lowest = float(waveform.max()), float(waveform.min())
    energies = _frame_energies(waveform, seconds_to_samples(FRAME_S, sample_rate_hz=sample_rate_hz))
    silent = _silent_frames(energies)
    duration_s = samples_to_seconds(len(waveform), sample_rate_hz=sample_rate_hz)
    leading_s, trailing_s = _silent_edges_s(silent, duration_s)
    return AudioQuality(
        duration_s=duration_s,
        sample_rate_hz=sample_rate_hz,
        peak_db=_decibels(max(highest, -lowest) ** 2),
        rms_db=_decibels(float(np.square(waveform, dtype=np.float64).mean())),
        loudness_lufs=integrated_loudness(waveform, sample_rate_hz=sample_rate_hz),
        dc_offset=float(waveform.mean(dtype=np.float64)),
        clipped_share=_clipped_share(waveform, highest, lowest),
        silence_share=float(silent.mean()),
        leading_silence_s=leading_s,
        trailing_silence_s=trailing_s,
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
    """Mean square of each whole frame about its own mean; of everything, where there is less than one.

    Against a constant offset every pause would be loud.
    """
    length = max(length, 1)
    whole = len(waveform) // length * length
    frames = waveform[:whole].reshape(-1, length) if whole else waveform[None, :]
    squares = np.square(frames, dtype=np.float64).mean(axis=1)
    energies: npt.NDArray[np.float64] = squares - np.square(frames.mean(axis=1, dtype=np.float64))
    # What rounding leaves of a constant frame is no sound.
    return np.where(energies > 1e-14 * squares, energies, 0.0)


def _clipped_share(waveform: Waveform, highest: float, lowest: float) -> float:
    """Share of samples in runs of at least CLIP_RUN at one end of the scale, or of the recording's own range."""
    clipped = 0
    for extreme, samples in ((highest, waveform), (-lowest, -waveform)):
        if extreme <= 0:
            continue
        level = _FULL_SCALE if extreme >= _FULL_SCALE else extreme - _HALF_STEP
        places = np.flatnonzero(samples >= level)
        runs = np.diff(np.flatnonzero(np.diff(places, prepend=-2, append=places[-1] + 2) > 1))
        long = runs[runs >= CLIP_RUN]
        if extreme >= _FULL_SCALE or len(long) >= _FEWEST_RUNS:
            clipped += int(long.sum())
    return clipped / len(waveform)


def _silent_frames(energies: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    loudest = float(energies.max())
    silent: npt.NDArray[np.bool_] = energies < loudest * 10 ** (-SILENCE_BELOW_PEAK_DB / 10)
    return silent if loudest > 0 else np.ones_like(silent)


def _silent_edges_s(silent: npt.NDArray[np.bool_], duration_s: float) -> tuple[float, float]:
    """Seconds of silence before the first frame with sound and after the last one."""
    sounding = np.flatnonzero(~silent)
    if not len(sounding):
        return duration_s, 0.0
    return int(sounding[0]) * FRAME_S, (len(silent) - 1 - int(sounding[-1])) * FRAME_S


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
    """From the mean power spectrum of half-overlapping Hann windows, each less its own mean (Welch's method)."""
    length = min(_FFT_SAMPLES, len(waveform))
    step = max(length // 2, 1)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::step]
    window = np.hanning(length + 1)[:-1].astype(np.float32) if length > 1 else np.ones(1, np.float32)
    power = np.zeros(length // 2 + 1)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        block = frames[first : first + _FRAMES_AT_ONCE]
        spectrum = np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * window, axis=1)
        power += np.square(np.abs(spectrum), dtype=np.float64).sum(axis=0)
    if not power.max() > 0:
        return 0.0
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_BANDWIDTH_DROP_DB / 10))
    return float(np.fft.rfftfreq(length, 1 / sample_rate_hz)[loud[-1]])
