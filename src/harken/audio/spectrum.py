"""From a signal to filterbank energies: framing, windowing, Fourier transform, power, filters.

Two things make it fast. Frames are the *last* axis throughout, so that windowing, power and the transform itself
(pocketfft runs several columns in one SIMD register) work on contiguous rows; frames overlap, so the signal is
transposed once, in pieces of one hop, and every frame is assembled from rows of that. And blocks of frames pass
through buffers that are kept: fresh ones cost more in page faults than the arithmetic does.
"""

import threading
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from harken.audio.mel import BandedFilters, Float32

Sample = TypeVar("Sample", np.float32, np.float64)

# B bins of the power spectrum, F frames, M mels

_BLOCK_FRAMES = 250
"""Frames transformed at a time. Their buffers fit a second-level cache, and the length of a row is not a multiple of
4 KiB, which would make the columns of a power-of-two transform compete for the same cache lines (measured: 1.3 to 2.5
times slower at 512 and 1024 frames)."""


class FilterbankSpectrum:
    """Filterbank energies of the frames of a signal.

    Frame f covers `signal[f * hop : f * hop + len(window)]`, multiplied by the window and padded with zeros to the
    transform's (even) length. Buffers are per thread, so threads may share one.
    """

    def __init__(self, *, window: Float32, hop_samples: int, fft_samples: int, filters_BM: Float32) -> None:
        self._window = np.ascontiguousarray(window, np.float32)[:, None]
        self._hop = hop_samples
        self._fft_samples = fft_samples
        self._filters = BandedFilters(filters_BM)
        self._pieces = -(-len(window) // hop_samples)
        self._buffers = threading.local()

    def signal_samples(self, frames: int) -> int:
        """Length the signal must have, trailing padding included, to give that many frames."""
        return (frames + self._pieces - 1) * self._hop if frames else 0

    def energies(self, signal: Float32, frames: int, *, subtract: Float32 | None = None) -> Float32:
        """Energies (frames, mels) of a signal of `signal_samples(frames)` samples.

        `subtract` (frames,) is taken off every sample of its frame before the window is applied.
        """
        from scipy import fftpack

        out_FM = np.empty((frames, self._filters.mels), np.float32)
        if frames == 0:
            return out_FM
        blocks = -(-frames // _BLOCK_FRAMES)
        step = -(-frames // blocks)
        for first in range(0, frames, step):
            count = min(step, frames - first)
            offsets = None if subtract is None else subtract[first : first + count]
            framed = self._windowed(signal[first * self._hop :], count, offsets)
            # scipy.fft has no real transform in place; this one packs it as re 0, re 1, im 1, re 2, im 2, ..., re n/2.
            packed = np.asarray(fftpack.rfft(framed, axis=0, overwrite_x=True), np.float32)
            self._filters.product(self._power(packed), out_FM[first : first + count])
        return out_FM

    def frame_sums(self, signal: npt.NDArray[Sample], frames: int) -> npt.NDArray[Sample]:
        """Sum of the samples of every frame, (frames,) in the signal's precision, before any window."""
        hops = signal[: self.signal_samples(frames)].reshape(-1, self._hop)
        whole, rest = divmod(len(self._window), self._hop)
        hop_sums = hops.sum(axis=1)
        sums = np.zeros(frames, signal.dtype)
        for piece in range(whole):
            sums += hop_sums[piece : piece + frames]
        if rest:
            sums += hops[whole : whole + frames, :rest].sum(axis=1)
        return sums

    def _windowed(self, signal: Float32, count: int, offsets: Float32 | None) -> Float32:
        """(fft_samples, count): windowed frames as columns, zeros below the window."""
        hop, window = self._hop, len(self._window)
        hops = count + self._pieces - 1
        rows = self._buffer("rows", hop, hops)
        np.copyto(rows, signal[: hops * hop].reshape(hops, hop).T)
        framed = self._buffer("framed", self._fft_samples, count)
        framed[window:] = 0.0
        for piece in range(self._pieces):
            first = piece * hop
            end = min(first + hop, window)
            source = rows[: end - first, piece : piece + count]
            target = framed[first:end]
            if offsets is not None:
                source = np.subtract(source, offsets, out=target)
            np.multiply(source, self._window[first:end], out=target)
        return framed

    def _power(self, packed: Float32) -> Float32:
        """Squared magnitudes (bins, frames) of a packed spectrum, which is overwritten."""
        power_BF = self._buffer("power", self._fft_samples // 2 + 1, packed.shape[1])
        np.square(packed, out=packed)
        power_BF[0] = packed[0]
        np.add(packed[1:-1:2], packed[2:-1:2], out=power_BF[1:-1])
        power_BF[-1] = packed[-1]
        return power_BF

    def _buffer(self, name: str, rows: int, columns: int) -> Float32:
        """This thread's buffer of that name, as a contiguous (rows, columns)."""
        kept: Float32 | None = getattr(self._buffers, name, None)
        if kept is None or kept.size < rows * columns:
            kept = np.empty(rows * columns, np.float32)
            setattr(self._buffers, name, kept)
        return kept[: rows * columns].reshape(rows, columns)
