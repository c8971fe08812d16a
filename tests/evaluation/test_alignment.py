"""The product's alignment against a slow one written from sclite's rules, and against hand-made cases."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.core import InputError
from harken.evaluation.alignment import align_characters, align_texts, align_words


def slow_sclite(reference: list[str], hypothesis: list[str]) -> str:
    """sclite's path as letters, from its rules alone: correct 0, substitution 4, deletion 3, insertion 3.

    The best way into a cell is the diagonal if it is no dearer than both others; else the deletion if it is strictly
    cheaper than the insertion; else the insertion. The path is read backwards from the end.
    """

    @cache
    def cell(i: int, j: int) -> tuple[int, str]:
        if i == 0 and j == 0:
            return 0, ""
        if i == 0:
            return 3 * j, "I"
        if j == 0:
            return 3 * i, "D"
        same = reference[i - 1] == hypothesis[j - 1]
        diagonal = cell(i - 1, j - 1)[0] + (0 if same else 4)
        deletion = cell(i - 1, j)[0] + 3
        insertion = cell(i, j - 1)[0] + 3
        if diagonal <= deletion and diagonal <= insertion:
            return diagonal, "C" if same else "S"
        return (deletion, "D") if deletion < insertion else (insertion, "I")

    path, i, j = [], len(reference), len(hypothesis)
    while i or j:
        step = cell(i, j)[1]
        path.append(step)
        i -= step != "I"
        j -= step != "D"
    return "".join(reversed(path))


def generated_pairs(count: int, *, vocabulary: int, error_rate: float, seed: int) -> list[tuple[list[str], list[str]]]:
    """References of 0 to 16 words and noisy copies of them; small vocabularies make many ties."""
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(vocabulary)]
    pairs = []
    for _ in range(count):
        reference = [draw.choice(words) for _ in range(draw.randint(0, 16))]
        hypothesis: list[str] = []
        for word in reference:
            chance = draw.random()
            if chance < error_rate / 3:
                continue
            hypothesis.append(draw.choice(words) if chance < 2 * error_rate / 3 else word)
            if draw.random() < error_rate / 3:
                hypothesis.append(draw.choice(words))
        pairs.append((reference, hypothesis))
    return pairs


@pytest.mark.parametrize(("vocabulary", "error_rate"), [(5000, 0.12), (200, 0.5), (30, 0.6), (10, 0.7), (3, 0.9)])
def test_path_is_sclites_on_40_000_pairs(vocabulary: int, error_rate: float) -> None:
    pairs = generated_pairs(8000, vocabulary=vocabulary, error_rate=error_rate, seed=vocabulary)
    aligned = align_texts([" ".join(r) for r, _ in pairs], [" ".join(h) for _, h in pairs])
    for number, (reference, hypothesis) in enumerate(pairs):
        assert aligned.letters(number) == slow_sclite(reference, hypothesis), (reference, hypothesis)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_single_pairs_take_the_same_path(reference: list[str], hypothesis: list[str]) -> None:
    operations = align_words(reference, hypothesis)
    assert "".join(op.kind for op in operations) == slow_sclite(reference, hypothesis)
    assert [op.reference for op in operations if op.reference is not None] == reference
    assert [op.hypothesis for op in operations if op.hypothesis is not None] == hypothesis


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=9), st.lists(st.sampled_from("abcd"), max_size=9))
def test_levenshtein_mode_has_the_least_errors(reference: list[str], hypothesis: list[str]) -> None:
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    operations = align_words(reference, hypothesis, alignment="levenshtein")
    assert sum(op.kind != "C" for op in operations) == row[-1]


def test_a_deletion_and_an_insertion_are_dearer_than_a_substitution() -> None:
    assert [op.kind for op in align_words("a b c", "a x c")] == ["C", "S", "C"]
    assert [op.kind for op in align_words("a b c", "a c")] == ["C", "D", "C"]
    assert [op.kind for op in align_words("a c", "a b c")] == ["C", "I", "C"]
    assert align_words("", "") == []
    # Two substitutions cost 8, a deletion and an insertion around a match 6.
    assert [op.kind for op in align_words("a b", "b c")] == ["D", "C", "I"]


def test_long_pairs_are_aligned_too() -> None:
    words = [f"w{number}" for number in range(3000)]
    hypothesis = [*words[:1000], "x", *words[1001:2500], *words[2501:]]
    letters = "".join(op.kind for op in align_words(words, hypothesis))
    assert letters == "C" * 1000 + "S" + "C" * 1499 + "D" + "C" * 499


def test_characters() -> None:
    assert [op.kind for op in align_characters("abd", "acd")] == ["C", "S", "C"]


def test_an_unknown_alignment_is_refused() -> None:
    with pytest.raises(InputError, match="sclite"):
        align_words("a", "a", alignment="sclit")
