"""Time-constrained errors by hand, and against a plain table over words and times."""

import random
import sys

import pytest

from harken.core import InputError, MissingPart, Segment, Word
from harken.evaluation.scoring.timed import TimedScore, time_constrained

pytest.importorskip("meeteval")


def _segment(text: str, start_s: float, end_s: float, words: tuple[Word, ...] = ()) -> Segment:
    return Segment(text=text, start_s=start_s, end_s=end_s, words=words)


def _word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s)


def _counts(result: TimedScore) -> list[int]:
    """Words, substitutions, deletions, insertions."""
    return [int(counts.sum()) for counts in (result.words, result.substitutions, result.deletions, result.insertions)]


def _score(reference: list[Segment | Word], hypothesis: list[Segment | Word], collar_s: float) -> list[int]:
    return _counts(time_constrained({"r": reference}, {"r": hypothesis}, collar_s=collar_s))


def test_a_word_at_another_time_is_no_match() -> None:
    reference = [_word("yes", 0, 1), _word("no", 60, 61)]
    assert _score(reference, [_word("no", 60.2, 60.8), _word("yes", 0.1, 0.9)], 1.0) == [2, 0, 0, 0]
    assert _score(reference, [_word("no", 0, 1), _word("yes", 60, 61)], 1.0) == [2, 2, 0, 0]
    assert _score(reference, [_word("no", 30, 31)], 1.0) == [2, 0, 2, 1]
    assert _score(reference, [_word("no", 30, 31)], 40.0) == [2, 0, 1, 0]


def test_the_collar_reaches_from_the_middle_of_a_hypothesis_word() -> None:
    reference = [_word("a", 0, 1)]
    assert _score(reference, [_word("a", 2, 4)], 1.9) == [1, 0, 1, 1]  # the middle is at 3 s
    assert _score(reference, [_word("a", 2, 4)], 2.1) == [1, 0, 0, 0]


def test_segments_are_divided_among_their_words() -> None:
    reference = [_segment("one three", 0, 8)]  # three letters to 3 s, five to 8 s
    assert _score(reference, [_word("three", 6, 7)], 0.5) == [2, 0, 1, 0]
    assert _score(reference, [_word("one", 6, 7)], 0.5) == [2, 1, 1, 0]


def test_words_inside_a_segment_keep_their_times() -> None:
    late = _segment("one three", 0, 8, words=(_word("one", 7, 7.5), _word("three", 7.5, 8)))
    assert _score([late], [_word("one", 7, 7.5)], 0.5) == [2, 0, 1, 0]


def test_texts_are_normalised_and_cut_into_units() -> None:
    result = time_constrained(
        {"r": [_segment("今天 天气, OK!", 0, 5)]}, {"r": [_segment("今天天汽 ok", 0, 5)]}, collar_s=5
    )
    assert _counts(result) == [5, 1, 0, 0]
    assert (result.normalizer["name"], result.units, result.collar_s) == ("basic", "mixed", 5)
    assert result.version


def test_empty_sides_and_several_recordings_are_pooled() -> None:
    references = {"a": [], "b": [_segment("x y", 0, 1)], "c": [], "d": [_word("z", 0, 1)]}
    hypotheses = {"d": [_word("z", 0, 1)], "a": [_word("uh", 0, 1)], "b": [], "c": [_segment("...", 0, 1)]}
    result = time_constrained(references, hypotheses, collar_s=1)
    assert result.ids == ("a", "b", "c", "d")
    assert (result.words.tolist(), result.errors.tolist()) == ([0, 2, 0, 1], [1, 2, 0, 0])
    assert result.wer == pytest.approx(1.0)
    assert time_constrained({}, {}, collar_s=1).wer is None


def _fewest_errors(reference: list[Word], hypothesis: list[Word], collar_s: float) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            middle = (other.start_s + other.end_s) / 2
            together = word.start_s < middle + collar_s and middle - collar_s < word.end_s
            diagonal = corner + (word.text != other.text) if together else 10**9
            corner, row[j] = row[j], min(diagonal, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def test_against_a_plain_table() -> None:
    draw = random.Random(1)

    def words(count: int) -> list[Word]:
        starts = sorted(draw.uniform(0, 20) for _ in range(count))
        return [_word(draw.choice("abc"), start, start + draw.uniform(0.05, 0.4)) for start in starts]

    for _ in range(200):
        reference, hypothesis, collar_s = words(draw.randint(1, 15)), words(draw.randint(1, 15)), draw.uniform(0.1, 8)
        total, substitutions, deletions, insertions = _score([*reference], [*hypothesis], collar_s)
        assert substitutions + deletions + insertions == _fewest_errors(reference, hypothesis, collar_s)
        assert total - deletions + insertions == len(hypothesis)


@pytest.mark.parametrize("collar_s", [-1.0, float("nan"), float("inf")])
def test_a_collar_that_is_no_time(collar_s: float) -> None:
    with pytest.raises(InputError, match="collar_s"):
        time_constrained({}, {}, collar_s=collar_s)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="'a' has no hypothesis"):
        time_constrained({"a": []}, {}, collar_s=1)
    with pytest.raises(InputError, match="'b' has no reference"):
        time_constrained({}, {"b": []}, collar_s=1)
    with pytest.raises(InputError, match=r"references: 'a' has 'x' from 2 s to 1 s"):
        time_constrained({"a": [_word("x", 2, 1)]}, {"a": []}, collar_s=1)
    with pytest.raises(InputError, match=r"hypotheses: 'a' has a str"):
        time_constrained({"a": []}, {"a": ["x"]}, collar_s=1)  # type: ignore[list-item]
    with pytest.raises(InputError, match="both sides"):
        time_constrained([_word("x", 0, 1)], [], collar_s=1)  # type: ignore[arg-type]


def test_without_meeteval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meeteval", None)
    monkeypatch.setitem(sys.modules, "meeteval.wer", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[eval\]'"):
        time_constrained({"a": []}, {"a": []}, collar_s=1)
