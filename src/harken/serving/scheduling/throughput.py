"""How fast a model works, measured while it does, and what that says to whoever has to wait."""

SMOOTHING = 0.2  # of the newest pass
SHORTEST_S, LONGEST_S = 1.0, 600.0


class Throughput:
    """Seconds of audio heard in a second, smoothed over passes."""

    def __init__(self) -> None:
        self._audio_s = self._inference_s = 0.0

    def add(self, *, audio_s: float, inference_s: float) -> None:
        """One pass. Longer ones count for more."""
        self._audio_s += SMOOTHING * (audio_s - self._audio_s)
        self._inference_s += SMOOTHING * (inference_s - self._inference_s)

    @property
    def audio_s_per_s(self) -> float | None:
        """None before the first pass."""
        return self._audio_s / self._inference_s if self._inference_s > 0 else None

    def wait_s(self, waiting_audio_s: float) -> float:
        """When so much audio will have been heard; before the first pass, as though that took as long as it lasts."""
        return min(LONGEST_S, max(SHORTEST_S, waiting_audio_s / (self.audio_s_per_s or 1.0)))
