"""What a stream has still to hear, in pieces of one turn."""

from collections import deque
from enum import Enum

import numpy as np

from harken.core import Waveform

_BYTES = 4  # of a float32


class Mark(Enum):
    """What is to be done between two pieces of audio."""

    FLUSH = "flush"
    FINISH = "finish"


class Backlog:
    """Audio and marks in order. Messages of any size become pieces of `chunk_samples`, so that a thousand messages of
    one sample take the memory of one of a thousand."""

    def __init__(self, chunk_samples: int) -> None:
        self._chunk_bytes = chunk_samples * _BYTES
        self._items: deque[bytearray | Mark] = deque()
        self.samples = 0
        self.marks = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, waveform: Waveform) -> None:
        """More audio (samples,) float32."""
        self.samples += len(waveform)
        waiting = memoryview(waveform.astype(np.float32, copy=False).tobytes())
        while len(waiting):
            last = self._items[-1] if self._items else None
            if not isinstance(last, bytearray) or len(last) >= self._chunk_bytes:
                last = bytearray()
                self._items.append(last)
            room = self._chunk_bytes - len(last)
            last += waiting[:room]
            waiting = waiting[room:]

    def mark(self, mark: Mark) -> None:
        self.marks += 1
        self._items.append(mark)

    def take(self) -> Waveform | Mark:
        """The next piece, at most `chunk_samples` long, or mark. Raises IndexError where there is none."""
        item = self._items.popleft()
        if isinstance(item, Mark):
            self.marks -= 1
            return item
        self.samples -= len(item) // _BYTES
        return np.frombuffer(item, np.float32)

    def clear(self) -> None:
        self._items.clear()
        self.samples = self.marks = 0
