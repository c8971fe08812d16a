"""Noise at a true signal-to-noise ratio: the level of active speech, noises, and their mixture."""

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from harken.audio.augment_config import NoiseConfig, NoiseKind
from harken.core import InputError, Waveform
from harken.core.units import seconds_to_samples

_ACTIVITY_FRAME_S = 0.010
_ACTIVITY_MARGIN_DB = 15.9  # ITU-T P.56's margin between the active level and the threshold of activity
_LOWEST_HZ = 20.0  # coloured noise is flat below: what nobody hears must not carry its power
_CACHE_BYTES = 256 * 2**20


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


def add_noise(waveform: Waveform, noise: Waveform, *, snr_db: float, sample_rate_hz: int) -> Waveform:
    """`waveform` plus `noise` (both (samples,) float32) so that their powers over active speech are `snr_db` apart.

    Where there is no active speech, or no noise during it, the ratio has no meaning and the waveform is returned as
    it is. A mix whose peak would exceed 1 is scaled down as a whole.
    """
    active = active_samples(waveform, sample_rate_hz=sample_rate_hz)
    if not active.any():
        return waveform
    speech_power = np.square(waveform[active], dtype=np.float64).mean()
    noise_power = np.square(noise[active], dtype=np.float64).mean()
    if noise_power == 0:
        return waveform
    gain = np.sqrt(speech_power / noise_power * 10 ** (-snr_db / 10))
    mix: Waveform = waveform + np.float32(gain) * noise
    peak = np.abs(mix).max()
    if peak > 1:
        mix /= peak
    return mix


def draw_noise(samples: int, config: NoiseConfig, *, sample_rate_hz: int, generator: np.random.Generator) -> Waveform:
    """(samples,) float32 of a kind drawn from the settings, at no particular level."""
    kind = config.kinds[int(generator.integers(len(config.kinds)))]
    if kind == "file":
        return _excerpt(samples, config, sample_rate_hz, generator)
    if kind == "babble":
        babble = np.zeros(samples, np.float32)
        for _ in range(config.babble_voices):
            voice = _excerpt(samples, config, sample_rate_hz, generator)
            babble += voice / max(float(np.sqrt(np.square(voice).mean())), 1e-9) if samples else voice
        return babble
    return generate_noise(samples, kind, sample_rate_hz=sample_rate_hz, generator=generator)


def generate_noise(samples: int, kind: NoiseKind, *, sample_rate_hz: int, generator: np.random.Generator) -> Waveform:
    """Gaussian `white`, `pink` (power 1/f) or `brown` (1/f²) noise, (samples,) float32; flat below 20 Hz."""
    if kind == "white" or samples < 2:
        return generator.standard_normal(samples, dtype=np.float32)
    from scipy import fft

    length = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(generator.standard_normal(length, dtype=np.float32))
    hz = np.maximum(np.arange(len(spectrum), dtype=np.float32) * np.float32(sample_rate_hz / length), _LOWEST_HZ)
    spectrum *= 1 / np.sqrt(hz) if kind == "pink" else 1 / hz
    coloured: Waveform = fft.irfft(spectrum, n=length)[:samples].astype(np.float32, copy=False)
    return coloured


class _NoiseFiles:
    """Decoded noise files, the least recently used forgotten beyond a bound on memory. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, int], Waveform] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str, sample_rate_hz: int) -> Waveform:
        key = (path, sample_rate_hz)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        from harken.audio.decode import decode_audio

        waveform = decode_audio(path, sample_rate_hz=sample_rate_hz)
        if not waveform.any():
            raise InputError(f"The noise file {path} holds only silence.", hint="Take it out of noise.files.")
        with self._lock:
            self._kept[key] = waveform
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return waveform


_noise_files = _NoiseFiles(_CACHE_BYTES)


def _excerpt(samples: int, config: NoiseConfig, sample_rate_hz: int, generator: np.random.Generator) -> Waveform:
    """A stretch of one of the files from a random place on; a file that ends goes on from its start."""
    path = config.files[int(generator.integers(len(config.files)))]
    noise = _noise_files.get(path, sample_rate_hz)
    start = int(generator.integers(len(noise)))
    excerpt: Waveform = np.take(noise, np.arange(start, start + samples), mode="wrap")
    return excerpt
