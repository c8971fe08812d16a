"""The tests against their definitions written out, against SciPy, and on cases worked out by hand."""

from itertools import product

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.statistics import paired_tests
from harken.evaluation.statistics.paired_tests import (
    PairedDifference,
    holm,
    paired_bootstrap,
    paired_t_test,
    sign_flip_test,
)

Counts = np.ndarray
METHODS = [sign_flip_test, paired_bootstrap]


def make_pair(units: int, seed: int, *, same_words: bool = True) -> tuple[Counts, Counts, Counts, Counts]:
    draw = np.random.default_rng(seed)
    words = draw.integers(5, 60, size=units)
    other = words if same_words else words + draw.integers(0, 3, size=units)
    return draw.binomial(words, 0.2), words, draw.binomial(other, 0.25), other


def rate_difference(rows: Counts) -> float:
    errors_a, words_a, errors_b, words_b = rows.sum(axis=0)
    return float(errors_b / words_b - errors_a / words_a)


def every_swap(rows: Counts) -> list[float]:
    """The difference after every possible exchange of the two systems, unit by unit."""
    found = []
    for swaps in product([False, True], repeat=len(rows)):
        swapped = [row[[2, 3, 0, 1]] if swap else row for row, swap in zip(rows, swaps, strict=True)]
        found.append(rate_difference(np.array(swapped)))
    return found


# Sign flips


