import itertools
from dataclasses import replace

import numpy as np
import pytest

from harken.evaluation.errors import intervals
from harken.evaluation.errors.intervals import group_intervals
from harken.evaluation.statistics.intervals import bootstrap_interval


def test_two_and_three_units_match_every_possible_draw() -> None:
    """With n units there are n**n equally likely draws; the percentiles of those are the limit of any bootstrap."""
    errors, words = np.array([1, 3, 0, 2, 5]), np.array([10, 10, 5, 8, 20])
    group = np.array([0, 0, 1, 1, 1])
    found = group_intervals(errors, words, group, ["speaker", "utterance"], samples=40_000, confidence=0.8)
    for number, interval in enumerate(found):
        here = np.flatnonzero(group == number)
        draws = [list(draw) for draw in itertools.product(here, repeat=len(here))]
        rates = [errors[draw].sum() / words[draw].sum() for draw in draws]
        # Inverse of the distribution function: between its jumps, a sample of draws must give the same number.
        low, high = np.quantile(rates, [0.1, 0.9], method="inverted_cdf")
        assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert [(one.unit, one.units) for one in found] == [("speaker", 2), ("utterance", 3)]
    assert found[0].note.startswith("Only 2 speakers")


def test_close_to_one_interval_at_a_time() -> None:
    draw = np.random.default_rng(9)
    group = np.sort(draw.integers(0, 11, size=600))
    group[-5:] = 11  # a small one, which earns a note
    words = draw.integers(0, 20, size=600)  # some without words
    errors = draw.binomial(words, 0.2)
    found = group_intervals(errors, words, group, ["utterance"] * 12, samples=20_000)
    for number, interval in enumerate(found):
        here = group == number
        alone = bootstrap_interval(errors[here], words[here], samples=20_000)
        close = 0.004 if interval.units >= 10 else 0.02  # few units have few different rates, with gaps between
        assert interval.low == pytest.approx(alone.low, abs=close)
        assert interval.high == pytest.approx(alone.high, abs=close)
        assert replace(interval, low=None, high=None) == replace(alone, low=None, high=None)


def test_where_there_is_nothing_to_draw_it_is_the_same() -> None:
    columns = {"no error": ([0, 0], [5, 5]), "no word": ([1, 2], [0, 0]), "one unit": ([1], [4])}
    errors = np.array([error for pair in columns.values() for error in pair[0]])
    words = np.array([word for pair in columns.values() for word in pair[1]])
    found = group_intervals(errors, words, np.array([0, 0, 1, 1, 2]), ["speaker"] * 3)
    for interval, (some_errors, some_words) in zip(found, columns.values(), strict=True):
        assert interval == bootstrap_interval(some_errors, some_words, unit="speaker")


def test_samples_without_a_word_are_left_out() -> None:
    [interval] = group_intervals(np.array([1, 0]), np.array([4, 0]), np.array([0, 0]), ["utterance"])
    assert (interval.low, interval.high) == (0.25, 0.25)
    for seed in range(6):  # with one sample, half the seeds draw no word at all
        [interval] = group_intervals(np.array([1, 0]), np.array([4, 0]), np.array([0, 0]), ["u"], samples=1, seed=seed)
        assert interval.low in (0.25, None)


def test_large_groups_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_SHARED_UNITS", 3)
    errors, words = np.array([1, 0, 2, 1]), np.array([9, 9, 9, 5])
    [interval] = group_intervals(errors, words, np.zeros(4, dtype=np.int64), ["speaker"])
    assert interval == bootstrap_interval(errors, words, unit="speaker")


def test_the_same_in_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(10)
    words = draw.integers(1, 20, size=90)
    errors = draw.binomial(words, 0.3)
    arguments = (errors, words, np.repeat(np.arange(3), 30), ["utterance"] * 3)
    whole = group_intervals(*arguments)
    assert whole == group_intervals(*arguments)
    monkeypatch.setattr(intervals, "_NUMBERS_AT_ONCE", 700)
    assert whole == group_intervals(*arguments)
    assert whole != group_intervals(*arguments, seed=1)


def test_no_groups() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert group_intervals(nothing, nothing, nothing, []) == []


def test_the_order_of_the_units_does_not_matter() -> None:
    draw = np.random.default_rng(4)
    group, words = draw.integers(0, 3, size=60), draw.integers(1, 20, size=60)
    errors, order = draw.binomial(words, 0.2), draw.permutation(60)
    found = group_intervals(errors, words, group, ["utterance"] * 3)
    assert group_intervals(errors[order], words[order], group[order], ["utterance"] * 3) == found
