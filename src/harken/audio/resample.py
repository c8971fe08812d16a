"""Change of sample rate by soxr (band-limited, linear phase), at once or in pieces with the same result."""

from typing import TYPE_CHECKING

import numpy as np

from harken.core import Waveform

if TYPE_CHECKING:
    import soxr

_QUALITY = "HQ"  # 20-bit precision: aliases and images below -120 dB, pass band to 0.91 of the lower Nyquist frequency


def resample(waveform: Waveform, *, from_hz: int, to_hz: int) -> Waveform:
    """`waveform` (samples,) float32 at `from_hz`, as (resampled_samples(...),) float32 at `to_hz`.

    Everything above the lower of the two Nyquist frequencies is removed, not folded back. Sample 0 stays sample 0: the
    filter adds no delay. Full-scale edges may ring a little beyond [-1, 1]. Equal rates give the same array back.
    Raises ValueError for a rate below 1 or an array that is not one-dimensional.
    """
    _check(waveform, from_hz, to_hz)
    if from_hz == to_hz:
        return waveform
    if len(waveform) == 0:
        return np.zeros(0, dtype=np.float32)
    import soxr

    converted: Waveform = soxr.resample(waveform.astype(np.float32, copy=False), from_hz, to_hz, quality=_QUALITY)
    return converted


def resampled_samples(samples: int, *, from_hz: int, to_hz: int) -> int:
    """Length of `resample`'s result: samples * to_hz / from_hz, rounded to the nearest, halves up."""
    return (2 * samples * to_hz + from_hz) // (2 * from_hz)


class StreamResampler:
    """`resample` for a signal that arrives in pieces; all the results together equal one call, sample for sample."""

    def __init__(self, *, from_hz: int, to_hz: int) -> None:
        _check(np.zeros(0, dtype=np.float32), from_hz, to_hz)
        self._from_hz, self._to_hz = from_hz, to_hz
        self._stream: soxr.ResampleStream | None = None

    def push(self, waveform: Waveform) -> Waveform:
        """What can be told of the result after `waveform` (samples,) float32; later pieces complete it."""
        return self._convert(waveform, last=False)

    def finish(self) -> Waveform:
        """The rest of the result; the resampler cannot be used after it."""
        return self._convert(np.zeros(0, dtype=np.float32), last=True)

    def _convert(self, waveform: Waveform, *, last: bool) -> Waveform:
        if self._from_hz == self._to_hz:
            return waveform
        if self._stream is None:
            import soxr

            self._stream = soxr.ResampleStream(self._from_hz, self._to_hz, 1, dtype="float32", quality=_QUALITY)
        converted: Waveform = self._stream.resample_chunk(waveform.astype(np.float32, copy=False), last=last)
        return converted


def _check(waveform: Waveform, from_hz: int, to_hz: int) -> None:
    if from_hz < 1 or to_hz < 1:
        raise ValueError(f"the rates are {from_hz} and {to_hz} Hz; use whole numbers above 0")
    if waveform.ndim != 1:
        raise ValueError(f"waveform has the shape {waveform.shape}; use one channel, (samples,)")
