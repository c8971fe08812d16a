"""What a text gains beside its sound, unit by unit and in the end."""

import pytest

from harken.inference.ctc.fusion import Fusion
from harken.inference.ctc.hotwords import Hotword, HotwordMatcher
from harken.inference.ctc.units import unit_strings
from harken.text.tokenize import CharTokenizer, WordTokenizer

LETTERS = CharTokenizer(["<pad>", " ", "a", "b", "e", "\u0301"])


class Halves:
    """Every known word has ln p = -1 and the end -0.5; the state counts words."""

    def __init__(self, *known: str, listed: bool = True) -> None:
        self.known, self.listed = known, listed

    def start(self) -> int:
        return 0

    def score(self, state: int, word: str) -> tuple[float, int]:
        return (-1.0 if word in self.known else -4.0), state + 1

    def end(self, state: int) -> float:
        return -0.5 * state

    def __contains__(self, word: str) -> bool:
        return word in self.known

    def words(self) -> dict[str, float]:
        return dict.fromkeys(self.known, -1.0) if self.listed else {}


def fusion_of(lm: Halves | None, hotwords: HotwordMatcher | None = None, tokenizer: object = LETTERS) -> Fusion:
    strings = unit_strings(tokenizer)  # type: ignore[arg-type]
    return Fusion(strings, lm=lm, lm_weight=2.0, word_bonus=0.25, unknown_letter=-3.0, hotwords=hotwords)


def scores(fusion: Fusion, ids: list[int]) -> list[float]:
    """After each unit, and complete."""
    context, found = fusion.start(), []
    for id_ in ids:
        context = fusion.extend(context, id_)
        found.append(context.score)
    return [*found, fusion.finish(context)]


def test_a_word_counts_when_it_is_complete() -> None:
    fusion = fusion_of(Halves("ab", "b"))
    assert scores(fusion, LETTERS.encode("ab b")) == [0, 0, -1.75, -1.75, -1.75 - 1.75 - 2.0]
    assert scores(fusion, []) == [0]
    assert scores(fusion, [1, 1, 3, 1, 1]) == [0, 0, 0, -1.75, -1.75, -2.75]  # no word between spaces


def test_a_word_unit_counts_at_once() -> None:
    digits = WordTokenizer(["<pad>", "one", "two"])
    assert scores(fusion_of(Halves("one", "two"), tokenizer=digits), [1, 2]) == [-1.75, -3.5, -5.5]


def test_an_unknown_word_counts_from_where_no_known_one_goes_on() -> None:
    fusion = fusion_of(Halves("ab", "abba"))
    unknown = 2 * -4.0 + 0.25
    assert scores(fusion, LETTERS.encode("abbb a")) == [
        0, 0, 0, -12, unknown - 12, unknown - 12, 2 * unknown - 12 - 3 - 2
    ]  # fmt: skip
    assert scores(fusion, LETTERS.encode("ba")) == [-3, -6, unknown - 6 - 1]


def test_without_a_list_of_words_an_unknown_one_counts_when_complete() -> None:
    assert scores(fusion_of(Halves("ab", listed=False)), LETTERS.encode("ba")) == [0, 0, 2 * -4.0 + 0.25 - 6 - 1]


def test_marks_join_their_letter() -> None:
    """The tokenizer writes é as one character, whatever its units are."""
    fusion = fusion_of(Halves("bé"))
    assert scores(fusion, [3, 4, 5])[-1] == -1.75 - 1


def test_hotwords_add_to_it() -> None:
    matcher = HotwordMatcher([Hotword(text="ab")], LETTERS, boost=1.0)
    both, alone = fusion_of(Halves("ab"), matcher), fusion_of(None, matcher)
    assert scores(alone, LETTERS.encode("ab a")) == [1, 2, 2, 3, 2]
    assert scores(both, LETTERS.encode("ab"))[-1] == pytest.approx(2 - 1.75 - 1)
