"""Loudness as ITU-R BS.1770-5 defines it: K-weighted, gated, in LUFS."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harken.core import Waveform

_BLOCK_STEPS = 4  # blocks of 400 ms, each 100 ms after the one before
_STEP_S = 0.1
_OFFSET_DB = -0.691
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_LOWEST_RATE_HZ = 4_000
"""Below it the weighting's high shelf (1.7 kHz) has no room."""


def integrated_loudness(waveform: Waveform, *, sample_rate_hz: int) -> float | None:
    """Loudness in LUFS of one channel, (samples,) in [-1, 1].

    None for less than 400 ms, where no block above the absolute gate (-70 LUFS) is left, and below 4 kHz. A full-scale
    sine of 997 Hz reads -3.01, as the recommendation says.
    """
    edges = np.round(np.arange(len(waveform) / sample_rate_hz // _STEP_S + 2) * _STEP_S * sample_rate_hz).astype(int)
    edges = edges[edges <= len(waveform)]
    if len(edges) <= _BLOCK_STEPS or sample_rate_hz < _LOWEST_RATE_HZ:
        return None
    from scipy.signal import sosfilt

    weighted = sosfilt(_k_weighting(sample_rate_hz), waveform[: edges[-1]])
    sums = np.add.reduceat(np.square(weighted, out=weighted), edges[:-1])
    blocks = np.convolve(sums, np.ones(_BLOCK_STEPS), "valid") / (edges[_BLOCK_STEPS:] - edges[:-_BLOCK_STEPS])
    loud = blocks[blocks > _power(_ABSOLUTE_GATE_LUFS)]
    if not len(loud):
        return None
    # The louder blocks' own mean is above its gate, so at least one block is left.
    gated = loud[loud > loud.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return _OFFSET_DB + 10 * math.log10(float(gated.mean()))


def _power(lufs: float) -> float:
    """Mean square of a K-weighted block of that loudness."""
    return float(10 ** ((lufs - _OFFSET_DB) / 10))


@lru_cache(maxsize=16)
def _k_weighting(sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """(2, 6) second-order sections: a high shelf for the head, then a high pass (revised low-frequency B-curve).

    The recommendation prints coefficients for 48 kHz only. The analogue parameters behind them, which give the filter
    at every rate, are those of B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", 2018.
    """
    k = math.tan(math.pi * 1681.974450955533 / sample_rate_hz)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    scale = 1 + k / q + k * k
    shelf = [
        (high + middle * k / q + k * k) / scale,
        2 * (k * k - high) / scale,
        (high - middle * k / q + k * k) / scale,
        1.0,
        2 * (k * k - 1) / scale,
        (1 - k / q + k * k) / scale,
    ]
    k = math.tan(math.pi * 38.13547087602444 / sample_rate_hz)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    return np.array([shelf, [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]])
