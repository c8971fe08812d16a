import jiwer
import pytest

from harken.core import InputError
from harken.evaluation.metrics import score

REFERENCES = {"a": "the cat sat", "b": "on the mat", "c": "", "d": "one two three four"}
HYPOTHESES = {"a": "the cat sat", "b": "on a mat", "c": "uh", "d": "one three four"}


def test_counts_are_pooled() -> None:
    result = score(REFERENCES, HYPOTHESES)
    assert (result.words, result.substitutions, result.deletions, result.insertions) == (10, 1, 1, 1)
    assert result.wer == pytest.approx(0.3)
    assert result.sentence_error_rate == pytest.approx(0.75)
    assert result.insertions_on_empty == 1
    assert result.counts.rate(2) is None
    assert result.counts.rate(1) == pytest.approx(1 / 3)


def test_rates_agree_with_jiwer_in_levenshtein_mode() -> None:
    references = ["a b c d e", "f g h", "i j k l", "m"]
    hypotheses = ["a x c e", "f g h h", "j i k l", ""]
    ours = score(references, hypotheses, normalizer="none", alignment="levenshtein")
    assert ours.wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert ours.cer == pytest.approx(jiwer.cer(references, hypotheses))


def test_normalisation_is_named_and_applied() -> None:
    assert score(["Hello, World!"], ["hello world"]).wer == 0
    assert score(["Hello, World!"], ["hello world"], normalizer="none").wer == 1
    result = score(["x"], ["x"])
    assert result.normalizer["name"] == "basic"
    assert result.normalizer["version"]
    assert result.alignment == "sclite"


def test_one_letter_and_non_latin_words_count() -> None:
    assert score(["a b"], ["a"]).wer == 0.5
    assert score(["हिन्दी में भाषा"], ["हिन्दी भाषा"]).words == 3
    assert score(["кўча й"], ["куча и"]).substitutions == 2


def test_a_missing_hypothesis_is_an_error_or_deletions() -> None:
    with pytest.raises(InputError, match="b"):
        score({"a": "x", "b": "y z"}, {"a": "x"})
    result = score({"a": "x", "b": "y z"}, {"a": "x"}, missing="deletions")
    assert (result.deletions, result.missing) == (2, ("b",))


def test_a_hypothesis_without_reference_is_an_error() -> None:
    with pytest.raises(InputError):
        score({"a": "x"}, {"a": "x", "z": "y"})


def test_no_words_gives_no_rate_but_a_reason() -> None:
    result = score([""], ["uh"])
    assert result.wer is None
    assert "no words" in result.reason
