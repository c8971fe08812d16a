"""Noise at a true signal-to-noise ratio: noises, and their mixture with speech."""

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from harken.audio.augment_config import NoiseConfig, NoiseKind
from harken.audio.level import active_samples, within_full_scale
from harken.core import InputError, Waveform

_LOWEST_HZ = 20.0  # coloured noise is flat below: what nobody hears must not carry its power
_CACHE_BYTES = 256 * 2**20

# The long-term average speech spectrum of 13 languages, women and men together, in dB per third of an octave:
# Byrne et al. (1994), "An international comparison of long-term average speech spectra", JASA 96(4), table II.
SPEECH_BANDS_HZ = (
    63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300,
    8000, 10000, 12500, 16000,
)  # fmt: skip
SPEECH_BANDS_DB = (
    38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7, 53.0, 52.0, 48.7, 48.1, 46.8, 45.6,
    44.5, 44.3, 43.7, 43.4, 41.3, 40.7,
)  # fmt: skip


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
    return within_full_scale(mix)


def draw_kind(config: NoiseConfig, generator: np.random.Generator) -> NoiseKind:
    """One of the kinds of the settings, all equally likely."""
    return config.kinds[int(generator.integers(len(config.kinds)))]


def draw_noise(
    samples: int, kind: NoiseKind, config: NoiseConfig, *, sample_rate_hz: int, generator: np.random.Generator
) -> Waveform:
    """(samples,) float32 of a kind, from the files of the settings where it needs some, at no particular level."""
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
    """Gaussian noise, (samples,) float32: `white`, `pink` (power 1/f), `brown` (1/f²), both flat below 20 Hz, or
    `speech`, with the long-term average spectrum of speech.
    """
    if kind == "white" or samples < 2:
        return generator.standard_normal(samples, dtype=np.float32)
    from scipy import fft

    length = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(generator.standard_normal(length, dtype=np.float32))
    hz = np.arange(len(spectrum), dtype=np.float32) * np.float32(sample_rate_hz / length)
    if kind == "speech":
        spectrum *= _speech_shape(hz)
    else:
        hz = np.maximum(hz, _LOWEST_HZ)
        spectrum *= 1 / np.sqrt(hz) if kind == "pink" else 1 / hz
    coloured: Waveform = fft.irfft(spectrum, n=length)[:samples].astype(np.float32, copy=False)
    return coloured


def _speech_shape(hz: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Amplitude of the average spectrum of speech at frequencies; nothing below the lowest band of the table."""
    centres = np.asarray(SPEECH_BANDS_HZ, dtype=np.float64)
    widths = centres * (2 ** (1 / 6) - 2 ** (-1 / 6))
    amplitudes = np.sqrt(10 ** (np.asarray(SPEECH_BANDS_DB) / 10) / widths)
    shape: npt.NDArray[np.float32] = np.interp(hz, centres, amplitudes / amplitudes.max(), left=0.0).astype(np.float32)
    return shape


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
