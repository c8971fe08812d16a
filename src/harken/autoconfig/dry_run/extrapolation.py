"""From a few followed steps to any other: what each storage would take, each kernel would do.

The size of a tensor is a product of dimensions. Each depends on one thing alone: the rows of the batch, the frames, the
labels, or none of them; and it is affine in that (a convolution's frames, the 2 L + 1 states of CTC). So two steps that
differ in all three by factors of their own tell how every storage of the step grows, and the order of allocations is
the same for all of them. The peak of a step that was never followed is the largest sum along that order:
no guess at which phase it falls in, and no curve fitted to peaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.autoconfig.dry_run.step import StepShape

_POWERS = (0, 1, 2)
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Growth:
    """How each of n quantities grows from its value at `origin`, all (n,).

    The quantity is `base` times a line in the rows, times powers of a line in the frames and of one in the labels. The
    lines are 1 at `origin` and given by their slopes. What is in proportion to the positions of the model's output
    follows these, of which `positions` are those of `origin`: they are whole, and short audio has few.
    """

    origin: StepShape
    positions: int
    by_position: npt.NDArray[np.bool_]
    base: Values
    by_batch: Values
    by_frames: Values
    frames_power: Values
    by_tokens: Values
    tokens_power: Values

    def at(self, shape: StepShape, positions: int) -> Values:
        """(n,) the quantities of a step of this shape, whose frames make so many positions of the output."""
        rows = 1 + self.by_batch * (shape.batch - self.origin.batch)
        frames = 1 + self.by_frames * (shape.frames - self.origin.frames)
        frames = np.where(self.by_position, positions / self.positions, frames)
        tokens = 1 + self.by_tokens * (shape.tokens - self.origin.tokens)
        grown = self.base * rows * np.maximum(frames, 0) ** self.frames_power
        return np.maximum(grown * np.maximum(tokens, 0) ** self.tokens_power, 0)


def fit_growth(
    shapes: tuple[StepShape, StepShape], positions: tuple[int, int], values: Sequence[npt.NDArray[np.int64]]
) -> Growth:
    """The growth that two steps show which differ in rows, in frames (unless these are always as many) and in labels.

    The three grow by factors whose products cannot be mistaken for each other, lines that miss the origin included.
    `positions` are those of the model's output.
    """
    origin, other = shapes
    base = values[0].astype(np.float64)
    ratio = np.where(base > 0, values[1] / np.where(base > 0, base, 1.0), 1.0)
    factors = (other.batch / origin.batch, other.frames / origin.frames, other.tokens / origin.tokens)
    rows, frames_power, tokens_power = _nearest(ratio, factors)
    # What rows do not explain is due to lines in the others; where both are in it, frames grow in proportion.
    left = ratio / np.where(rows, factors[0], 1.0)
    both = (frames_power > 0) & (tokens_power > 0)
    by_frames = np.where(both, factors[1], _root(left, frames_power))
    in_positions = (frames_power > 0) & np.isclose(left, (positions[1] / positions[0]) ** frames_power, rtol=1e-9)
    by_tokens = _root(left / np.where(both, factors[1] ** frames_power, 1.0), tokens_power)
    # What changes by less than any power is a line in the rows: a sum with a part that stays.
    neither = (frames_power == 0) & (tokens_power == 0)
    by_batch = np.where(neither, ratio, np.where(rows, factors[0], 1.0))
    return Growth(
        origin=origin,
        positions=positions[0],
        by_position=in_positions,
        base=base,
        by_batch=(by_batch - 1) / (other.batch - origin.batch),
        by_frames=np.where(frames_power > 0, by_frames - 1, 0.0) / max(1, other.frames - origin.frames),
        frames_power=frames_power,
        by_tokens=np.where(tokens_power > 0, by_tokens - 1, 0.0) / (other.tokens - origin.tokens),
        tokens_power=tokens_power,
    )


def _root(ratio: Values, power: Values) -> Values:
    rooted: Values = ratio ** (1 / np.maximum(power, 1))
    return rooted


def _nearest(ratio: Values, factors: tuple[float, float, float]) -> tuple[npt.NDArray[np.bool_], Values, Values]:
    """For each ratio whether rows are in it, and the powers of frames and labels, that come nearest on a log scale."""
    rows, frames, tokens = factors
    of_frames = _POWERS if frames > 1 else (0,)
    choices = [(i, j, k) for i in (0, 1) for j in of_frames for k in _POWERS]
    expected = np.log([rows**i * frames**j * tokens**k for i, j, k in choices])
    best = np.abs(np.log(np.maximum(ratio, 1e-9))[:, None] - expected).argmin(1)
    powers = np.array(choices, dtype=np.float64)[best]
    return powers[:, 0] > 0, powers[:, 1], powers[:, 2]
