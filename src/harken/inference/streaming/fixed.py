"""Policy `fixed`: windows of fixed length decoded one by one, their texts merged at words. The baseline to beat.

Each window is decoded knowing nothing of its neighbours, and what two windows have in common is told by equal words
alone: words cut by an edge are lost or misheard, and a word truly said twice at a seam is told once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harken.core import Recognizer, Segment, Waveform, Word
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.streaming.config import FixedConfig
from harken.inference.streaming.policy import Progress
from harken.inference.streaming.words import Found

_LONGEST_OVERLAP = 5  # words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedState:
    """`held` audio from sample `begin` on; `tail` are the last words told."""

    held: Waveform
    begin: int = 0
    tail: tuple[str, ...] = ()


class FixedPolicy:
    """Windows of audio through any recognizer."""

    def __init__(self, recognizer: Recognizer, config: FixedConfig) -> None:
        rate = recognizer.sample_rate_hz
        self._recognizer, self._rate = recognizer, rate
        self._window = seconds_to_samples(config.window_s, sample_rate_hz=rate)
        self._shift = self._window - seconds_to_samples(config.overlap_s, sample_rate_hz=rate)

    def start(self) -> FixedState:
        return FixedState(held=np.zeros(0, np.float32))

    def step(self, state: FixedState, block: Waveform) -> tuple[FixedState, Progress]:
        state = replace(state, held=np.concatenate([state.held, block]))
        if len(state.held) < self._window:
            return state, Progress()
        state, found = self._read(state, state.held[: self._window])
        held = state.held[self._shift :].copy()
        return replace(state, held=held, begin=state.begin + self._shift), Progress(found=found)

    def finish(self, state: FixedState) -> tuple[FixedState, Progress]:
        seen = self._window - self._shift if state.begin else 0
        state, found = self._read(state, state.held) if len(state.held) > seen else (state, [])
        return replace(state, held=state.held[:0].copy()), Progress(found=found)

    def _read(self, state: FixedState, window: Waveform) -> tuple[FixedState, list[Found]]:
        heard = timed_words(self._recognizer, window)
        known = repeated([word.text for word in heard], state.tail)
        offset_s = samples_to_seconds(state.begin, sample_rate_hz=self._rate)
        words = tuple(
            replace(word, start_s=word.start_s + offset_s, end_s=word.end_s + offset_s) for word in heard[known:]
        )
        if not words:
            return state, []
        tail = (*state.tail, *(word.text for word in words))[-_LONGEST_OVERLAP:]
        return replace(state, tail=tail), [Found(words=words)]


def repeated(words: Sequence[str], tail: Sequence[str]) -> int:
    """How many of the first words repeat the last of `tail`: the longest overlap, at most five words."""
    most = min(len(words), len(tail), _LONGEST_OVERLAP)
    return next((n for n in range(most, 0, -1) if list(words[:n]) == list(tail[-n:])), 0)


def timed_words(recognizer: Recognizer, waveform: Waveform) -> list[Word]:
    """Words of a waveform; those of a recognizer without word times share the time of their segment evenly."""
    transcript = recognizer.transcribe_batch([waveform])[0]
    words: list[Word] = []
    for segment in transcript.segments:
        words += segment.words or _spread(segment)
    return words


def _spread(segment: Segment) -> list[Word]:
    texts = segment.text.split()
    edges_s = np.linspace(segment.start_s, segment.end_s, len(texts) + 1).tolist()
    return [Word(text=text, start_s=edges_s[i], end_s=edges_s[i + 1]) for i, text in enumerate(texts)]
