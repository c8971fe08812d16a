"""Word numbers: normalising distinct words once has to give what normalising whole texts gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.evaluation.scoring.encode import EncodedTexts, WordTable, gather_runs, padded, take
from harken.text import Profile, find_profile, normalize

TEXTS = st.lists(st.text(st.sampled_from("aB'-.’İ\u0301 \t\n\u200dक\u093e"), max_size=15), max_size=6)


def _spelled(table: WordTable, texts: EncodedTexts) -> list[list[str]]:
    words = table.words
    return [[words[id_] for id_ in texts.ids[a:b]] for a, b in zip(texts.offsets, texts.offsets[1:], strict=False)]


@pytest.mark.parametrize("profile", ["none", "basic"])
@given(TEXTS, TEXTS)
def test_words_are_those_of_the_normalised_text(profile: str, first: list[str], second: list[str]) -> None:
    table = WordTable(find_profile(profile))
    encoded = [table.encode(first), table.encode(second)]
    for texts, result in zip((first, second), encoded, strict=True):
        assert _spelled(table, result) == [normalize(text, profile).split() for text in texts]


def test_a_profile_that_looks_at_whole_texts_is_given_whole_texts() -> None:
    table = WordTable(Profile(name="joined", version="1", function=lambda text: text.replace(" ", ""), by_word=False))
    assert _spelled(table, table.encode(["a b", "ab c", ""])) == [["ab"], ["abc"], []]
    seen: list[str] = []
    table = WordTable(Profile(name="seen", version="1", function=lambda text: seen.append(text) or text, by_word=False))
    table.encode(["a b", "a b"])
    assert seen == ["a b", "a b"]


@pytest.mark.parametrize("by_word", [True, False])
def test_units_are_cut_after_normalising(by_word: bool) -> None:
    lower = Profile(name="lower", version="1", function=lambda text: " ".join(text.lower().split()), by_word=by_word)
    table = WordTable(lower, "mixed")
    assert _spelled(table, table.encode(["OK 今天A", "今"])) == [["ok", "今", "天", "a"], ["今"]]
    assert _spelled(table, table.encode(["天b"])) == [["天", "b"]]
    table = WordTable(lower, "words")
    assert _spelled(table, table.encode(["OK 今天A"])) == [["ok", "今天a"]]


def test_taking_some_texts() -> None:
    texts = EncodedTexts(np.array([5, 6, 7], dtype=np.int32), np.array([0, 2, 2, 3]))
    taken = take(texts, np.array([2, 0, 1, 0]))
    assert (taken.ids.tolist(), taken.offsets.tolist()) == ([7, 5, 6, 5, 6], [0, 1, 3, 3, 5])


def test_equal_words_have_equal_numbers_on_both_sides() -> None:
    table = WordTable(find_profile("basic"))
    one, two = table.encode(["Go, GO"]), table.encode(["go"])
    assert one.ids.tolist() == [two.ids[0]] * 2


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=10))
def test_gathered_runs(runs: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([run[side] for run in runs], dtype=np.int64) for side in (0, 1))
    expected = [start + step for start, length in runs for step in range(length)]
    assert gather_runs(starts, lengths).tolist() == expected


def test_padding_stands_behind_the_ends() -> None:
    texts = EncodedTexts(np.array([5, 6, 7], dtype=np.int32), np.array([0, 2, 2, 3]))
    assert padded(texts, np.array([2, 0, 1]), -1).tolist() == [[7, 5, -1], [-1, 6, -1]]
    assert padded(texts, np.array([1]), -1).shape == (0, 1)
