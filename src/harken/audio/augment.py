"""Augmentation of waveforms and features.

All randomness comes from the generator that is passed in. Callers make it with `core.keyed_generator(seed, epoch,
id)`, so an utterance is augmented the same way whatever the order and whoever the worker.
"""

import numpy as np

from harken.audio.augment_config import (
    AugmentConfig,
    NoiseConfig,
    NoiseKind,
    PitchConfig,
    SpecAugmentConfig,
    SpeedConfig,
    VocalTractConfig,
)
from harken.audio.noise import add_noise, draw_noise
from harken.audio.pitch import shift_pitch
from harken.audio.spec_augment import mask_features, warp_vocal_tract
from harken.core import Features, Waveform

__all__ = [
    "AugmentConfig",
    "NoiseConfig",
    "NoiseKind",
    "PitchConfig",
    "SpecAugmentConfig",
    "SpeedConfig",
    "VocalTractConfig",
    "augment_features",
    "augment_waveform",
    "change_speed",
    "draw_speed",
]


def augment_waveform(
    waveform: Waveform, config: AugmentConfig, *, sample_rate_hz: int, generator: np.random.Generator
) -> Waveform:
    """Speed, then pitch, then noise, each as `config` says; (samples,) float32 in, another length out after speed.

    The argument is not changed; it is returned itself when no augmentation is drawn. Where the sum with noise would
    leave [-1, 1] the whole mix is scaled down to a peak of 1, which keeps its signal-to-noise ratio.
    """
    waveform = change_speed(waveform, draw_speed(config, generator=generator), sample_rate_hz=sample_rate_hz)
    if config.pitch is not None and _happens(config.pitch.probability, generator):
        semitones = generator.uniform(-config.pitch.semitones, config.pitch.semitones)
        waveform = shift_pitch(waveform, semitones, sample_rate_hz=sample_rate_hz)
    if config.noise is not None and _happens(config.noise.probability, generator):
        noise = draw_noise(len(waveform), config.noise, sample_rate_hz=sample_rate_hz, generator=generator)
        snr_db = generator.uniform(*config.noise.snr_db)
        waveform = add_noise(waveform, noise, snr_db=snr_db, sample_rate_hz=sample_rate_hz)
    return waveform


def augment_features(features: Features, config: AugmentConfig, *, generator: np.random.Generator) -> Features:
    """Vocal-tract warp, then masks, each as `config` says; (frames, dimensions) float32 in and out.

    The argument is not changed; it is returned itself when no augmentation is drawn. The warp is meant for log-mel
    features only.
    """
    vocal_tract, masks = config.vocal_tract, config.spec_augment
    if vocal_tract is not None and _happens(vocal_tract.probability, generator):
        features = warp_vocal_tract(features, generator.uniform(*vocal_tract.factors), vocal_tract)
    if masks is not None and _happens(masks.probability, generator):
        features = mask_features(features, masks, generator=generator)
    return features


def draw_speed(config: AugmentConfig, *, generator: np.random.Generator) -> float:
    """The speed factor `augment_waveform` would use: its first draw, so an equally keyed generator foretells it.

    The augmented utterance lasts `1 / factor` times as long.
    """
    if config.speed is None or not _happens(config.speed.probability, generator):
        return 1.0
    return config.speed.factors[int(generator.integers(len(config.speed.factors)))]


def change_speed(waveform: Waveform, factor: float, *, sample_rate_hz: int) -> Waveform:
    """Play a waveform `factor` times as fast: duration divided, every frequency multiplied by it."""
    from harken.audio.resample import resample

    played_hz = round(sample_rate_hz * factor)
    if played_hz == sample_rate_hz or len(waveform) == 0:
        return waveform
    return resample(waveform, from_hz=played_hz, to_hz=sample_rate_hz)


def _happens(probability: float, generator: np.random.Generator) -> bool:
    """Draws even where the answer is certain, so that a probability changes nothing but how often."""
    return bool(generator.random() < probability)
