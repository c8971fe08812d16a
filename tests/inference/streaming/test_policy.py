"""Endpoints by voice activity detection, and by the model where that hears nothing."""

from dataclasses import dataclass

import numpy as np
import pytest
from tests.inference.streaming.conftest import LETTERS

from harken.audio.vad import VadState
from harken.core import Waveform
from harken.inference.scoring import LogProbs
from harken.inference.streaming.config import EndpointConfig
from harken.inference.streaming.frames import Frames
from harken.inference.streaming.policy import CtcPolicy
from harken.inference.streaming.speech import SpeechTracker
from harken.inference.streaming.words import Found

FRAME_S = 0.04
Spans = list[tuple[float, float]]


@dataclass
class Spoken:
    """Frames that are final `latency` of them late, in which each character of the script has a frame of its own."""

    script: dict[int, str]
    latency: int = 0
    frame_s: float = FRAME_S
    latency_s: float = 0.0

    def start(self) -> tuple[int, int]:
        return 0, 0

    def step(self, state: tuple[int, int], waveform: Waveform) -> tuple[tuple[int, int], Frames]:
        samples, done = state
        samples += len(waveform)
        ready = max(done, int(samples / 16_000 / FRAME_S) - self.latency)
        return (samples, ready), Frames(final_TV=self._scores(done, ready))

    def finish(self, state: tuple[int, int]) -> tuple[tuple[int, int], Frames]:
        samples, done = state
        return state, Frames(final_TV=self._scores(done, int(samples / 16_000 / FRAME_S)))

    def _scores(self, first: int, end: int) -> LogProbs:
        scores = np.full((end - first, LETTERS.vocab_size), -20.0, np.float32)
        for row, frame in enumerate(range(first, end)):
            scores[row, LETTERS.units.index(self.script.get(frame, "<pad>"))] = -0.01
        return scores


class Told:
    """A detector that hears speech in the spans (in seconds) it is told."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def start(self) -> VadState:
        return VadState(memory=np.zeros((2, 1, 128), np.float32), context=np.zeros(64, np.float32))

    def step(self, state: VadState, window: Waveform) -> tuple[VadState, float]:
        return state, 0.9 if any(first <= window[0] < end for first, end in self._spans) else 0.1


def run(source: Spoken, spans: Spans, *, seconds: float = 12.0) -> list[tuple[str, str | None, float]]:
    """Text, rule and begin of the silence of everything that is found."""
    policy = CtcPolicy(
        source, LETTERS, endpoint=EndpointConfig(source="vad"), sample_rate_hz=16_000,
        tracker=SpeechTracker(Told(spans), threshold=0.5, sample_rate_hz=16_000),  # type: ignore[arg-type]
    )  # fmt: skip
    times = np.arange(int(seconds * 16_000), dtype=np.float32) / 16_000
    state, found = policy.start(), list[Found]()
    for first in range(0, len(times), 512):
        state, progress = policy.step(state, times[first : first + 512])
        found += progress.found
    found += policy.finish(state)[1].found
    return [(" ".join(w.text for w in item.words), item.rule, round(item.silence * FRAME_S, 2)) for item in found]


def letters(text: str, first: int) -> dict[int, str]:
    """Every second frame a character, from frame `first` on."""
    return {first + 2 * i: character for i, character in enumerate(text)}


@pytest.mark.parametrize("latency", [0, 8, 32])
@pytest.mark.parametrize("heard", [[(0.3, 0.9)], []])
def test_words_that_the_detector_misses_are_not_cut_apart(latency: int, heard: Spans) -> None:
    first = letters("abcab", 10) if heard else {}
    found = run(Spoken(first | letters("cabba cab", 200), latency), heard)
    assert [text for text, *_ in found if text] == ["abcab"] * bool(heard) + ["cabba", "cab"]
    ends = [(text, rule, silence) for text, rule, silence in found if rule == "pause"]
    assert ends[-1] == ("cab", "pause", 8.68)  # the last letter is frame 216, and its word is over then
    if heard:
        assert ends[0][:2] == ("abcab", "pause")
        assert ends[0][2] == pytest.approx(0.92, abs=0.04)  # a block of 32 ms after the speech


def test_silence_is_the_detectors_where_it_hears_the_words() -> None:
    """Blanks between far letters are no pause while the detector hears speech, and end with it."""
    found = run(Spoken({10: "a", 80: "b", 83: "c"}), [(0.3, 3.6)])
    assert [item for item in found if item[1] == "pause"] == [("abc", "pause", pytest.approx(3.6, abs=0.04))]


@pytest.mark.parametrize("latency", [0, 8])
def test_a_missed_word_after_others_is_not_cut_apart(latency: int) -> None:
    """The detector's pause is long enough at 2.1 s, amid the second word."""
    found = run(Spoken(letters("ab ", 10) | letters("cabbacab", 46), latency), [(0.3, 0.9)])
    assert [text for text, *_ in found if text] == ["ab", "cabbacab"]
    assert [rule for text, rule, _ in found if text] == [None, "pause"]


def test_a_model_that_never_stops_delays_the_end_of_a_segment_by_a_word_at_most() -> None:
    babble = Spoken(letters("ab" * 100, 10))
    assert [rule for _, rule, _ in run(babble, [(0.3, 0.9)], seconds=3.1)] == [None]
    assert [rule for _, rule, _ in run(babble, [(0.3, 0.9)], seconds=3.2)] == ["pause", None]
