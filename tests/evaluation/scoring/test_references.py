"""References with alternatives: which one counts, and that the rest of the corpus is not touched."""

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.scoring.metrics import score, score_systems


def test_the_alternative_with_the_fewest_errors_counts() -> None:
    references = {"a": ["it is five", "it's 5"], "b": "plain text", "c": ("x y z", "x", "x y")}
    result = score(references, {"c": "x y", "a": "it's 5", "b": "plane text"}, normalizer="none")
    assert result.alternatives is not None
    assert result.alternatives.tolist() == [1, 0, 2]
    assert result.counts.words.tolist() == [2, 2, 2]
    assert result.counts.errors.tolist() == [0, 1, 0]
    assert result.wer == pytest.approx(1 / 6)
    assert [result.alignments.letters(n) for n in range(3)] == ["CC", "SC", "CC"]
    assert [op.reference for op in result.alignments.operations(0)] == ["it's", "5"]
    assert result.counts.characters.tolist() == [6, 10, 3]


def test_of_equally_good_alternatives_the_first_counts() -> None:
    result = score({"a": ["x a", "x b", "x b c"]}, {"a": "x q"})
    assert result.alternatives is not None
    assert (result.alternatives.tolist(), result.words, result.errors) == ([0], 2, 1)


def test_fewest_errors_even_where_the_weighted_cost_is_higher() -> None:
    """One substitution (4 in sclite's costs) against one insertion (3): one error each, so the first stays."""
    result = score({"a": ["x b", "x"]}, {"a": "x q"})
    assert result.alternatives is not None
    assert result.alternatives.tolist() == [0]


def test_an_empty_alternative() -> None:
    result = score({"a": ["uh", ""], "b": ["", "uh"]}, {"a": "", "b": "uh"})
    assert (result.errors, result.words, result.insertions_on_empty) == (0, 1, 0)


def test_one_alternative_each_is_the_plain_score() -> None:
    plain = {"a": "one two", "b": "", "c": "three"}
    hypotheses = {"a": "one", "b": "uh", "c": "tree"}
    listed = score({id_: [text] for id_, text in plain.items()}, hypotheses)
    expected = score(plain, hypotheses)
    assert listed.alternatives is None
    assert np.array_equal(listed.alignments.codes, expected.alignments.codes)
    assert np.array_equal(listed.alignments.offsets, expected.alignments.offsets)


def test_lists_and_alternations_together() -> None:
    references = {"a": ["{ p / q } r", "s { t / @ } u"], "b": "v w"}
    result = score(references, {"a": "s u", "b": "v"}, alternations=True)
    assert result.alternatives is not None
    assert (result.alternatives.tolist(), result.counts.words.tolist(), result.errors) == ([1, 0], [2, 2], 1)


def test_each_system_has_the_alternatives_that_suit_it() -> None:
    scores = score_systems({"a": ["it is", "it's"]}, {"one": {"a": "it is"}, "two": {"a": "it's"}})
    assert [scores[name].words for name in ("one", "two")] == [2, 1]
    assert [scores[name].errors for name in ("one", "two")] == [0, 0]


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ([], "'a' has no alternatives"),
        (None, "'a' has NoneType"),
        (["x", 3], "'a' has int among its alternatives"),
        ({"x": 1}, "'a' has dict"),
    ],
)
def test_what_is_no_reference(reference: object, what: str) -> None:
    with pytest.raises(InputError, match=what):
        score({"a": reference}, {"a": "x"})  # type: ignore[dict-item]
