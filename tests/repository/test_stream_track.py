"""What the streaming benchmarks read off a track: latencies by the known ends of its words, and first partials."""

import numpy as np
import pytest
from benchmarks.stream_track import Sentence, Track, first_partial_s, latencies

from harken.evaluation.streaming import Heard
from harken.evaluation.word_latency import HeardWord

TRACK = Track(
    waveform=np.zeros(0, np.float32),
    sentences=[
        Sentence(words=[("one", 1.0, 1.5), ("two", 1.75, 2.0)]),
        Sentence(words=[("three", 4.0, 4.5)]),
        Sentence(words=[("four", 7.0, 7.5)]),
    ],
)


def heard(words: list[tuple[str, float, float]], appeared_s: list[float]) -> Heard:
    return Heard(
        words=tuple(HeardWord(text=w, shown_s=shown_s, committed_s=at_s) for w, shown_s, at_s in words),
        corrections=0,
        appeared_s=tuple(appeared_s),
        endpoints=(),
        audio_s=9.0,
        final_s=0.0,
        processing_s=0.0,
        cpu_s=0.0,
    )


def test_words_count_from_their_known_ends() -> None:
    found = latencies(TRACK, heard([("one", 1.75, 2.0), ("three", 5.0, 5.5), ("for", 8.0, 8.0)], []))
    assert found.shown_s == pytest.approx((0.25, 0.5))
    assert found.committed_s == pytest.approx((0.5, 1.0))


def test_the_first_partial_of_a_sentence_comes_before_the_next_begins() -> None:
    """The second sentence shows nothing before the third has begun, so it has none."""
    found = first_partial_s(TRACK, heard([], [0.5, 1.25, 2.5, 7.5, 8.0]))
    assert found == pytest.approx([0.25, 0.5])
