"""One front end per kind of feature: waveform in, unnormalised features out.

Each has `frame_count(samples)`, exact, and a call that gives that many frames. Sources of the definitions: Kaldi's
feature-window.cc, feature-fbank.cc, feature-mfcc.cc and mel-computations.cc; OpenAI Whisper's audio.py; NeMo's
collections/asr/parts/preprocessing/features.py (FilterbankFeatures).
"""

from typing import Literal, Protocol

import numpy as np

from harken.audio.feature_config import FeatureConfig, KaldiConfig, MfccConfig, NemoConfig
from harken.audio.mel import Float32, kaldi_filters, slaney_filters
from harken.audio.spectrum import FilterbankSpectrum
from harken.core import Features, Waveform
from harken.core.units import seconds_to_samples

_INT16_SCALE = 32768.0  # Kaldi reads 16-bit files without dividing
_KALDI_FLOOR = np.float32(np.finfo(np.float32).eps)
_NEMO_GUARD = np.float32(2.0**-24)
_WHISPER_FLOOR = np.float32(1e-10)
_WHISPER_RANGE = np.float32(8.0)  # decades below the loudest point of the utterance


class Frontend(Protocol):
    """Waveform (samples,) to features (frame_count(samples), dimensions), both float32."""

    def frame_count(self, samples: int) -> int: ...

    def __call__(self, waveform: Waveform) -> Features: ...


def build_frontend(config: FeatureConfig) -> Frontend:
    """The front end of `config.kind`, with its window and filters computed."""
    if config.kind == "kaldi":
        return KaldiFrontend(config)
    if config.kind == "mfcc":
        return MfccFrontend(config)
    if config.kind == "whisper":
        return WhisperFrontend(config)
    if config.kind == "nemo":
        return NemoFrontend(config)
    return WaveformFrontend()


def _whole_samples(seconds: float, sample_rate_hz: int) -> int:
    """Samples in a window or hop, rounded down as Kaldi and NeMo do; 1e-6 forgives 0.01 * 16000 = 159.99…"""
    return int(seconds * sample_rate_hz + 1e-6)


class WaveformFrontend:
    """The samples as (samples, 1)."""

    def frame_count(self, samples: int) -> int:
        return samples

    def __call__(self, waveform: Waveform) -> Features:
        return waveform[:, None].copy()


