"""Samples that come in pieces, read by position."""

from collections.abc import Iterable

import numpy as np

from harken.core import Waveform


class SampleStream:
    """Of what has been read, the samples before the last `drop` are forgotten."""

    def __init__(self, pieces: Iterable[Waveform]) -> None:
        self._pieces = iter(pieces)
        self._held = np.zeros(0, np.float32)
        self._first = 0  # position of the first that is held
        self._ended = False

    def read(self, start: int, count: int) -> Waveform:
        """`count` samples from `start` on, fewer at the end of the audio; `start` is not before the last `drop`."""
        parts, missing = [self._held], start + count - self._first - len(self._held)
        while missing > 0 and not self._ended:
            piece = next(self._pieces, None)
            self._ended = piece is None
            if piece is not None:
                parts.append(piece)
                missing -= len(piece)
        filled = [part for part in parts if len(part)]
        if len(parts) > 1 and filled:
            self._held = np.concatenate(filled) if len(filled) > 1 else filled[0]
        offset = start - self._first
        return self._held[offset : offset + count]

    def drop(self, before: int) -> None:
        """Forget the samples before `before`."""
        gone = min(max(0, before - self._first), len(self._held))
        self._held, self._first = self._held[gone:], self._first + gone

    def length(self) -> int:
        """Samples of the whole audio. Reads to its end, and forgets all of it."""
        while True:
            end = self._first + len(self._held)
            self.drop(end)
            if not len(self.read(end, 1)):
                return end
