"""Silence on a stream, told by Silero VAD with its own hysteresis."""

from dataclasses import dataclass

import numpy as np

from harken.audio.vad import RATE_HZ, WINDOW_SAMPLES, SpeechDetector, VadState
from harken.core import InputError, Waveform

_HYSTERESIS = 0.15  # speech ends below the threshold less this


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechState:
    """`speaking`, and the sample with which the silence (or, while speaking, the speech) began; None before speech."""

    network: VadState
    heard: int = 0
    speaking: bool = False
    since: int | None = None


class SpeechTracker:
    """`state = step(state, block)` for blocks of 512 samples at 16 kHz."""

    def __init__(self, detector: SpeechDetector, *, threshold: float, sample_rate_hz: int) -> None:
        """Raises InputError for another rate than the network's."""
        if sample_rate_hz != RATE_HZ:
            raise InputError(
                f"Voice activity detection needs {RATE_HZ} Hz, the model hears {sample_rate_hz} Hz.",
                hint="With a CTC model set endpoint.source to blank; for others use policy fixed.",
            )
        self._detector, self._threshold = detector, threshold

    def start(self) -> SpeechState:
        return SpeechState(network=self._detector.start())

    def step(self, state: SpeechState, block: Waveform) -> SpeechState:
        """The state after one block; a shorter one, at the end of a stream, is filled up with zeros."""
        window = np.pad(block, (0, WINDOW_SAMPLES - len(block)))
        network, probability = self._detector.step(state.network, window)
        speaking = probability >= self._threshold - (_HYSTERESIS if state.speaking else 0.0)
        changed = speaking != state.speaking
        return SpeechState(
            network=network,
            heard=state.heard + len(block),
            speaking=speaking,
            since=state.heard if changed else state.since,
        )


def silent_s(state: SpeechState) -> float:
    """Seconds of silence up to here; 0 while somebody speaks."""
    return 0.0 if state.speaking else (state.heard - (state.since or 0)) / RATE_HZ
