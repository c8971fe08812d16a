"""Character errors: spaces count, equal beginnings and ends are skipped, long texts take another road."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.evaluation import align_texts
from harken.evaluation.scoring.characters import LONGEST_IN_BATCH, character_errors, count_characters
from harken.text.segmentation import Units

TEXTS = st.lists(st.tuples(st.text("ab ", max_size=12), st.text("ab ", max_size=12)), max_size=8)


def _errors(references: list[str], hypotheses: list[str], alignment: str = "sclite") -> list[int]:
    return character_errors(align_texts(references, hypotheses, alignment=alignment)).tolist()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "characters", "errors"),
    [
        ("", "", 0, 0),
        ("a", "", 1, 1),
        ("", "ab c", 0, 4),
        ("ab c", "", 4, 4),
        ("the cat", "thecat", 7, 1),  # a missing space is one error
        ("the cat", "the cat sat", 7, 4),  # and an added word brings its space
        ("cat sat", "sat", 7, 4),
        ("  a   b ", "a b", 3, 0),  # white space is one space
        ("हिन्दी", "हिनदी", 6, 1),  # code points: the virama counts
        ("😀 x", "😁 x", 3, 1),
    ],
)
def test_by_hand(reference: str, hypothesis: str, characters: int, errors: int) -> None:
    aligned = align_texts([reference], [hypothesis])
    assert count_characters(aligned).tolist() == [characters]
    assert character_errors(aligned).tolist() == [errors]


@pytest.mark.parametrize("alignment", ["sclite", "levenshtein"])
@given(TEXTS)
def test_errors_are_the_edit_distance_whatever_the_alignment(alignment: str, pairs: list[tuple[str, str]]) -> None:
    distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
    expected = [distance(" ".join(r.split()), " ".join(h.split())) for r, h in pairs]
    assert _errors([r for r, _ in pairs], [h for _, h in pairs], alignment) == expected


@pytest.mark.parametrize("alignment", ["sclite", "levenshtein"])
@given(st.lists(st.tuples(st.text("ab今天 ", max_size=10), st.text("ab今天 ", max_size=10)), max_size=8))
def test_no_spaces_beside_characters_of_scripts_without_spaces(alignment: str, pairs: list[tuple[str, str]]) -> None:
    distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
    plain = [[_close(text) for text in pair] for pair in pairs]
    aligned = align_texts([r for r, _ in pairs], [h for _, h in pairs], alignment=alignment)
    assert character_errors(aligned).tolist() == [distance(r, h) for r, h in plain]
    assert count_characters(aligned).tolist() == [len(r) for r, _ in plain]


def _close(text: str) -> str:
    """Single spaces, and none beside 今 or 天."""
    return re.sub(" *([今天]) *", r"\1", " ".join(text.split()))


@pytest.mark.parametrize(("units", "characters", "errors"), [("mixed", 6, 0), ("words", 9, 3)])
def test_spaces_between_chinese_words_count_only_where_words_are_units(
    units: Units, characters: int, errors: int
) -> None:
    aligned = align_texts(["今天 ok 天 气"], ["今天ok天气"], units=units)
    assert count_characters(aligned).tolist() == [characters]
    assert character_errors(aligned).tolist() == [errors]


def test_generated_corpus_and_long_texts_in_it(make_pairs: Any) -> None:
    distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
    pairs = make_pairs(count=600, vocabulary=50, error_rate=0.5, longest=40, seed=6)
    pairs += make_pairs(count=10, vocabulary=50, error_rate=0.5, longest=LONGEST_IN_BATCH, seed=7)
    assert max(len(reference) for reference, _ in pairs) > LONGEST_IN_BATCH
    assert _errors([r for r, _ in pairs], [h for _, h in pairs]) == [distance(r, h) for r, h in pairs]


def test_a_large_alphabet() -> None:
    """Thousands of different characters, as in Chinese, make the batches small."""
    references = ["".join(chr(0x4E00 + (7 * n + k) % 6000) for k in range(20)) for n in range(300)]
    hypotheses = [text[:5] + text[6:] + "一" for text in references]
    assert set(_errors(references, hypotheses)) == {2}


def test_half_a_surrogate_pair_is_a_character() -> None:
    assert _errors(["a\ud800"], ["a"]) == [1]