class WhisperFrontend:
    """OpenAI Whisper's log-mel: Hann window of 400, transform of 400, frames centred on multiples of 160.

    The last centred frame is left out, as Whisper does. The ends are mirrored; audio shorter than the mirror is
    mirrored repeatedly.
    """

    _WINDOW, _HOP = 400, 160

    def __init__(self, config: FeatureConfig) -> None:
        rate = config.sample_rate_hz
        self._least_samples = seconds_to_samples(config.pad_to_s or 0.0, sample_rate_hz=rate)
        filters = slaney_filters(
            mels=config.dimensions, fft_samples=self._WINDOW, sample_rate_hz=rate, low_hz=0.0, high_hz=rate / 2
        )
        window = np.hanning(self._WINDOW + 1)[:-1]
        self._spectrum = FilterbankSpectrum(
            window=window.astype(np.float32), hop_samples=self._HOP, fft_samples=self._WINDOW, filters_BM=filters
        )

    def frame_count(self, samples: int) -> int:
        return max(samples, self._least_samples) // self._HOP

    def __call__(self, waveform: Waveform) -> Features:
        if len(waveform) < self._least_samples:
            waveform = np.pad(waveform, (0, self._least_samples - len(waveform)))
        frames = self.frame_count(len(waveform))
        signal = _centred(waveform, self._WINDOW // 2, self._spectrum.signal_samples(frames), "reflect")
        energies = self._spectrum.energies(signal, frames)
        if frames == 0:
            return energies
        np.maximum(energies, _WHISPER_FLOOR, out=energies)
        np.log10(energies, out=energies)
        np.maximum(energies, energies.max() - _WHISPER_RANGE, out=energies)
        energies += np.float32(4.0)
        energies *= np.float32(0.25)
        return energies


class NemoFrontend:
    """NeMo's AudioToMelSpectrogramPreprocessor: ln(mel energy + 2**-24), frames centred on multiples of the hop.

    With zeros beyond the ends (NeMo 2) there are `samples // hop` frames; with mirrored ends (NeMo 1) one more.
    """

    def __init__(self, config: FeatureConfig) -> None:
        settings = config.nemo or NemoConfig()
        rate = config.sample_rate_hz
        self._hop = _whole_samples(config.hop_s, rate)
        window = _whole_samples(config.window_s, rate)
        fft_samples = _power_of_two(window)
        self._preemphasis = np.float32(settings.preemphasis)
        self._pad_mode = settings.pad_mode
        # NeMo centres the window in the transform. Where it sits there changes phases only, so it starts at 0 here
        # and the frames start half a window, rather than half a transform, before their centre.
        self._lead = fft_samples // 2 - (fft_samples - window) // 2
        filters = slaney_filters(
            mels=config.dimensions,
            fft_samples=fft_samples,
            sample_rate_hz=rate,
            low_hz=settings.low_hz,
            high_hz=settings.high_hz or rate / 2,
        )
        self._spectrum = FilterbankSpectrum(
            window=np.hanning(window).astype(np.float32),
            hop_samples=self._hop,
            fft_samples=fft_samples,
            filters_BM=filters,
        )

    def frame_count(self, samples: int) -> int:
        if samples == 0:
            return 0
        return samples // self._hop + (self._pad_mode == "reflect")

    def __call__(self, waveform: Waveform) -> Features:
        frames = self.frame_count(len(waveform))
        if frames == 0:
            return self._spectrum.energies(waveform, 0)
        signal = _centred(
            _preemphasized(waveform, self._preemphasis),
            self._lead,
            self._spectrum.signal_samples(frames),
            self._pad_mode,
        )
        energies = self._spectrum.energies(signal, frames)
        energies += _NEMO_GUARD
        return np.log(energies, out=energies)


class KaldiFrontend:
    """Kaldi's fbank: samples in the 16-bit range, mean of each frame removed, pre-emphasis, povey window, natural log.

    Energies are floored at 2**-23 before the logarithm.
    """

    def __init__(self, config: FeatureConfig, *, mels: int | None = None) -> None:
        settings = config.kaldi or KaldiConfig()
        rate = config.sample_rate_hz
        self._hop = _whole_samples(config.hop_s, rate)
        self._window = _whole_samples(config.window_s, rate)
        self._snip_edges = settings.snip_edges
        self._preemphasis = np.float32(settings.preemphasis)
        fft_samples = _power_of_two(self._window)
        filters = kaldi_filters(
            mels=mels or config.dimensions,
            fft_samples=fft_samples,
            sample_rate_hz=rate,
            low_hz=settings.low_hz,
            high_hz=settings.high_hz or rate / 2,
        )
        # np.hanning ends on exact zeros, as Kaldi's does: the first sample of a frame, whose predecessor Kaldi takes
        # to be the sample itself, has no weight, and pre-emphasis may run over the whole signal at once.
        povey = np.hanning(self._window) ** 0.85 * _INT16_SCALE
        self._spectrum = FilterbankSpectrum(
            window=povey.astype(np.float32), hop_samples=self._hop, fft_samples=fft_samples, filters_BM=filters
        )

    def frame_count(self, samples: int) -> int:
        if self._snip_edges:
            return 0 if samples < self._window else 1 + (samples - self._window) // self._hop
        return (samples + self._hop // 2) // self._hop

    def __call__(self, waveform: Waveform) -> Features:
        frames = self.frame_count(len(waveform))
        return self.log_energies(self.signal(waveform, frames), frames)

    def signal(self, waveform: Waveform, frames: int) -> Waveform:
        """The samples from the start of the first frame on, as many as the transform reads."""
        if frames == 0:
            return waveform[:0]
        needed = self._spectrum.signal_samples(frames)
        lead = 0 if self._snip_edges else self._window // 2 - self._hop // 2
        return _centred(waveform, lead, needed, "symmetric")

    def log_energies(self, signal: Waveform, frames: int) -> Features:
        """ln mel energies of `frames` frames of what `signal` gave."""
        if frames == 0:
            return self._spectrum.energies(signal, 0)
        means = self._spectrum.frame_sums(signal, frames) / np.float32(self._window)
        sharpened = _preemphasized(signal, self._preemphasis)
        energies = self._spectrum.energies(sharpened, frames, subtract=(1 - self._preemphasis) * means)
        np.maximum(energies, _KALDI_FLOOR, out=energies)
        return np.log(energies, out=energies)

    def log_frame_energy(self, signal: Waveform, frames: int, floor: float) -> Float32:
        """ln of the sum of squares of each frame, its mean removed, before pre-emphasis and window."""
        exact = signal.astype(np.float64) * _INT16_SCALE
        squares = self._spectrum.frame_sums(np.square(exact), frames)
        means = self._spectrum.frame_sums(exact, frames) / self._window
        energy = np.maximum(squares - self._window * means**2, _KALDI_FLOOR)
        return np.log(np.maximum(energy, floor)).astype(np.float32)


class MfccFrontend:
    """Kaldi's MFCC: orthonormal DCT-II of the log mel energies, liftered, C0 replaced by the frame's log energy."""

    def __init__(self, config: FeatureConfig) -> None:
        self._settings = config.mfcc or MfccConfig()
        mels = self._settings.mel_bins
        self._fbank = KaldiFrontend(config, mels=mels)
        order = np.arange(config.dimensions)
        basis = np.sqrt(2.0 / mels) * np.cos(np.pi / mels * (np.arange(mels)[:, None] + 0.5) * order)
        basis[:, 0] = np.sqrt(1.0 / mels)
        if self._settings.lifter:
            basis *= 1.0 + 0.5 * self._settings.lifter * np.sin(np.pi * order / self._settings.lifter)
        self._basis = basis

    def frame_count(self, samples: int) -> int:
        return self._fbank.frame_count(samples)

    def __call__(self, waveform: Waveform) -> Features:
        frames = self.frame_count(len(waveform))
        signal = self._fbank.signal(waveform, frames)
        # In float64, whose rounding does not show in the result: equal frames give equal cepstra wherever they stand.
        cepstra: Features = (self._fbank.log_energies(signal, frames) @ self._basis).astype(np.float32)
        if frames and self._settings.use_energy:
            cepstra[:, 0] = self._fbank.log_frame_energy(signal, frames, self._settings.energy_floor)
        return cepstra


def _preemphasized(signal: Waveform, coefficient: np.float32) -> Waveform:
    """x[n] - coefficient * x[n - 1], the first sample as it is.

    Written as a difference plus a small share of the sample before: neighbours are alike, so their difference is
    nearly exact, where the product would be rounded at the size of the loud low frequencies that are to be removed.
    """
    sharpened = np.empty_like(signal)
    sharpened[:1] = signal[:1]
    np.subtract(signal[1:], signal[:-1], out=sharpened[1:])
    sharpened[1:] += (1 - coefficient) * signal[:-1]
    return sharpened


def _power_of_two(samples: int) -> int:
    return 1 << (samples - 1).bit_length()


def _centred(waveform: Waveform, lead: int, needed: int, mode: Literal["reflect", "symmetric", "constant"]) -> Waveform:
    """`needed` samples that begin `lead` samples before the waveform; what lies beyond its ends follows NumPy's `mode`.

    The fast road for the usual case; a waveform shorter than its own mirror image is mirrored repeatedly by np.pad.
    """
    samples = len(waveform)
    tail = max(0, needed - lead - samples)
    if needed == 0 or samples <= max(lead, tail):
        return np.pad(waveform, (lead, tail), mode=mode)[:needed] if needed else waveform[:0]
    signal = np.zeros(needed, np.float32)
    signal[lead : lead + samples] = waveform[: needed - lead]
    if mode != "constant":
        first = 1 if mode == "reflect" else 0  # whether the sample at the end is left out of the mirror image
        signal[:lead] = waveform[first : first + lead][::-1]
        signal[lead + samples :] = waveform[samples - first - tail : samples - first][::-1]
    return signal
