"""Latencies of words by hand: which words count, and from when."""

import pytest

from harken.core import InputError, Word
from harken.evaluation.word_latency import HeardWord, word_latencies


def timed(*words: tuple[str, float]) -> list[Word]:
    return [Word(text=text, start_s=end_s - 0.3, end_s=end_s) for text, end_s in words]


def heard(*words: tuple[str, float, float]) -> list[HeardWord]:
    return [HeardWord(text=text, shown_s=shown_s, committed_s=committed_s) for text, shown_s, committed_s in words]


def test_each_word_counts_from_its_own_end() -> None:
    found = word_latencies(
        timed(("one", 1.0), ("two", 2.0), ("three", 3.0)),
        heard(("one", 0.9, 2.5), ("two", 2.25, 2.5), ("three", 3.5, 4.0)),
    )
    assert found.shown_s == pytest.approx((-0.1, 0.25, 0.5))  # the first was known before it was over
    assert found.committed_s == pytest.approx((1.5, 0.5, 1.0))


def test_only_words_that_both_sides_have_count() -> None:
    """Lost, misheard and made up words: each pair of the rest stays together."""
    found = word_latencies(
        timed(("one", 1.0), ("two", 2.0), ("three", 3.0), ("four", 4.0)),
        heard(("one", 1.1, 1.1), ("tree", 3.9, 3.9), ("four", 4.4, 4.4), ("eh", 9.0, 9.0)),
    )
    assert found.shown_s == found.committed_s == pytest.approx((0.1, 0.4))


def test_words_are_compared_as_they_are_scored() -> None:
    times = timed(("Hello,", 1.0), ("...", 1.5), ("World!", 2.0))
    words = heard(("hello", 1.2, 1.2), ("world", 2.3, 2.3))
    assert word_latencies(times, words).shown_s == ()
    assert word_latencies(times, words, normalizer="basic").shown_s == pytest.approx((0.2, 0.3))
    with pytest.raises(InputError, match="no normalisation profile 'odd'"):
        word_latencies(times, words, normalizer="odd")


def test_without_words_there_are_none() -> None:
    assert word_latencies([], heard(("one", 1.0, 1.0))).shown_s == ()
    assert word_latencies(timed(("one", 1.0)), []).committed_s == ()
