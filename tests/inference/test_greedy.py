"""Greedy CTC decoding against a slow, obvious loop, and word times by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import Transcript, Word
from harken.inference.greedy import BLANK, Token, collapse, transcript_of
from harken.text.tokenize import CharTokenizer, WordTokenizer

WORDS = WordTokenizer(["<pad>", "one", "two"])
CHARACTERS = CharTokenizer(["<pad>", " ", "a", "b"])


def slow_collapse(ids: list[int], probabilities: list[float]) -> list[tuple[int, int, int, float]]:
    """Frame by frame: a token begins where the id changes to one that is not the blank."""
    tokens: list[tuple[int, int, int, float]] = []
    before = BLANK
    for frame, id_ in enumerate(ids):
        if id_ != BLANK and id_ == before:
            kept, first, _, total = tokens[-1]
            tokens[-1] = (kept, first, frame + 1, total + probabilities[frame])
        elif id_ != BLANK:
            tokens.append((id_, frame, frame + 1, probabilities[frame]))
        before = id_
    return [(id_, first, end, total / (end - first)) for id_, first, end, total in tokens]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1, width=32)), max_size=60))
def test_collapse_equals_the_slow_loop(frames: list[tuple[int, float]]) -> None:
    ids, probabilities = [id_ for id_, _ in frames], [probability for _, probability in frames]
    found = collapse(np.array(ids, dtype=np.int64), np.array(probabilities, dtype=np.float32))
    expected = slow_collapse(ids, probabilities)
    assert [(token.id, token.first, token.end) for token in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([token.probability for token in found], [row[3] for row in expected], atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "collapsed"),
    [([], []), ([0, 0], []), ([1], [1]), ([1, 1, 1], [1]), ([1, 0, 1], [1, 1]), ([0, 2, 2, 1, 1, 0, 1], [2, 1, 1])],
)
def test_repeats_merge_unless_a_blank_parts_them(ids: list[int], collapsed: list[int]) -> None:
    tokens = collapse(np.array(ids, dtype=np.int64), np.ones(len(ids), dtype=np.float32))
    assert [token.id for token in tokens] == collapsed


def token(id_: int, first: int, end: int, probability: float = 1.0) -> Token:
    return Token(id=id_, first=first, end=end, probability=probability)


def test_word_times_are_those_of_their_frames() -> None:
    tokens = [token(1, 2, 4, 0.5), token(2, 10, 11, 0.75)]
    transcript = transcript_of(tokens, WORDS, frame_s=0.04, duration_s=1.0, language="en")
    assert transcript.text == "one two"
    assert transcript.language == "en"
    assert transcript.words == (
        Word(text="one", start_s=pytest.approx(0.08), end_s=pytest.approx(0.16), confidence=0.5),
        Word(text="two", start_s=pytest.approx(0.40), end_s=pytest.approx(0.44), confidence=0.75),
    )
    (segment,) = transcript.segments
    assert (segment.text, segment.start_s, segment.end_s) == ("one two", pytest.approx(0.08), pytest.approx(0.44))


def test_a_long_silence_ends_a_segment() -> None:
    tokens = [token(1, 0, 2), token(2, 10, 11), token(1, 36, 38), token(1, 62, 63)]
    transcript = transcript_of(tokens, WORDS, frame_s=0.04, duration_s=3.0)
    assert transcript.text == "one two one one"
    assert [segment.text for segment in transcript.segments] == ["one two", "one one"]  # 1.00 s, then 0.96 s
    assert [word.text for word in transcript.words] == ["one", "two", "one", "one"]
    assert transcript.segments[1].start_s == pytest.approx(1.44)


def test_a_word_of_letters_spans_them_and_has_their_mean_confidence() -> None:
    tokens = [token(2, 0, 1, 0.2), token(3, 3, 5, 0.6), token(1, 6, 7, 0.1), token(3, 8, 9, 0.9)]
    transcript = transcript_of(tokens, CHARACTERS, frame_s=0.1, duration_s=2.0)
    first, second = transcript.words
    assert (first.text, second.text) == ("ab", "b")
    assert (first.start_s, first.end_s) == (pytest.approx(0.0), pytest.approx(0.5))
    assert first.confidence == pytest.approx(0.4)  # the space's 0.1 belongs to neither word
    assert (second.start_s, second.end_s, second.confidence) == (pytest.approx(0.8), pytest.approx(0.9), 0.9)


def test_a_word_never_ends_after_the_audio() -> None:
    transcript = transcript_of([token(1, 24, 26)], WORDS, frame_s=0.04, duration_s=1.01)
    assert transcript.words[0].end_s == 1.01


@pytest.mark.parametrize("tokens", [[], [token(1, 0, 1)]])
def test_no_word_gives_no_segment(tokens: list[Token]) -> None:
    """No token at all, or nothing but the space between words."""
    assert transcript_of(tokens, CHARACTERS, frame_s=0.04, duration_s=0.5) == Transcript(text="", duration_s=0.5)
