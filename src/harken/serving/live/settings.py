"""Settings of live streams."""

import math
from dataclasses import dataclass, field

from harken.core import Strict
from harken.inference.streaming import StreamingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings(Strict):
    """How many streams are heard, and how much of each may wait."""

    streams: int = 64  # at once; more are refused
    threads: int = 2  # that streams share
    chunk_s: float = 0.5  # audio of one turn
    backlog_s: float = 10.0  # audio of one stream that may wait; whoever sends more waits
    patience_s: float = 60.0  # the longest such wait without any progress
    waiting_events: int = 256  # events that a client has not read before its stream pauses
    longest_s: float = 14_400.0  # audio of one stream
    streaming: StreamingConfig = field(default_factory=StreamingConfig)

    def __post_init__(self) -> None:
        for name in ("streams", "threads", "waiting_events"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")
        for name in ("chunk_s", "backlog_s", "patience_s", "longest_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} is {seconds}; use seconds above 0, a finite number")
        if self.chunk_s > self.backlog_s:
            raise ValueError(f"chunk_s is {self.chunk_s}; use at most backlog_s ({self.backlog_s})")
