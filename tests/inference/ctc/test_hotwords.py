"""Hotwords: the automaton against counting occurrences, and the file with its mistakes."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.core import InputError, MissingPart
from harken.inference.ctc.hotwords import Hotword, HotwordMatcher, read_hotwords
from harken.inference.ctc.units import unit_strings
from harken.text.tokenize import BpeTokenizer, CharTokenizer, TokenizerConfig, WordTokenizer

LETTERS = CharTokenizer(["<pad>", " ", "a", "b"])


def gained(matcher: HotwordMatcher, strings: list[str]) -> list[float]:
    """What is gained by each string, and at the end."""
    state, gains = matcher.start, []
    for string in strings:
        state, gain = matcher.step(state, string)
        gains.append(gain)
    return [*gains, matcher.finish(state)]


def occurrences(phrase: str, text: str) -> int:
    words, wanted = text.split(), phrase.split()
    return sum(words[place : place + len(wanted)] == wanted for place in range(len(words)))


@given(
    st.lists(st.text("ab ", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=4),
    st.text("ab ", max_size=14),
)
@settings(max_examples=300, deadline=None)
def test_a_text_gains_what_its_hotwords_are_worth(phrases: list[str], text: str) -> None:
    boosts = [0.5 * (1 + place) for place in range(len(phrases))]
    hotwords = [Hotword(text=phrase, boost=boost) for phrase, boost in zip(phrases, boosts, strict=True)]
    matcher = HotwordMatcher(hotwords, LETTERS, boost=9.0)
    expected = sum(
        boost * len("".join(phrase.split())) * occurrences(phrase, text)
        for phrase, boost in zip(phrases, boosts, strict=True)
    )
    assert sum(gained(matcher, list(text))) == pytest.approx(expected)


def test_letters_count_as_they_come_and_are_lost_where_the_match_breaks_off() -> None:
    matcher = HotwordMatcher([Hotword(text="abba")], LETTERS, boost=2.0)
    assert gained(matcher, list("abba")) == [2, 2, 2, 2, 0]
    assert gained(matcher, list("abbb")) == [2, 2, 2, -6, 0]
    assert gained(matcher, list("abb")) == [2, 2, 2, -6]
    assert gained(matcher, list("abbaa")) == [2, 2, 2, 2, -8, 0]  # not a whole word
    assert gained(matcher, list("babba")) == [0] * 6
    assert gained(matcher, list("ab abba ")) == [2, 2, -4, 2, 2, 2, 2, 0, 0]


def test_a_phrase_within_another_counts_by_itself_too() -> None:
    matcher = HotwordMatcher([Hotword(text="a b"), Hotword(text="b a")], LETTERS, boost=1.0)
    assert sum(gained(matcher, list("a b a"))) == 4
    assert sum(gained(matcher, list("a b b a"))) == 4
    assert sum(gained(matcher, list("a a b"))) == 2


def test_the_best_of_several_phrases_under_way_counts() -> None:
    """After "a b" both "a ba" and "bbb" may follow; the second is worth more, though less of it is there."""
    matcher = HotwordMatcher([Hotword(text="a ba", boost=0.5), Hotword(text="bbb")], LETTERS, boost=4.0)
    assert gained(matcher, list("a b")) == [0.5, 0, 3.5, -4]


def test_other_pieces_of_the_same_word_match() -> None:
    texts = ["banana bandana band and an", "nab ban"] * 4
    tokenizer = BpeTokenizer.train(TokenizerConfig(kind="bpe", size=16), texts)
    strings = unit_strings(tokenizer)
    matcher = HotwordMatcher([Hotword(text="bandad")], tokenizer, boost=1.0)
    whole = tokenizer.encode("bandad")
    letters = [tokenizer.units.index(piece) for piece in ("▁", *"bandad")]
    assert whole != letters
    pieces = [strings[id_] for id_ in whole]
    assert pieces == [" band", "a", "d"]
    assert gained(matcher, pieces) == pytest.approx([1, 1, 1, 0])
    assert gained(matcher, [strings[id_] for id_ in letters]) == pytest.approx([0, 0.25, 0.25, 0.25, 0.25, 1, 1, 0])


def test_a_unit_gains_the_same_however_many_letters_it_spells() -> None:
    """A word unit is heard in a frame or two: seven times the boost of a letter would put "seven" everywhere."""
    units = ["<pad>", "o", "seven"]
    for phrase, gains in (("seven", [1, 0]), ("o", [1, 0]), ("o seven", [1, 1, 0])):
        tokenizer = WordTokenizer(units)
        strings = unit_strings(tokenizer)
        matcher = HotwordMatcher([Hotword(text=phrase)], tokenizer, boost=1.0)
        assert gained(matcher, [strings[id_] for id_ in tokenizer.encode(phrase)]) == pytest.approx(gains)


def test_word_units_and_characters_without_spaces() -> None:
    digits = WordTokenizer(["<pad>", "one", "two", "three"])
    matcher = HotwordMatcher([Hotword(text="one two")], digits, boost=1.0)
    strings = unit_strings(digits)
    assert gained(matcher, [strings[id_] for id_ in digits.encode("one two")]) == pytest.approx([1, 1, 0])
    assert gained(matcher, [strings[id_] for id_ in digits.encode("one one two")]) == pytest.approx([1, 0, 1, 0])
    chinese = CharTokenizer(["<pad>", " ", *"我在北京海"])
    matcher = HotwordMatcher([Hotword(text="北京")], chinese, boost=1.5)
    strings = unit_strings(chinese)
    assert gained(matcher, [strings[id_] for id_ in chinese.encode("我在北京")]) == [0, 0, 1.5, 1.5, 0]
    assert gained(matcher, [strings[id_] for id_ in chinese.encode("北海")]) == [1.5, -1.5, 0]


def test_every_split_into_strings_gives_the_same_sum() -> None:
    matcher = HotwordMatcher([Hotword(text="ab"), Hotword(text="ab ba", boost=0.3)], LETTERS, boost=1.0)
    text = " ab ba ab"
    for cuts in itertools.combinations(range(1, len(text)), 3):
        strings = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        assert sum(gained(matcher, strings)) == pytest.approx(2 + 2 + 4 * 0.3)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# people\n\nabba\n  a b \t2.5\r\n", encoding="utf-8")
    assert read_hotwords(path, LETTERS) == [Hotword(text="abba"), Hotword(text="a b", boost=2.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ab\ncab\n", r"words.txt, line 2: the model cannot write 'cab': c \(U\+0063\) is not in"),
        ("ab\n\nab\n", r"words.txt, line 3: 'ab' is on line 1 already"),
        ("ab\tmuch\n", r"words.txt, line 1: boost is 'much'; use nats above 0"),
        ("ab\t-1\n", r"words.txt, line 1: boost is -1.0; use nats above 0"),
        ("ab\tinf\n", r"words.txt, line 1: boost is inf; use nats above 0"),
        ("\t2\n", r"words.txt, line 1: text is empty"),
        ("# nothing\n", r"words.txt holds no hotword"),
    ],
)
def test_a_file_with_a_mistake(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_hotwords(path, LETTERS)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="does not exist"):
        read_hotwords(tmp_path / "none.txt", LETTERS)
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"\xe9t\xe9\n")
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_hotwords(path, LETTERS)
