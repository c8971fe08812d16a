"""Transcripts of tokens: text, words, segments."""

import pytest

from harken.core import Transcript
from harken.inference.ctc.word_times import time_words
from harken.inference.greedy import Token
from harken.inference.transcripts import transcript_of
from harken.text.tokenize import CharTokenizer, WordTokenizer

WORDS = WordTokenizer(["<pad>", "one", "two"])
CHARACTERS = CharTokenizer(["<pad>", " ", "a", "b"])


def token(id_: int, first: int, end: int) -> Token:
    return Token(id=id_, first=first, end=end, probability=0.5)


def test_words_are_timed_and_make_one_segment() -> None:
    tokens = [token(1, 12, 14), token(2, 30, 31)]
    transcript = transcript_of(tokens, WORDS, frame_s=0.04, duration_s=2.0, language="en")
    assert (transcript.text, transcript.language, transcript.duration_s) == ("one two", "en", 2.0)
    assert transcript.words == time_words(tokens, WORDS, frame_s=0.04, duration_s=2.0)
    (segment,) = transcript.segments
    assert (segment.text, segment.start_s, segment.end_s) == ("one two", pytest.approx(0.37), pytest.approx(1.37))


def test_a_long_silence_ends_a_segment() -> None:
    """Words last 0.3 s, so these are 0.04, 0.97 and 1.01 s apart."""
    tokens = [token(1, 10, 11), token(2, 19, 20), token(1, 51, 52), token(1, 84, 85)]
    transcript = transcript_of(tokens, WORDS, frame_s=0.04, duration_s=4.0)
    assert transcript.text == "one two one one"
    assert [segment.text for segment in transcript.segments] == ["one two one", "one"]
    assert [word.text for word in transcript.words] == ["one", "two", "one", "one"]
    assert transcript.segments[1].start_s == transcript.words[3].start_s


@pytest.mark.parametrize("tokens", [[], [token(1, 0, 1)]])
def test_no_word_gives_no_segment(tokens: list[Token]) -> None:
    """No token at all, or nothing but the space between words."""
    assert transcript_of(tokens, CHARACTERS, frame_s=0.04, duration_s=0.5) == Transcript(text="", duration_s=0.5)
