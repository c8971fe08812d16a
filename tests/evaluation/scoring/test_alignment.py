"""Word alignment against sclite's rules written out slowly, in counts and in path."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import InputError
from harken.evaluation import Operation, align_characters, align_texts, align_words
from harken.evaluation.scoring.alignment import LARGEST_PAIR_CELLS
from harken.evaluation.scoring.lattice import COSTS, align_long

GAP_AND_SUBSTITUTION = {"sclite": (3, 4), "levenshtein": (1, 1)}

# 40,000 pairs: vocabularies from two words, where nearly every cell is a tie, to 20,000; WER from 5 to over 100 %.
SETS = [
    {"count": 8_000, "vocabulary": 2, "error_rate": 1.2, "longest": 7},
    {"count": 8_000, "vocabulary": 3, "error_rate": 0.8, "longest": 8},
    {"count": 8_000, "vocabulary": 10, "error_rate": 0.7, "longest": 9},
    {"count": 8_000, "vocabulary": 30, "error_rate": 0.5, "longest": 9},
    {"count": 4_000, "vocabulary": 200, "error_rate": 1.5, "longest": 10},
    {"count": 4_000, "vocabulary": 20_000, "error_rate": 0.1, "longest": 12},
]
LONG_SETS = [
    {"count": 2_000, "vocabulary": 5, "error_rate": 0.8, "longest": 40},
    {"count": 500, "vocabulary": 300, "error_rate": 0.3, "longest": 80},
]

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


def _steps(operations: list[Operation]) -> list[tuple[str, str | None, str | None]]:
    return [(op.kind, op.reference, op.hypothesis) for op in operations]


def _check(pairs: list[tuple[str, str]], alignment: str, slow_alignment: Callable[..., Any]) -> None:
    aligned = align_texts([ref for ref, _ in pairs], [hyp for _, hyp in pairs], alignment=alignment)
    counts = np.stack([aligned.count(ord(kind)) for kind in "CSDI"], axis=1).tolist()
    for pair, (reference, hypothesis) in enumerate(pairs):
        expected = slow_alignment(reference.split(), hypothesis.split(), *GAP_AND_SUBSTITUTION[alignment])
        assert _steps(aligned.operations(pair)) == expected, (reference, hypothesis)
        kinds = Counter(kind for kind, _, _ in expected)
        assert counts[pair] == [kinds[kind] for kind in "CSDI"]


@pytest.mark.parametrize("which", range(len(SETS)))
def test_sclite_counts_and_paths_on_40_000_pairs(which: int, make_pairs: Any, slow_alignment: Any) -> None:
    _check(make_pairs(**SETS[which], seed=1), "sclite", slow_alignment)


@pytest.mark.parametrize("which", range(len(SETS)))
def test_levenshtein_counts_and_paths(which: int, make_pairs: Any, slow_alignment: Any) -> None:
    _check(make_pairs(**{**SETS[which], "count": 400}, seed=2), "levenshtein", slow_alignment)


@pytest.mark.parametrize("alignment", ["sclite", "levenshtein"])
@pytest.mark.parametrize("which", range(len(LONG_SETS)))
def test_long_texts(which: int, alignment: str, make_pairs: Any, slow_alignment: Any) -> None:
    _check(make_pairs(**LONG_SETS[which], seed=3), alignment, slow_alignment)


@pytest.mark.parametrize("alignment", ["sclite", "levenshtein"])
def test_one_pair_at_a_time_gives_the_same(alignment: str, make_pairs: Any, slow_alignment: Any) -> None:
    for reference, hypothesis in make_pairs(count=500, vocabulary=4, error_rate=0.8, longest=12, seed=4):
        expected = slow_alignment(reference.split(), hypothesis.split(), *GAP_AND_SUBSTITUTION[alignment])
        assert _steps(align_words(reference, hypothesis, alignment)) == expected


@given(WORDS, WORDS, st.integers(1, 60))
def test_cutting_the_lattice_into_blocks_changes_nothing(
    reference: list[str], hypothesis: list[str], cells: int
) -> None:
    ids = [np.array([ord(word) for word in words], dtype=np.int32) for words in (reference, hypothesis)]
    for costs in COSTS.values():
        assert align_long(*ids, costs, cells=cells).tolist() == align_long(*ids, costs).tolist()


@given(WORDS, WORDS)
def test_an_alignment_spells_both_texts_and_names_its_steps_rightly(
    reference: list[str], hypothesis: list[str]
) -> None:
    for alignment in COSTS:
        operations = align_words(reference, hypothesis, alignment)
        assert [op.reference for op in operations if op.reference is not None] == reference
        assert [op.hypothesis for op in operations if op.hypothesis is not None] == hypothesis
        for op in operations:
            assert (op.reference is None) == (op.kind == "I")
            assert (op.hypothesis is None) == (op.kind == "D")
            assert (op.reference == op.hypothesis) == (op.kind == "C")


@given(WORDS, WORDS)
def test_levenshtein_has_the_fewest_errors_and_sclite_the_lowest_cost(
    reference: list[str], hypothesis: list[str]
) -> None:
    distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
    for alignment, weights in (("levenshtein", (1, 1, 1)), ("sclite", (3, 3, 4))):
        kinds = Counter(op.kind for op in align_words(reference, hypothesis, alignment))
        cost = weights[0] * kinds["I"] + weights[1] * kinds["D"] + weights[2] * kinds["S"]
        assert cost == distance(reference, hypothesis, weights=weights)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kinds"),
    [
        ("", "", ""),
        ("a", "", "D"),
        ("", "a", "I"),
        ("a", "a", "C"),
        ("a", "b", "S"),  # 4 is cheaper than 3 + 3
        ("a a", "a", "DC"),  # read from the end: the last a is matched
        ("a", "a a", "IC"),
        ("a b c", "a x c", "CSC"),
        ("a b c", "a c", "CDC"),
        ("a c", "a b c", "CIC"),
        ("a b", "b c", "DCI"),  # 6 against two substitutions at 8
        ("a b", "b a", "DCI"),  # matching either word costs 6; seen from the end, insertion beats deletion
        ("the cat sat", "the cat sat", "CCC"),
        ("one two three", "one too three four", "CSCI"),
    ],
)
def test_sclite_by_hand(reference: str, hypothesis: str, kinds: str) -> None:
    assert "".join(op.kind for op in align_words(reference, hypothesis)) == kinds


def test_levenshtein_by_hand_differs_where_substitution_costs_less_than_two_gaps() -> None:
    assert [op.kind for op in align_words("a b", "b a", "levenshtein")] == ["S", "S"]


def test_words_may_hold_anything_when_given_as_a_list() -> None:
    assert align_words(["new york", "Ωμέγα"], ["new york", "ωμέγα"]) == [
        Operation("C", "new york", "new york"),
        Operation("S", "Ωμέγα", "ωμέγα"),
    ]


def test_characters() -> None:
    steps = [(op.kind, op.reference, op.hypothesis) for op in align_characters("да вот", "давот")]
    assert steps == [
        ("C", "д", "д"),
        ("C", "а", "а"),
        ("D", " ", None),
        ("C", "в", "в"),
        ("C", "о", "о"),
        ("C", "т", "т"),
    ]


def test_very_long_pair_with_known_answer() -> None:
    """5,000 words against themselves with every tenth one gone and one word put in front."""
    words = [f"w{n}" for n in range(5_000)]
    kept = ["extra", *(word for n, word in enumerate(words) if n % 10 != 3)]
    kinds = Counter(op.kind for op in align_words(words, kept))
    assert kinds == {"C": 4_500, "D": 500, "I": 1}


def test_long_pair_with_known_path() -> None:
    words = [f"w{number}" for number in range(3000)]
    hypothesis = [*words[:1000], "x", *words[1001:2500], *words[2501:]]
    letters = "".join(op.kind for op in align_words(words, hypothesis))
    assert letters == "C" * 1000 + "S" + "C" * 1499 + "D" + "C" * 499


def test_costs_of_very_long_texts_do_not_overflow() -> None:
    """Above 5,461 words the lattice no longer fits 16 bits."""
    words = [str(n) for n in range(7_000)]
    assert {op.kind for op in align_words(words, words)} == {"C"}


def test_texts_of_very_different_lengths_in_one_corpus() -> None:
    references = ["a b c", "", " ".join("xyz" * 500), "a", ""]
    hypotheses = ["a c", "b b", " ".join("xz" * 500), "", ""]
    aligned = align_texts(references, hypotheses)
    assert [aligned.letters(n) for n in (0, 1, 3, 4)] == ["CDC", "II", "D", ""]
    assert Counter(aligned.letters(2)) == {"C": 1000, "D": 500}
    assert aligned.operations(0)[1] == Operation("D", "b", None)


def test_the_order_of_pairs_does_not_change_their_alignments(make_pairs: Any) -> None:
    pairs = make_pairs(count=300, vocabulary=3, error_rate=0.8, longest=10, seed=5)
    one = align_texts([r for r, _ in pairs], [h for _, h in pairs])
    two = align_texts([r for r, _ in pairs[::-1]], [h for _, h in pairs[::-1]])
    assert [one.letters(n) for n in range(300)] == [two.letters(299 - n) for n in range(300)]


def test_a_profile_that_changes_the_number_of_words_is_applied_to_both_sides() -> None:
    aligned = align_texts(["Well-known, -- FACTS!", "co-op"], ["well known facts", "... coop"], profile="basic")
    assert [aligned.letters(n) for n in (0, 1)] == ["CCC", "DS"]
    assert aligned.references.lengths.tolist() == [3, 2]


def test_an_empty_corpus() -> None:
    assert len(align_texts([], [])) == 0
    assert align_texts([], []).count(ord("C")).tolist() == []


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"'kaldi'.*sclite, levenshtein"):
        align_words("a", "b", "kaldi")
    with pytest.raises(InputError, match="1 references and 2 hypotheses"):
        align_texts(["a"], ["a", "b"])
    side = int(LARGEST_PAIR_CELLS**0.5) + 1
    with pytest.raises(InputError, match="too long to align"):
        align_words(["a"] * side, ["a"] * side)


def test_units() -> None:
    assert [op.kind for op in align_words("今天天气 ok", "今天 天汽 ok")] == ["C", "C", "C", "S", "C"]
    assert [op.kind for op in align_words("今天天气 ok", "今天天汽 ok", units="words")] == ["S", "C"]
    assert align_texts(["今天"], ["今"]).letters(0) == "CD"
    assert align_texts(["今天"], ["今"], units="words").letters(0) == "S"
    with pytest.raises(InputError, match=r"'letters'.*mixed, words"):
        align_words("a", "b", units="letters")  # type: ignore[arg-type]
