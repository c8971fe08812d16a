"""The one resampler: soxr at high quality."""

from harken.core import Waveform


def resample(waveform: Waveform, *, from_hz: int, to_hz: int) -> Waveform:
    """A waveform (samples,) float32 at another sample rate, band-limited to the lower of the two.

    The result has round(samples * to_hz / from_hz) samples (soxr's rule) and no delay. Equal rates give the same
    array back. Raises ValueError for a rate that is not above 0.
    """
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"from_hz is {from_hz} and to_hz {to_hz}; use rates above 0")
    if from_hz == to_hz or not len(waveform):
        return waveform
    import soxr

    converted: Waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    return converted
