"""Seconds of audio as the frames a model reads."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """How long a model's input is.

    `per_s` are its frames for each second (samples, for models that hear those), `subsampling` the frames of a position
    of its output, `positions` how many an input of so many frames has. `window` is the length of every input where
    that is fixed.
    """

    per_s: float
    subsampling: int
    positions: Callable[[int], int]
    window: int | None = None

    def at_position(self, position: int) -> int:
        """The fewest frames with so many positions of the output; the window where there is one.

        Lengths that are given by this differ by whole positions, so that what grows with them grows on a line.
        """
        if self.window is not None:
            return self.window
        low, high = 0, (position + 1) * self.subsampling  # the first has too few positions
        while self.positions(high) < position:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.positions(middle) >= position else (middle, high)
        return high

    def of(self, duration_s: float) -> tuple[int, int]:
        """Frames of audio, one of its output's positions at least, and these positions."""
        if self.window is not None:
            return self.window, 1
        frames = math.ceil(duration_s * self.per_s)
        positions = self.positions(frames)
        return (frames, positions) if positions > 0 else (self.at_position(1), 1)
