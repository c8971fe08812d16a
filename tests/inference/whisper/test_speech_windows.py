"""Windows of speech found by a scripted detector: every span in one window, none twice, none too long."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harken.audio.vad import WINDOW_SAMPLES, SpeechDetector, VadConfig, VadState, spans_of
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.speech_windows import LONGEST_PAUSE_S, SpeechSpan, speech_windows

CONFIG = VadConfig()
RATE = 16_000


class Loud(SpeechDetector):
    """Hears speech where the samples are above a half on average; keeps how far it has heard."""

    def __init__(self) -> None:
        self.heard = 0

    def start(self) -> VadState:
        return VadState(memory=np.zeros(0, np.float32), context=np.zeros(0, np.float32))

    def step(self, state: VadState, window: Any) -> tuple[VadState, float]:
        assert window.shape == (WINDOW_SAMPLES,)
        self.heard += 1
        return state, float(window.mean())


def audio(*pieces: tuple[float, float]) -> np.ndarray:
    """Seconds of loudness."""
    return np.concatenate([np.full(round(seconds * RATE), level, np.float32) for seconds, level in pieces])


def windows(samples: np.ndarray, longest_s: float, *, piece: int = 5_000) -> list[SpeechSpan]:
    pieces = [samples[first : first + piece] for first in range(0, len(samples), piece)]
    detector = Loud()
    found = list(
        speech_windows(SampleStream(pieces), longest=round(longest_s * RATE), config=CONFIG, detector=detector)
    )
    assert detector.heard == -(-len(samples) // WINDOW_SAMPLES)  # each window once
    ends = [0]
    for span in found:
        np.testing.assert_array_equal(span.samples, samples[span.start : span.start + len(span.samples)])
        assert 0 < len(span.samples) <= round(longest_s * RATE)
        assert span.start >= ends[-1]
        ends.append(span.start + len(span.samples))
    return found


def loud_share(samples: np.ndarray, found: list[SpeechSpan]) -> float:
    return sum((span.samples > 0.5).sum() for span in found) / (samples > 0.5).sum()


def test_neighbours_share_a_window_and_long_silence_is_left_out() -> None:
    samples = audio((1, 0), (2, 1), (1, 0), (3, 1), (LONGEST_PAUSE_S + 2, 0), (1, 1), (0.5, 0))
    found = windows(samples, 10)
    assert loud_share(samples, found) == 1.0
    spans = [(span.start / RATE, (span.start + len(span.samples)) / RATE) for span in found]
    np.testing.assert_allclose(spans, [(1, 7), (14, 15)], atol=0.07)


def test_spans_that_do_not_fit_go_to_the_next_window() -> None:
    samples = audio(*[(2, 1), (0.5, 0)] * 8)
    found = windows(samples, 6)
    assert [round(len(span.samples) / RATE, 1) for span in found] == pytest.approx([4.5] * 4, abs=0.1)
    assert loud_share(samples, found) == 1.0


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    samples = audio((1, 0), (7, 1.0), (0.1, 0.6), (5, 1.0), (0.1, 0.7), (4, 1.0), (1, 0))
    found = windows(samples, 10)
    assert loud_share(samples, found) == 1.0
    starts = [span.start / RATE for span in found]
    assert starts == pytest.approx([1, 8.05], abs=0.1)
    assert all(a.start + len(a.samples) == b.start for a, b in pairwise(found))


def test_nothing_is_lost_behind_a_cut() -> None:
    """0.1 s of speech alone is too short for the detector's rule, but not when it goes on from the window before."""
    samples = audio((1.0, 1), (0.1, 1), (2, 0))
    found = windows(samples, 1.024)
    assert loud_share(samples, found) == 1.0
    assert windows(audio((1, 0), (0.1, 1), (1, 0)), 2) == []


@pytest.mark.parametrize("seed", range(6))
def test_any_audio(seed: int) -> None:
    draw = np.random.default_rng(seed)
    pieces = [(float(draw.exponential(1.5)), float(draw.random() < 0.6)) for _ in range(30)]
    samples = audio(*pieces)
    found = windows(samples, 4, piece=int(draw.integers(500, 50_000)))
    expected = spans_of(Loud().probabilities(samples), CONFIG, samples=len(samples))
    covered = np.zeros(len(samples), bool)
    for span in found:
        covered[span.start : span.start + len(span.samples)] = True
    for begin, end in expected:
        inside = covered[round(begin * RATE) + WINDOW_SAMPLES : round(end * RATE) - WINDOW_SAMPLES]
        assert inside.all(), (begin, end)


def test_silence_and_nothing() -> None:
    assert windows(np.zeros(60 * RATE, np.float32), 4) == []
    assert list(speech_windows(SampleStream([]), longest=RATE, config=CONFIG, detector=Loud())) == []


def test_memory_holds_little_more_than_a_window() -> None:
    stream = SampleStream(audio((0.5, 0), (1.5, 1)) for _ in range(100))
    for _ in speech_windows(stream, longest=5 * RATE, config=CONFIG, detector=Loud()):
        assert len(stream._held) < 10 * RATE
