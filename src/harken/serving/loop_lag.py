"""How late the event loop comes to what is due: what every request and stream waits beside its own work."""

import asyncio
import math
from collections import deque

from prometheus_client import CollectorRegistry, Histogram

EVERY_S = 0.05
RECENT = 2_400  # looks that `recent` speaks about, two minutes
_LAGS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03, 0.05, 0.1, 0.25, 1.0)
_PLACES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


class LoopLag:
    """Sleeps, and notes how much later than asked it wakes. A look costs some microseconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seen = Histogram(
            "asr_event_loop_lag_seconds", "Lateness of the event loop", buckets=_LAGS_S, registry=registry
        )
        self._recent: deque[float] = deque(maxlen=RECENT)

    async def run(self) -> None:
        """Looks until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.note(max(0.0, loop.time() - due_s))

    def note(self, late_s: float) -> None:
        self._seen.observe(late_s)
        self._recent.append(late_s)

    def recent(self) -> dict[str, float] | None:
        """Percentiles (nearest rank) of the last looks in seconds; None before the first."""
        ordered = sorted(self._recent)
        if not ordered:
            return None
        ranks = {name: max(1, math.ceil(place * len(ordered))) for name, place in _PLACES.items()}
        return {name: round(ordered[rank - 1], 5) for name, rank in ranks.items()}
