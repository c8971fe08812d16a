"""What a test set can show, against the formula by hand and against simulated tests."""

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.statistics.paired_tests import sign_flip_test
from harken.evaluation.statistics.power import fewest_units, minimum_detectable_difference

ERRORS, WORDS = [2, 0, 4, 1, 3, 2, 0, 4], [10, 10, 10, 10, 10, 10, 10, 10]


def test_by_hand() -> None:
    stats = pytest.importorskip("scipy.stats")
    found = minimum_detectable_difference(ERRORS, WORDS)
    squares = sum((errors - 2) ** 2 for errors in ERRORS)  # 2 is the mean
    error = (8 / 7 * 2 * squares) ** 0.5 / 80
    assert found.standard_error == pytest.approx(error)
    assert found.value == pytest.approx((stats.t.ppf(0.975, 7) + stats.t.ppf(0.8, 7)) * error)
    assert (found.correlation, found.measured, found.unit, found.units, found.utterances) == (
        0,
        False,
        "utterance",
        8,
        8,
    )
    assert found.note == "Errors of the two systems are taken to correlate by 0."
    half = minimum_detectable_difference(ERRORS, WORDS, correlation=0.75)
    assert half.value == pytest.approx(found.value / 2)


def test_with_a_second_system_the_correlation_is_measured() -> None:
    other = [2, 1, 3, 1, 3, 2, 1, 4]
    found = minimum_detectable_difference(ERRORS, WORDS, other_errors=other)
    differences = np.array(other) - np.array(ERRORS)
    assert found.standard_error == pytest.approx(differences.std(ddof=1) * 8**0.5 / 80)
    assert found.correlation == pytest.approx(np.corrcoef(ERRORS, other)[0, 1])
    assert (found.measured, found.note) == (True, "")


def test_units_are_summed_first() -> None:
    labels = ["a", "b", "a", "b", "c", "d", "c", "d"]
    found = minimum_detectable_difference(ERRORS, WORDS, labels, unit="speaker")
    same = minimum_detectable_difference([6, 1, 3, 6], [20] * 4)
    assert found.standard_error == same.standard_error
    assert (found.unit, found.units, found.utterances) == ("speaker", 4, 8)
    assert found.note.startswith("Only 4 units: no sign-flip test of them reaches p < 0.05.")


def test_how_much_it_takes_is_the_inverse() -> None:
    found = minimum_detectable_difference(ERRORS * 50, WORDS * 50, list(range(40)) * 10, unit="speaker")
    assert found.units == 40
    needed = found.needed(found.value)
    assert (needed.units, needed.utterances) == (40, 400)
    for smaller in (0.5, 0.1, 0.01):
        needed = found.needed(found.value * smaller)
        assert needed.units == pytest.approx(40 / smaller**2, rel=0.06)
        assert needed.utterances == 10 * needed.units
    assert found.needed(10.0).units == fewest_units(0.05) == 6
    with pytest.raises(InputError, match="difference is 0"):
        found.needed(0)


def test_counts_that_cannot_tell() -> None:
    for errors, words, message in (
        ([0, 0], [0, 0], "There are no reference words"),
        ([1], [5], "One unit says nothing"),
        ([0, 0, 0], [5, 5, 5], "Nothing varies between the units"),
        ([1, 2, 3], [5, 10, 15], "Nothing varies between the units"),
    ):
        found = minimum_detectable_difference(errors, words)
        assert (found.value, found.standard_error) == (None, None)
        assert found.note.startswith(message)
        assert found.needed(0.01) is None
    assert minimum_detectable_difference([], []).value is None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 0}, "alpha is 0"), ({"power": 1}, "power is 1"), ({"correlation": 1}, "correlation is 1")],
)
def test_what_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        minimum_detectable_difference(ERRORS, WORDS, **options)


@pytest.mark.parametrize("speakers", [20, 60])
def test_a_difference_of_that_size_is_found_four_times_in_five(speakers: int) -> None:
    """Speakers differ in how hard they are and in which system suits them; the true change has the stated size."""
    draw = np.random.default_rng(speakers)
    words = np.full(speakers, 400)

    def systems(change: float) -> tuple[np.ndarray, np.ndarray]:
        rate = draw.uniform(0.05, 0.2, size=speakers)
        suits = draw.normal(0, 0.01, size=speakers)
        return draw.binomial(words, rate), draw.binomial(words, np.clip(rate + suits + change, 0, 1))

    detectable = []
    for _ in range(200):
        errors, other = systems(0.0)
        detectable.append(minimum_detectable_difference(errors, words, other_errors=other).value)
    hits = 0
    for _ in range(500):
        errors, other = systems(-float(np.mean(detectable)))
        hits += sign_flip_test(errors, words, other, words, samples=999).p_value < 0.05
    assert 0.74 < hits / 500 < 0.87


def test_the_order_of_the_units_does_not_matter() -> None:
    draw = np.random.default_rng(5)
    words = draw.integers(3, 40, size=400)
    errors, others = draw.binomial(words, 0.12), draw.binomial(words, 0.13)
    found = minimum_detectable_difference(errors, words, other_errors=others)
    for _ in range(5):
        order = draw.permutation(400)
        assert minimum_detectable_difference(errors[order], words[order], other_errors=others[order]) == found
