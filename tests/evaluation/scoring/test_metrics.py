import jiwer
import pytest

from harken.core import InputError
from harken.evaluation.scoring.metrics import score, score_systems

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


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "errors"),
    [
        ("今天天气很好", "今天天汽很好", 6, 1),
        ("今天天气很好", "今天 天气 很好", 6, 0),  # where spaces stand does not matter
        ("我在用machine learning做项目", "我用machine leaning做项目", 8, 2),  # the mixed error rate
        ("コーヒーを飲む", "コヒーを飲む", 7, 1),
        ("ที่นี่ดี", "ที่นี้ดี", 3, 1),
        ("ភាសាខ្មែរ", "ភាសាខ្មែ", 4, 1),
        ("شكرا جزيلا لك", "شكرا لك", 3, 1),  # right to left
        ("תודה רבה", "תודה רבה מאוד", 2, 1),
        ("한국어 음성 인식", "한국어 음성 인삭", 3, 1),
    ],
)
def test_units_by_script(reference: str, hypothesis: str, words: int, errors: int) -> None:
    result = score([reference], [hypothesis])
    assert (result.units, result.words, result.errors) == ("mixed", words, errors)


def test_words_only_on_request() -> None:
    result = score(["今天 天气"], ["今天 天汽"], units="words")
    assert (result.units, result.words, result.errors) == ("words", 2, 1)


def test_systems_share_words_and_get_the_scores_they_get_alone() -> None:
    other = {"a": "a cat sat", "b": "on the mat", "c": "", "d": "two three"}
    scores = score_systems(REFERENCES, {"first": HYPOTHESES, "second": other})
    assert list(scores) == ["first", "second"]
    for hypotheses, shared in zip((HYPOTHESES, other), scores.values(), strict=True):
        alone = score(REFERENCES, hypotheses)
        assert shared.ids == alone.ids
        assert shared.wer == alone.wer
        assert shared.cer == alone.cer
        for row in range(4):
            assert shared.alignments.operations(row) == alone.alignments.operations(row)
    assert scores["first"].alignments.words is scores["second"].alignments.words


def test_systems_name_the_one_that_is_wrong() -> None:
    with pytest.raises(InputError, match=r"hypotheses of 'second'.*'d'"):
        score_systems({"a": "x", "d": "y"}, {"first": {"a": "x", "d": "y"}, "second": {"a": "x"}})
    with pytest.raises(InputError, match="no systems"):
        score_systems({"a": "x"}, {})


@pytest.mark.parametrize(
    ("references", "hypotheses", "what"),
    [
        ({"a": "x"}, ["x"], "one has ids"),
        ("x y", ["x"], "one text"),
        ({"a": "x"}, {"a": None}, "'a' has NoneType"),
        ([("a", "x"), ("a", "y")], {"a": "x"}, "'a' twice"),
        ([("a", "x", "y")], {"a": "x"}, "is not a text"),
        ([1, 2], {}, "is not a text"),
        ([["x", "y"]], ["x"], "one has ids"),  # alternatives need ids
    ],
)
def test_what_cannot_be_paired(references: object, hypotheses: object, what: str) -> None:
    with pytest.raises(InputError, match=what):
        score(references, hypotheses)  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", [{"units": "letters"}, {"alignment": "x"}, {"normalizer": "x"}, {"missing": "x"}])
def test_unknown_names_are_refused(setting: dict[str, str]) -> None:
    with pytest.raises(InputError, match=next(iter(setting.values()))):
        score(["a"], ["a"], **setting)  # type: ignore[arg-type]


def test_nothing_at_all() -> None:
    result = score([], [])
    assert (result.utterances, result.wer, result.cer) == (0, None, None)
