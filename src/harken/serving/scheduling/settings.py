"""Settings of the queue of one model."""

import math
from dataclasses import dataclass

from harken.core import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings(Strict):
    """How much may wait for a model, and what shares a pass.

    A pass takes waiting audio of one kind of answer (equal options) whose lengths differ by `stretch` at most. It waits
    up to `max_wait_s` for audio that is still being decoded, never where there is none. Audio beyond the model's window
    has a lane of its own, where `long_at_once` files take turns of `turn_s`. None is what suits the recognizer: on a
    CPU as many passes as it has cores for, which do not wait, else one that waits 0.03 s.
    """

    max_requests: int = 64  # decoding or waiting
    max_audio_s: float = 14_400.0  # waiting; one file of any length may always wait
    batch_s: float = 120.0  # of a pass, padding included; less where a recognizer takes less
    max_batch: int = 16
    max_wait_s: float | None = None
    stretch: float = 3.0  # longest over shortest of a pass; what is shorter than `short_s` counts as that
    short_s: float = 3.0
    passes_at_once: int | None = None
    long_at_once: int = 4
    turn_s: float = 0.5
    age_s: float = 30.0  # a job that has waited so long is as urgent as a new request
    stream_wait_s: float = 0.5  # a file waits so long at most for live streams that are behind
    job_share: float = 0.5  # of the places, for jobs

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_batch", "passes_at_once", "long_at_once"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} is {number}; use 1 or more")
        for name in ("max_audio_s", "batch_s", "turn_s", "age_s", "short_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} is {getattr(self, name)}; use seconds above 0")
        for name in ("max_wait_s", "stream_wait_s"):
            if (seconds := getattr(self, name)) is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name} is {seconds}; use seconds, 0 or more")
        if not (math.isfinite(self.stretch) and self.stretch >= 1):
            raise ValueError(f"stretch is {self.stretch}; use a ratio of 1 or more")
        if not 0 < self.job_share <= 1:
            raise ValueError(f"job_share is {self.job_share}; use a share above 0, at most 1")
