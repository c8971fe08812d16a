"""How a recognizer is best kept busy, where the settings leave it open.

A CPU gains little from a batch and nothing from a full one: a forward pass of short audio does not scale over threads,
while several of them do over cores. Recognizers that several threads may call at a time say so (`parallel`), and what
they take in one forward pass (`at_once_s`); others are heard in one pass at a time, which is worth waiting for.
"""

import math

from harken.core import Recognizer
from harken.serving.scheduling.settings import QueueSettings


def passes_at_once(recognizer: Recognizer, settings: QueueSettings) -> int:
    """Passes over short audio that run at a time."""
    return settings.passes_at_once or _parallel(recognizer)


def batch_s(recognizer: Recognizer, settings: QueueSettings) -> float:
    """Seconds of audio of a pass, padding included: the recognizer would split more."""
    if _parallel(recognizer) == 1:
        return settings.batch_s
    at_once_s: float = getattr(recognizer, "at_once_s", math.inf)
    return min(settings.batch_s, at_once_s)


def max_wait_s(recognizer: Recognizer, settings: QueueSettings) -> float:
    """Seconds that a pass waits for audio which is being decoded; none where that would leave a core idle."""
    if settings.max_wait_s is not None:
        return settings.max_wait_s
    return 0.0 if _parallel(recognizer) > 1 else 0.03


def _parallel(recognizer: Recognizer) -> int:
    found: int = getattr(recognizer, "parallel", 1)
    return found
