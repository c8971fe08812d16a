"""What turns audio into output frames on a stream."""

from dataclasses import dataclass
from typing import Any, Protocol

from harken.core import Waveform
from harken.inference.scoring import LogProbs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """Log probabilities (T, V): `final_TV` follow the final ones before, `ahead_TV` come after them and are not final.

    `ahead_TV` is None where nothing new is known about what lies ahead.
    """

    final_TV: LogProbs
    ahead_TV: LogProbs | None = None


class FrameSource(Protocol):
    """Audio in pieces to output frames, as a pure step; `State` is the source's own."""

    @property
    def frame_s(self) -> float:
        """Seconds from one output frame to the next."""
        ...

    @property
    def latency_s(self) -> float:
        """The longest that a sound waits for the final scores of its frame, computing aside."""
        ...

    def start(self) -> Any: ...

    def step(self, state: Any, waveform: Waveform) -> tuple[Any, Frames]: ...

    def finish(self, state: Any) -> tuple[Any, Frames]: ...
