import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.evaluation.statistics.intervals import bootstrap_interval, choose_units


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


def test_interval_agrees_with_scipys_bootstrap() -> None:
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    draw = np.random.default_rng(2)
    words = draw.integers(1, 25, size=300)
    errors = draw.binomial(words, 0.2)

    def pooled(errors: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
        return errors.sum(axis=axis) / words.sum(axis=axis)

    theirs = bootstrap(
        (errors, words), pooled, paired=True, n_resamples=9_999, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    ours = bootstrap_interval(errors, words, samples=9_999)
    assert ours.low == pytest.approx(theirs.low, abs=0.001)
    assert ours.high == pytest.approx(theirs.high, abs=0.001)


def test_few_units_are_warned_about_and_samples_without_words_left_out() -> None:
    interval = bootstrap_interval([1, 1, 2], [0, 4, 4], ["a", "b", "c"], unit="speaker")
    assert (interval.unit, interval.units) == ("speaker", 3)
    assert interval.note.startswith("Only 3 speakers")
    assert interval.low is not None
    assert interval.high is not None
    assert 0 < interval.low < interval.high  # the sample that drew "a" three times would divide by zero


@pytest.mark.parametrize(
    ("errors", "words", "options", "message"),
    [
        ([1.5], [3], {}, "errors has to be a list of whole numbers"),
        ([float("nan")], [3], {}, "errors has to be a list of whole numbers"),
        ([1], [-3], {}, "words has to be a list of whole numbers"),
        ([1, 1], [3, 3], {"units": ["a"]}, "different lengths"),
        ([1], [3], {"samples": 0}, "samples is 0"),
        ([1], [3], {"confidence": 95}, "confidence is 95"),
    ],
)
def test_what_is_refused(errors: list[float], words: list[int], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bootstrap_interval(errors, words, **options)
