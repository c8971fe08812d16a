"""The baseline: windows decoded alone, texts merged at words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harken.audio.vad import VadState
from harken.core import Segment, Transcript, Waveform, Word
from harken.inference.streaming.agreement import AgreementPolicy, PlainBuffer
from harken.inference.streaming.config import AgreementConfig, EndpointConfig, FixedConfig
from harken.inference.streaming.fixed import FixedPolicy, repeated, timed_words
from harken.inference.streaming.speech import SpeechTracker


class Scripted:
    """Says what the script has for a window that begins at that second, which its first sample tells."""

    sample_rate_hz = 100

    def __init__(self, script: dict[float, str]) -> None:
        self.script, self.heard = script, []  # type: ignore[var-annotated]

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        raise NotImplementedError

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        (waveform,) = waveforms
        begin_s = round(float(waveform[0]) / 100, 2)
        self.heard.append((begin_s, len(waveform)))
        text = self.script.get(begin_s, "")
        words = tuple(Word(text=word, start_s=0.1 * i, end_s=0.1 * i + 0.1) for i, word in enumerate(text.split()))
        segments = (Segment(text=text, start_s=0.0, end_s=1.0, words=words),) if text else ()
        return [Transcript(text=text, duration_s=len(waveform) / 100, segments=segments)]


def run(recognizer: Scripted, samples: int, block: int = 3) -> list[tuple[str, float]]:
    policy = FixedPolicy(recognizer, FixedConfig())
    state, found = policy.start(), []
    audio = np.arange(samples, dtype=np.float32)
    for first in range(0, samples, block):
        state, progress = policy.step(state, audio[first : first + block])
        found += progress.found
    found += policy.finish(state)[1].found
    return [(word.text, round(word.start_s, 2)) for item in found for word in item.words]


def test_windows_overlap_and_texts_are_merged_without_duplicates() -> None:
    recognizer = Scripted({0.0: "one two three", 1.5: "two three four", 3.0: "four five"})
    assert run(recognizer, 450) == [("one", 0.0), ("two", 0.1), ("three", 0.2), ("four", 1.7), ("five", 3.1)]
    assert [begin for begin, _ in recognizer.heard] == [0.0, 1.5, 3.0]


def test_the_end_is_heard_once() -> None:
    recognizer = Scripted({0.0: "one", 1.5: "two"})
    assert run(recognizer, 200, block=1) == [("one", 0.0)]
    assert recognizer.heard == [(0.0, 200)]  # what is left is overlap, which has been heard
    assert run(Scripted({0.0: "one", 1.5: "two"}), 201, block=1) == [("one", 0.0), ("two", 1.5)]
    assert run(Scripted({}), 0) == []


@pytest.mark.parametrize(
    ("words", "tail", "count"),
    [("a b", "x a b", 2), ("a b", "a", 1), ("b a", "a", 0), ("a a a", "a a", 2), ("", "a", 0), ("a", "", 0)],
)
def test_the_longest_repetition_counts(words: str, tail: str, count: int) -> None:
    assert repeated(words.split(), tail.split()) == count


def test_words_without_times_share_that_of_their_segment_evenly() -> None:
    class Untimed(Scripted):
        def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
            segments = (Segment(text="a b", start_s=1.0, end_s=2.0), Segment(text="", start_s=2.0, end_s=3.0))
            return [Transcript(text="a b", duration_s=3.0, segments=segments)]

    words = timed_words(Untimed({}), np.zeros(1, np.float32))
    assert [(word.text, word.start_s, word.end_s) for word in words] == [("a", 1.0, 1.5), ("b", 1.5, 2.0)]


class Counter(Scripted):
    """A recognizer without word times, before which a new number is said every half second."""

    sample_rate_hz = 16_000

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        (waveform,) = waveforms
        first, last = float(waveform[0]) * 100 - 0.01, float(waveform[-1]) * 100 + 0.01
        text = " ".join(f"w{k}" for k in range(200) if first <= 0.5 * k and 0.5 * (k + 1) <= last)
        duration_s = len(waveform) / 16_000
        segments = (Segment(text=text, start_s=0.0, end_s=duration_s),) if text else ()
        return [Transcript(text=text, duration_s=duration_s, segments=segments)]


class Always:
    """A detector that always hears speech."""

    def start(self) -> VadState:
        return VadState(memory=np.zeros((2, 1, 128), np.float32), context=np.zeros(64, np.float32))

    def step(self, state: VadState, window: Waveform) -> tuple[VadState, float]:
        return state, 0.9


def test_a_buffer_of_words_without_times_is_trimmed_without_doubling_any() -> None:
    tracker = SpeechTracker(Always(), threshold=0.5, sample_rate_hz=16_000)  # type: ignore[arg-type]
    policy = AgreementPolicy(
        PlainBuffer(Counter({})), config=AgreementConfig(), endpoint=EndpointConfig(), tracker=tracker
    )
    state, found = policy.start(), []
    audio = (np.arange(16_000 * 30) / 16_000 / 100).astype(np.float32)
    for first in range(0, len(audio), 512):
        state, progress = policy.step(state, audio[first : first + 512])
        found += progress.found
    found += policy.finish(state)[1].found
    assert [word.text for item in found for word in item.words] == [f"w{k}" for k in range(60)]
