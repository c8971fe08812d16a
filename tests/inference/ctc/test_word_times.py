"""Times of words by hand."""

import pytest

from harken.core import Word
from harken.inference.ctc.word_times import time_words
from harken.inference.greedy import Token
from harken.text.tokenize import CharTokenizer, WordTokenizer

WORDS = WordTokenizer(["<pad>", "one", "seven"])
CHARACTERS = CharTokenizer(["<pad>", " ", "a", "b"])


def token(id_: int, first: int, end: int, probability: float = 1.0) -> Token:
    return Token(id=id_, first=first, end=end, probability=probability)


def spans(words: tuple[Word, ...]) -> list[tuple[float, float]]:
    return [(pytest.approx(word.start_s), pytest.approx(word.end_s)) for word in words]


def test_a_word_unit_lasts_as_long_as_its_letters() -> None:
    """Five letters are half a second, three are 0.3 s, each around its 0.08 s."""
    words = time_words([token(2, 10, 12, 0.5), token(1, 40, 42)], WORDS, frame_s=0.04, duration_s=2.0)
    assert spans(words) == [(0.4 - 0.21, 0.48 + 0.21), (1.6 - 0.11, 1.68 + 0.11)]
    assert [(word.text, word.confidence) for word in words] == [("seven", 0.5), ("one", 1.0)]


def test_but_not_into_its_neighbours_nor_beyond_the_audio() -> None:
    words = time_words([token(2, 1, 2), token(2, 5, 6), token(2, 10, 11)], WORDS, frame_s=0.04, duration_s=0.5)
    assert spans(words) == [(0.0, 0.14), (0.14, 0.32), (0.32, 0.5)]


def test_letters_that_were_held_keep_their_frames() -> None:
    """An a of 0.2 s stays as it is, a b of one frame gets 0.1 s, on the outside only."""
    tokens = [token(2, 5, 10, 0.4), token(3, 12, 13, 0.8), token(1, 15, 16, 0.1), token(3, 20, 21, 0.6)]
    words = time_words(tokens, CHARACTERS, frame_s=0.04, duration_s=2.0)
    assert spans(words) == [(0.2, 0.52 + 0.03), (0.8 - 0.03, 0.84 + 0.03)]
    assert [word.confidence for word in words] == [pytest.approx(0.6), pytest.approx(0.6)]


@pytest.mark.parametrize("tokens", [[], [token(1, 3, 4)]])
def test_no_words(tokens: list[Token]) -> None:
    assert time_words(tokens, CHARACTERS, frame_s=0.04, duration_s=1.0) == ()


def test_a_token_after_the_end_of_the_audio() -> None:
    """The last output frame can begin after the last sample."""
    (word,) = time_words([token(1, 26, 27)], WORDS, frame_s=0.04, duration_s=1.01)
    assert (word.start_s, word.end_s) == (pytest.approx(1.04 - 0.13), 1.01)
