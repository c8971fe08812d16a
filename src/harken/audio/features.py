"""Acoustic features: what a model hears of a waveform. NumPy and SciPy only.

Computed in float32, whose rounding is about 1e-7 of the largest amplitude in a frame's spectrum. Log energies therefore
agree with a float64 computation to 1e-4 where a filter is within about 50 dB of the loudest one of its frame, and less
closely below (in a recording without content above 4 kHz, say), as they do in the reference implementations.
"""

import hashlib
import logging

import numpy as np

from harken.audio.feature_config import (
    FeatureConfig,
    FeatureKind,
    KaldiConfig,
    MfccConfig,
    NemoConfig,
    Normalization,
)
from harken.audio.frontends import build_frontend
from harken.core import Features, InputError, Waveform, keyed_generator

__all__ = [
    "FeatureConfig",
    "FeatureExtractor",
    "FeatureKind",
    "KaldiConfig",
    "MfccConfig",
    "NemoConfig",
    "Normalization",
    "check_features",
    "check_waveform",
    "normalize_features",
]

_log = logging.getLogger(__name__)

_SCALE_GUARD = np.float32(1e-7)  # on the variance, as Wav2Vec2's feature extractor has it
_PER_FEATURE_GUARD = np.float32(1e-5)  # on the deviation, as NeMo has it


class FeatureExtractor:
    """Turns waveforms into features; windows and filters are computed once, when it is made.

    Stateless afterwards, so one extractor may serve any number of threads. Equal input gives equal bits.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._frontend = build_frontend(config)
        _log.info(
            "features: kind %s, %d dimensions, one frame every %g ms at %d Hz, normalisation %s",
            config.kind, config.dimensions, self.hop_s * 1000, config.sample_rate_hz, config.normalize,
        )  # fmt: skip

    def __reduce__(self) -> tuple[type["FeatureExtractor"], tuple[FeatureConfig]]:
        return type(self), (self.config,)  # worker processes compute their own filters; buffers stay behind

    @property
    def dimensions(self) -> int:
        """Width of the features: mels, coefficients, or 1 for a waveform."""
        return self.config.dimensions

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return 1 / self.config.sample_rate_hz if self.config.kind == "waveform" else self.config.hop_s

    def frame_count(self, samples: int) -> int:
        """Exactly the number of frames that a waveform of that many samples gives; 0 where it is too short for one."""
        if samples < 0:
            raise ValueError(f"samples is {samples}; use 0 or more")
        return self._frontend.frame_count(samples)

    def __call__(self, waveform: Waveform, *, generator: np.random.Generator | None = None) -> Features:
        """Features (frame_count(samples), dimensions) float32 of a waveform (samples,) float32 in [-1, 1].

        `generator` draws the dither, if the settings ask for any; without it the noise is keyed by the samples
        themselves, so that the same audio always gives the same features. Raises InputError for an array that is
        not one-dimensional float32, or that holds NaN or infinity.
        """
        check_waveform(waveform)
        if self.config.dither and len(waveform):
            noise = (generator or _generator_for(waveform)).standard_normal(len(waveform), dtype=np.float32)
            waveform = waveform + np.float32(self.config.dither) * noise
        return normalize_features(self._frontend(waveform), self.config.normalize)


def normalize_features(features: Features, normalization: Normalization) -> Features:
    """Features normalised over one utterance, (frames, dimensions) float32; see FeatureConfig. May reuse its argument.

    A dimension that never changes (digital silence, a single frame) becomes zeros.
    """
    if normalization == "none" or len(features) == 0:
        return features
    # Differences from the first frame are exact zeros for a constant, which a rounded mean would not leave behind.
    features -= features[0].copy()
    features -= features.mean(axis=0)
    if normalization == "mean-scale":
        variance = np.vdot(features, features) / np.float32(features.size)
        features /= np.sqrt(variance + _SCALE_GUARD)
    elif normalization == "per-feature":
        deviation = np.sqrt(np.square(features).sum(axis=0) / np.float32(max(1, len(features) - 1)))
        features /= deviation + _PER_FEATURE_GUARD
    return features


def check_waveform(waveform: Waveform) -> None:
    """Raise InputError unless `waveform` is (samples,) float32 and finite."""
    if not isinstance(waveform, np.ndarray):
        raise InputError(f"The waveform is a {type(waveform).__name__}.", hint="Pass a NumPy array (samples,) float32.")
    if waveform.ndim != 1:
        raise InputError(
            f"The waveform has shape {waveform.shape}; features need (samples,).",
            hint="Mix the channels to mono first, or pass them one at a time.",
        )
    if waveform.dtype != np.float32:
        raise InputError(
            f"The waveform is {waveform.dtype}; features need float32 in [-1, 1].",
            hint="Divide integers by their full scale (32768 for int16) and convert with .astype(np.float32).",
        )
    # One pass over the samples: the sum of squares is finite unless a sample is not, or is beyond 1e19.
    if not np.isfinite(np.dot(waveform, waveform)) and not (finite := np.isfinite(waveform)).all():
        first = int(np.argmin(finite))
        raise InputError(
            f"The waveform holds {int((~finite).sum())} samples that are NaN or infinite, the first at {first}.",
            hint="Decode the audio again, or leave the recording out.",
        )


def check_features(features: Features, *, dimensions: int) -> None:
    """Raise InputError unless `features` is (frames, dimensions) float32; for features that come from elsewhere."""
    if features.ndim != 2 or features.shape[1] != dimensions:
        raise InputError(
            f"The features have shape {features.shape}; the model needs (frames, {dimensions}).",
            hint="Extract them with the model's own feature settings.",
        )
    if features.dtype != np.float32:
        raise InputError(f"The features are {features.dtype}.", hint="Convert them with .astype(np.float32).")


def _generator_for(waveform: Waveform) -> np.random.Generator:
    digest = hashlib.blake2b(np.ascontiguousarray(waveform).tobytes(), digest_size=16).hexdigest()
    return keyed_generator("dither", digest)
