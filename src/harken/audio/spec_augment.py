"""Augmentation of features: vocal-tract length and masks."""

import numpy as np

from harken.audio.augment_config import SpecAugmentConfig, VocalTractConfig
from harken.audio.mel import Float32, Float64, hz_to_mel_htk
from harken.core import Features


def warp_vocal_tract(features: Features, factor: float, config: VocalTractConfig) -> Features:
    """Log-mel features (frames, mels) as from a vocal tract `factor` times shorter: peaks move up by that factor.

    What was at f hertz moves to warp(f), the piecewise linear map of Jaitly and Hinton (2013, equation 1). Their
    warp moves the centres of the filters; here the same map reads between neighbouring filters of features that are
    already there (linear interpolation of the log energies), which costs a product with one small matrix.
    """
    return features @ _warp_matrix(features.shape[1], factor, config)


def mask_features(features: Features, config: SpecAugmentConfig, *, generator: np.random.Generator) -> Features:
    """A copy of features (frames, dimensions) with stretches of frequency and of time filled."""
    frames, dimensions = features.shape
    masked = features.copy()
    fill = features.mean() if config.fill == "mean" and features.size else np.float32(0.0)
    for _ in range(config.frequency_masks):
        first, end = _draw_span(config.frequency_width, dimensions, generator)
        masked[:, first:end] = fill
    widest = min(config.time_width, int(config.time_share * frames))
    for _ in range(config.time_masks):
        first, end = _draw_span(widest, frames, generator)
        masked[first:end] = fill
    return masked


def _draw_span(widest: int, length: int, generator: np.random.Generator) -> tuple[int, int]:
    """A span [first, end) inside `length`, 0 to `widest` long, both uniform."""
    width = int(generator.integers(min(widest, length) + 1))
    first = int(generator.integers(length - width + 1))
    return first, first + width


def _warp_matrix(mels: int, factor: float, config: VocalTractConfig) -> Float32:
    """(mels, mels): column m holds the weights of the two filters between which new filter m reads."""
    low, high = hz_to_mel_htk(config.low_hz), hz_to_mel_htk(config.high_hz)
    step = (high - low) / (mels + 1)
    centres_hz = 700.0 * np.expm1((low + step * np.arange(1, mels + 1)) / 1127.0)
    read_mel = hz_to_mel_htk(_unwarp(centres_hz, factor, config))
    position = np.clip((read_mel - low) / step - 1, 0, mels - 1)
    below = np.minimum(position.astype(np.intp), max(mels - 2, 0))
    share = position - below
    matrix = np.zeros((mels, mels), np.float32)
    columns = np.arange(mels)
    matrix[below, columns] = 1 - share
    if mels > 1:
        matrix[below + 1, columns] = share
    return matrix


def _unwarp(hz: Float64, factor: float, config: VocalTractConfig) -> Float64:
    """Inverse of the warp: the frequency that moves to `hz`."""
    knee_after = config.knee_hz * min(factor, 1.0)
    knee_before = knee_after / factor
    slope = (config.high_hz - knee_before) / (config.high_hz - knee_after)
    return np.where(hz <= knee_after, hz / factor, config.high_hz - slope * (config.high_hz - hz))
