"""What every reader has in common: the facts of a stream, blocks of float32, and the scaling of integers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""(channels, samples) float32 in [-1, 1]."""

BLOCK_NUMBERS = 1 << 20
"""Samples times channels in one block at most: 4 MiB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a reader knows once a file is open. `frames` (samples per channel) is a claim, None where none is made."""

    sample_rate_hz: int
    channels: int
    format: str
    codec: str
    frames: int | None


class BlockReader(Protocol):
    """One audio stream, open for reading. `exact` is True when its samples are integers, so in range and finite."""

    facts: StreamFacts
    exact: bool

    def blocks(self, start: int, stop: int | None) -> Iterator[Samples]:
        """Samples [start, stop) as blocks (channels, samples) in order; stop None is the end of the stream."""
        ...

    def duration_s(self) -> float:
        """Length of the stream in seconds, without decoding it."""
        ...

    def close(self) -> None: ...


def to_float(samples: npt.NDArray[Any]) -> Samples:
    """Samples of any integer or float type as float32; integers are scaled so that full scale is [-1, 1)."""
    values = samples.astype(np.float32)
    kind = samples.dtype
    if kind.kind == "u":  # 8-bit audio is unsigned, with silence at 128
        values -= np.float32(1 << (8 * kind.itemsize - 1))
    if kind.kind in "iu":
        values *= np.float32(2.0 ** (1 - 8 * kind.itemsize))
    return values
