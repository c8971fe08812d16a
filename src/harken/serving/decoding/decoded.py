"""Decoded samples in a file: a WAV of 32-bit floats, so that engines can read it a piece at a time."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harken.core import Waveform
from harken.core.units import samples_to_seconds

HEADER_BYTES = 44
_SAMPLE_BYTES = 4
_FLOAT_FORMAT = 3  # WAVE_FORMAT_IEEE_FLOAT
MOST_SAMPLES = (2**32 - HEADER_BYTES) // _SAMPLE_BYTES - 1
"""What the 32-bit sizes of a WAV can say: 18 hours at 16 kHz."""


def write_samples(file: BinaryIO, pieces: Iterable[Waveform], *, sample_rate_hz: int) -> int:
    """Writes mono pieces as they come, then the header in front of them; returns the number of samples.

    Raises ValueError for more than `MOST_SAMPLES`.
    """
    file.write(bytes(HEADER_BYTES))
    samples = 0
    for piece in pieces:
        samples += len(piece)
        if samples > MOST_SAMPLES:
            raise ValueError(f"samples is {samples}; a WAV holds at most {MOST_SAMPLES}")
        file.write(np.ascontiguousarray(piece, dtype="<f4").data)
    file.seek(0)
    file.write(_header(samples, sample_rate_hz))
    return samples


def _header(samples: int, rate: int) -> bytes:
    size = samples * _SAMPLE_BYTES
    form = struct.pack("<HHIIHH", _FLOAT_FORMAT, 1, rate, rate * _SAMPLE_BYTES, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES)
    return (
        b"RIFF"
        + struct.pack("<I", HEADER_BYTES - 8 + size)
        + b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + (b"data" + struct.pack("<I", size))
    )


class DecodedAudio:
    """Samples of one upload at one rate, in a file of their own that `close` removes."""

    def __init__(self, path: Path, *, samples: int, sample_rate_hz: int, decode_s: float = 0.0) -> None:
        """`decode_s` is what decoding took."""
        self.path, self.samples, self.sample_rate_hz, self.decode_s = path, samples, sample_rate_hz, decode_s
        self._waveform: Waveform | None = None

    @property
    def duration_s(self) -> float:
        return samples_to_seconds(self.samples, sample_rate_hz=self.sample_rate_hz)

    @property
    def waveform(self) -> Waveform:
        """(samples,) float32, mapped into memory as it is read. It may be used after `close`."""
        if self._waveform is None:
            mapped = np.memmap(self.path, dtype="<f4", mode="r", offset=HEADER_BYTES, shape=(self.samples,))
            self._waveform = mapped.view(np.ndarray)
        return self._waveform

    def close(self) -> None:
        """Removes the file; the second time does nothing."""
        self.path.unlink(missing_ok=True)
        self._waveform = None
