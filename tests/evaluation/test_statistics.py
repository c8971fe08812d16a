import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.evaluation.statistics import bootstrap_interval, choose_units


def naive(errors: np.ndarray, words: np.ndarray, groups: np.ndarray, samples: int) -> tuple[float, float]:
    """Draw units one by one, as the definition says."""
    draw = np.random.default_rng(1)
    names = np.unique(groups)
    totals = np.array([[errors[groups == name].sum(), words[groups == name].sum()] for name in names])
    picked = totals[draw.integers(0, len(names), size=(samples, len(names)))].sum(axis=1)
    low, high = np.quantile(picked[:, 0] / picked[:, 1], [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("speakers", [None, 25])
def test_interval_has_the_width_of_the_naive_bootstrap(speakers: int | None) -> None:
    draw = np.random.default_rng(0)
    words = draw.integers(1, 20, size=500)
    errors = draw.binomial(words, 0.12)
    groups = np.arange(500) if speakers is None else draw.integers(0, speakers, size=500)
    ours = bootstrap_interval(errors, words, None if speakers is None else groups.tolist(), samples=20_000)
    low, high = naive(errors, words, groups, 20_000)
    assert ours.low == pytest.approx(low, abs=0.0015)
    assert ours.high == pytest.approx(high, abs=0.0015)
    assert (ours.method, ours.units) == ("bootstrap", 500 if speakers is None else 25)


def test_the_same_seed_gives_the_same_interval() -> None:
    first = bootstrap_interval([1, 0, 2, 0], [5, 6, 7, 8], seed=3)
    assert first == bootstrap_interval([1, 0, 2, 0], [5, 6, 7, 8], seed=3)
    assert first != bootstrap_interval([1, 0, 2, 0], [5, 6, 7, 8], seed=4)


def test_no_error_gets_wilsons_upper_limit() -> None:
    interval = bootstrap_interval([0, 0], [150, 150])
    assert interval.method == "wilson"
    assert interval.low == 0
    assert interval.high == pytest.approx(1.959964**2 / (300 + 1.959964**2), rel=1e-6)


def test_too_little_to_say_anything() -> None:
    assert bootstrap_interval([1], [5]).low is None
    assert bootstrap_interval([1, 1], [0, 0]).low is None
    with pytest.raises(InputError):
        bootstrap_interval([1, 2], [3])


def test_units_are_speakers_where_all_are_known() -> None:
    def utterance(name: str, speaker: str | None, recording: str | None = None) -> Utterance:
        return Utterance(id=name, audio="/a.wav", duration_s=1.0, speaker=speaker, recording=recording)

    assert choose_units([utterance("1", "x"), utterance("2", "y")]) == ("speaker", ["x", "y"])
    assert choose_units([utterance("1", "x"), utterance("2", None)]) == ("utterance", None)
    assert choose_units([utterance("1", None, "r"), utterance("2", None, "s")]) == ("recording", ["r", "s"])
    assert choose_units([utterance("1", "x"), utterance("2", "x")]) == ("utterance", None)