@pytest.mark.parametrize("same_words", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_sign_flips_are_those_of_the_definition(seed: int, same_words: bool) -> None:
    counts = make_pair(9, seed, same_words=same_words)
    rows = np.stack(counts, axis=1)
    value, swapped = rate_difference(rows), np.array(every_swap(rows))
    result = sign_flip_test(*counts)
    assert result.exact
    assert result.value == pytest.approx(value)
    assert result.p_value == pytest.approx(np.mean(np.abs(swapped) >= abs(value) - 1e-12))
    assert result.p_worse == pytest.approx(np.mean(swapped >= value - 1e-12))


def test_limits_are_the_shifts_that_are_not_rejected() -> None:
    """Take a shift off B's errors and test again: inside the interval p stays above 5 %, outside it does not."""
    errors_a, words, errors_b, _ = make_pair(10, 3)
    result = sign_flip_test(errors_a, words, errors_b, words)

    def p_values(shift: float) -> tuple[float, float]:
        differences = errors_b - errors_a - shift * words
        swapped = np.array(list(product([-1, 1], repeat=10))) @ differences
        return np.mean(swapped >= differences.sum() - 1e-9), np.mean(swapped <= differences.sum() + 1e-9)

    assert None not in (result.low, result.high, result.lower, result.upper)
    for limit, side, level in (
        (result.low, 0, 0.025),
        (result.lower, 0, 0.05),
        (result.high, 1, 0.025),
        (result.upper, 1, 0.05),
    ):
        outwards = -1e-6 if side == 0 else 1e-6
        assert p_values(limit + outwards)[side] <= level < p_values(limit - outwards)[side]


@pytest.mark.parametrize("units", [8, 13, 40])
def test_a_limit_above_zero_and_a_small_p_value_are_the_same_thing(units: int) -> None:
    significant = 0
    for seed in range(60):
        errors_a, words, errors_b, _ = make_pair(units, seed)
        result = sign_flip_test(errors_a, words, errors_b, words, samples=999)
        assert (result.lower is not None and result.lower > 0) == (
            result.p_worse is not None and result.p_worse <= 0.05
        )
        assert None not in (result.low, result.high, result.p_value)
        assert (result.low > 0 or result.high < 0) == (result.p_value <= 0.05)
        significant += result.p_worse is not None and result.p_worse <= 0.05
    assert 5 < significant < 60


def test_random_swaps_come_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = make_pair(14, 7)
    exact = sign_flip_test(*counts)
    monkeypatch.setattr(paired_tests, "LARGEST_EXACT", 0)
    drawn = sign_flip_test(*counts, samples=50_000)
    assert (exact.exact, drawn.exact) == (True, False)
    for name in ("p_value", "p_worse", "low", "high", "lower", "upper"):
        assert getattr(drawn, name) == pytest.approx(getattr(exact, name), abs=0.01), name


def test_sign_flips_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    errors_a, words, errors_b, _ = make_pair(60, 11)

    def pooled(ours: Counts, theirs: Counts, axis: int = -1) -> Counts:
        return (ours.sum(axis=axis) - theirs.sum(axis=axis)) / words.sum()

    expected = stats.permutation_test(
        (errors_b, errors_a), pooled, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    result = sign_flip_test(errors_a, words, errors_b, words, samples=20_000)
    assert result.value == pytest.approx(expected.statistic)
    assert result.p_value == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize("method", METHODS)
def test_changing_places_changes_the_sign(method: object) -> None:
    counts = make_pair(12, 5)
    forth, back = method(*counts), method(*counts[2:], *counts[:2])
    assert forth.value == -back.value
    if method is sign_flip_test:
        assert forth.p_value == back.p_value
        assert (forth.low, forth.upper) == (pytest.approx(-back.high), pytest.approx(-back.lower))


@pytest.mark.parametrize("method", METHODS)
def test_utterances_of_a_unit_go_together(method: object) -> None:
    counts = make_pair(200, 2)
    speakers = [f"speaker {number % 20}" for number in range(200)]
    sums = [np.array([column[number::20].sum() for number in range(20)]) for column in counts]
    named = method(*counts, speakers, unit="speaker")
    assert (named.unit, named.units) == ("speaker", 20)
    alone = method(*sums)
    assert (named.value, named.p_value, named.low, named.upper) == (alone.value, alone.p_value, alone.low, alone.upper)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_result(method: object) -> None:
    counts = make_pair(40, 2)
    assert method(*counts, seed=1) == method(*counts, seed=1)
    assert method(*counts, seed=1) != method(*counts, seed=2)


# Bootstrap


@pytest.mark.parametrize("same_words", [True, False])
def test_bootstrap_has_the_distribution_of_the_naive_one(same_words: bool) -> None:
    counts = make_pair(50, 4, same_words=same_words)
    rows = np.stack(counts, axis=1)
    draw = np.random.default_rng(9)
    naive = [rate_difference(rows[draw.integers(0, 50, size=50)]) for _ in range(20_000)]
    result = paired_bootstrap(*counts, samples=20_000)
    edges = np.quantile(naive, [0.025, 0.975, 0.05, 0.95])
    assert [result.low, result.high, result.lower, result.upper] == pytest.approx(edges, abs=0.002)
    assert result.p_worse == pytest.approx(np.mean(np.array(naive) <= 0), abs=0.01)
    assert result.p_value == pytest.approx(
        2 * min(np.mean(np.array(naive) <= 0), np.mean(np.array(naive) >= 0)), abs=0.02
    )


def test_bootstrap_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    errors_a, words, errors_b, _ = make_pair(300, 6)

    def pooled(ours: Counts, theirs: Counts, words: Counts, axis: int = -1) -> Counts:
        return (theirs.sum(axis=axis) - ours.sum(axis=axis)) / words.sum(axis=axis)

    interval = stats.bootstrap(
        (errors_a, errors_b, words),
        pooled,
        paired=True,
        n_resamples=9_999,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    result = paired_bootstrap(errors_a, words, errors_b, words, samples=9_999)
    assert (result.low, result.high) == (
        pytest.approx(interval.low, abs=0.001),
        pytest.approx(interval.high, abs=0.001),
    )


# Cases without an answer


def facts(result: PairedDifference) -> tuple[object, ...]:
    return result.value, result.low, result.upper, result.p_value, result.p_worse


@pytest.mark.parametrize("method", METHODS)
def test_cases_without_a_test_say_why(method: object) -> None:
    for empty in (method([], [], [], []), method([1, 0], [0, 0], [2, 1], [0, 0])):
        assert facts(empty) == (None, None, None, None, None)
        assert empty.note == "There are no reference words, so there is no rate."
    alone = method([1, 2], [9, 9], [2, 3], [9, 9], ["x", "x"], unit="speaker")
    assert facts(alone) == (pytest.approx(1 / 9), None, None, None, None)
    assert alone.note == "One speaker says nothing about how much they differ; a test needs 2 or more."
    for same in (method([1, 0, 2], [9, 9, 9], [1, 0, 2], [9, 9, 9]), method([0, 0], [5, 5], [0, 0], [5, 5])):
        assert facts(same) == (0.0, 0.0, 0.0, 1.0, 1.0)
        assert same.note == "No utterance has more errors in one than in the other."


def test_few_units_cannot_show_anything_and_the_note_says_so() -> None:
    result = sign_flip_test([0] * 4, [10] * 4, [5] * 4, [10] * 4, unit="speaker")
    assert (result.p_value, result.p_worse, result.low, result.lower) == (2 / 16, 1 / 16, None, None)
    assert result.note == "The systems differ in 4 of 4 speakers: no p-value below 0.12 is possible."
    enough = sign_flip_test([0] * 6, [10] * 6, [5] * 6, [10] * 6, unit="speaker")
    assert (enough.p_value, enough.note) == (2 / 64, "")
    assert (enough.low, enough.lower) == (pytest.approx(0.5), pytest.approx(0.5))
    assert paired_bootstrap([0] * 4, [10] * 4, [5, 4, 3, 2], [10] * 4).note == (
        "Only 4 utterances: the interval is too narrow."
    )


def test_units_without_words_are_no_trouble() -> None:
    for seed in range(3):
        result = sign_flip_test(
            [1, 0, 3, 0, 1, 2], [0, 0, 9, 9, 9, 9], [0, 2, 5, 1, 2, 4], [0, 0, 9, 9, 9, 9], seed=seed
        )
        assert result.value == pytest.approx(7 / 36)
        assert result.p_value == pytest.approx(8 / 64)  # sums of signed 1, 2, 2, 1, 1, 2 of 7 or 9, on either side
    many = make_pair(60, 1)
    for column in many:
        column[::2] = 0
    many[2][::4] = 2  # errors where there are no words
    result = sign_flip_test(*many)
    assert result.value is not None
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high


@pytest.mark.parametrize("method", METHODS)
def test_what_is_refused(method: object) -> None:
    with pytest.raises(InputError, match="errors_b has to be a list of whole numbers"):
        method([1], [2], [0.5], [2])
    with pytest.raises(InputError, match="different lengths"):
        method([1, 1], [2, 2], [1], [2])
    with pytest.raises(InputError, match="samples is 0"):
        method([1], [2], [1], [2], samples=0)
    with pytest.raises(InputError, match="confidence is 2"):
        method([1], [2], [1], [2], confidence=2)


# t-test and Holm


def test_t_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    errors_a, words, errors_b, _ = make_pair(80, 8)
    words[:3] = 0  # no rate: left out
    result = paired_t_test(errors_a, words, errors_b, words)
    expected = stats.ttest_rel((errors_b / np.maximum(words, 1))[3:], (errors_a / np.maximum(words, 1))[3:])
    assert (result.t, result.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert result.utterances == 77
    assert "not the pooled rate" in result.note


def test_t_test_without_an_answer() -> None:
    assert paired_t_test([1], [2], [1], [2]).p_value is None
    same = paired_t_test([1, 1], [4, 4], [2, 2], [4, 4])
    assert (same.mean, same.p_value) == (0.25, None)
    assert same.note.startswith("The difference is the same in every utterance")
    assert paired_t_test([1, 1], [4, 4], [1, 1], [4, 4]).mean == 0


def test_the_order_of_utterances_does_not_matter_to_the_last_bit() -> None:
    counts, draw = make_pair(400, 6), np.random.default_rng(6)
    found = paired_t_test(*counts)
    for _ in range(5):
        order = draw.permutation(400)
        assert paired_t_test(*(column[order] for column in counts)) == found


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # in Holm's order: 4, 3, 2, 1
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    with pytest.raises(InputError, match=r"1\.2 is not a p-value"):
        holm([0.1, 1.2])
