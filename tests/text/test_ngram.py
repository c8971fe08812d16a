"""Kneser-Ney models against the formula taken word by word from the text, with exact fractions."""

import itertools
import math
import random
from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from harken.core import InputError
from harken.text.ngram import FALLBACK_DISCOUNTS, NgramConfig, NgramModelBuild, build_ngrams

# The corpus of KenLM's own test of counting (lm/builder/corpus_count_test.cc).
LOIN = ["looking on a little more loin", "on a little more loin", "on foo little more loin", "bar"]


def random_texts(count: int, *, seed: int = 0) -> list[str]:
    """Sentences of words with a few favourites, so that n-grams of all counts occur."""
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(12)]
    weights = [1 / (1 + number) for number in range(12)]
    return [" ".join(draw.choices(words, weights, k=draw.randint(1, 7))) for _ in range(count)]


class SlowModel:
    """Chen and Goodman's modified Kneser-Ney, section 3 and the text after equation 26, by counting sets."""

    def __init__(self, texts: list[str], order: int, least_counts: tuple[int, ...] = ()) -> None:
        self.order = order
        sentences = [("<s>", *text.split(), "</s>") for text in texts if text.split()]
        self.vocabulary = {word for sentence in sentences for word in sentence} - {"<s>"} | {"<unk>"}
        self.raw: Counter[tuple[str, ...]] = Counter(
            sentence[start : start + k]
            for sentence in sentences
            for k in range(1, order + 1)
            for start in range(len(sentence) - k + 1)
        )
        self.least = (0, *(least_counts or (1,)))
        self.counts = {gram: self._adjusted(gram) for gram in self.raw if gram != ("<s>",)}
        self.discounts = [self._discounts(k) for k in range(1, order + 1)]

    def _adjusted(self, gram: tuple[str, ...]) -> int:
        if len(gram) == self.order or gram[0] == "<s>":
            return self.raw[gram]
        return len({longer[0] for longer in self.raw if len(longer) == len(gram) + 1 and longer[1:] == gram})

    def _discounts(self, k: int) -> tuple[Fraction, ...]:
        n = Counter(count for gram, count in self.counts.items() if len(gram) == k)
        if n[1] and n[2] and n[3]:
            y = Fraction(n[1], n[1] + 2 * n[2])
            found = tuple(j - (j + 1) * y * Fraction(n[j + 1], n[j]) for j in (1, 2, 3))
            if all(0 <= amount <= j for j, amount in enumerate(found, 1)):
                return found
        return tuple(map(Fraction, FALLBACK_DISCOUNTS))

    def kept(self, gram: tuple[str, ...]) -> bool:
        return gram in self.counts and self.raw[gram] >= self.least[min(len(gram), len(self.least)) - 1]

    def p(self, word: str, history: tuple[str, ...]) -> Fraction:
        """p(word | history) of the interpolated model."""
        return _p(self, word, history[-(self.order - 1) :] if self.order > 1 else ())


@cache
def _p(model: SlowModel, word: str, history: tuple[str, ...]) -> Fraction:
    below = _p(model, word, history[1:]) if history else Fraction(1, len(model.vocabulary))
    after = {gram: count for gram, count in model.counts.items() if gram[:-1] == history}
    total = sum(after.values())
    if not total or (history and history != ("<s>",) and not model.kept(history)):
        return below
    amounts = model.discounts[len(history)]
    freed = sum(amounts[min(count, 3) - 1] if model.kept(gram) else Fraction(count) for gram, count in after.items())
    gram = (*history, word)
    own = after[gram] - amounts[min(after[gram], 3) - 1] if model.kept(gram) else Fraction(0)
    return own / total + freed / total * below


def natural(build: NgramModelBuild, word: str, history: tuple[str, ...]) -> float:
    """ln p by the rules of back-off, read from the tables by searching lists."""
    tables = build.tables
    number = {text: id_ for id_, text in enumerate(tables.words)}
    table: dict[tuple[int, ...], tuple[float, float]] = {}
    grams: list[tuple[int, ...]] = [()]
    for order in tables.orders:
        before = grams
        grams = [(*before[key // len(number)], key % len(number)) for key in order.keys_N.tolist()]
        table |= zip(grams, zip(order.log_probs_N.tolist(), order.backoffs_N.tolist(), strict=True), strict=True)
    ids = tuple(number.get(text, number["<unk>"]) for text in history)
    ids = ids[len(ids) - len(tables.orders) + 1 :] if len(ids) >= len(tables.orders) else ids
    score, last = 0.0, number.get(word, number["<unk>"])
    while (*ids, last) not in table:
        score += table.get(ids, (0.0, 0.0))[1]
        ids = ids[1:]
    return score + table[(*ids, last)][0]


@pytest.mark.parametrize(
    ("order", "least"),
    [(1, ()), (2, ()), (2, (2,)), (3, ()), (3, (2,)), (3, (1, 2)), (3, (2, 3)), (4, ()), (4, (1, 2)), (5, (2,))],
    ids=str,
)
def test_equals_the_formula(order: int, least: tuple[int, ...]) -> None:
    texts = random_texts(40, seed=order)
    build, slow = build_ngrams(texts, NgramConfig(order=order, least_counts=least)), SlowModel(texts, order, least)
    assert [tuple(map(float, amounts)) for amounts in slow.discounts] == [
        pytest.approx(amounts) for amounts in build.discounts
    ]
    histories = [(), ("<s>",), ("<s>", "w0"), ("w0", "w1"), ("w1", "w0", "w0"), ("w9", "w2"), ("nobody", "w1")]
    for history, word in itertools.product(histories, ["w0", "w1", "w5", "w11", "</s>", "nobody"]):
        expected = slow.p(word if word in slow.vocabulary else "<unk>", history)
        assert natural(build, word, history) == pytest.approx(math.log(expected), abs=2e-5), (history, word)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("texts", [LOIN, random_texts(300)], ids=["few", "many"])
def test_probabilities_add_up_to_one(order: int, texts: list[str]) -> None:
    build = build_ngrams(texts, NgramConfig(order=order))
    words = [word for word in build.tables.words if word != "<s>"]
    used = texts[0].split()
    for history in (
        (),
        ("<s>",),
        ("<s>", used[0]),
        tuple(used[:2]),
        tuple(used[-4:]),
        ("nobody",),
        ("nobody", used[0]),
    ):
        total = sum(math.exp(natural(build, word, history)) for word in words)
        assert total == pytest.approx(1, abs=1e-5), history


def test_one_bigram_by_hand() -> None:
    """p(on | <s>): seen in 2 of 4 sentences, and the rest by how many words precede "on"."""
    build = build_ngrams(LOIN, NgramConfig(order=2))
    counts = Counter(pair for text in LOIN for pair in itertools.pairwise(("<s>", *text.split(), "</s>")))
    n = Counter(counts.values())
    y = Fraction(n[1], n[1] + 2 * n[2])
    one, two = 1 - 2 * y * Fraction(n[2], n[1]), 2 - 3 * y * Fraction(n[3], n[2])
    assert build.fallback_orders == (1,)
    assert build.discounts[1][:2] == (pytest.approx(float(one)), pytest.approx(float(two)))
    # Before "on": <s> and looking, so it counts 2 of 12 bigrams; words but <s> are 10 with <unk>.
    unigrams = Counter(second for _, second in counts)
    freed = sum(Fraction((1, 2, 3)[min(c, 3) - 1], 2) for c in unigrams.values()) / sum(unigrams.values())
    below = (Fraction(unigrams["on"]) - 1) / sum(unigrams.values()) + freed / 10
    expected = (2 - two) / 4 + (2 * one + two) / 4 * below
    assert natural(build, "on", ("<s>",)) == pytest.approx(math.log(expected), abs=1e-6)


def test_what_is_counted() -> None:
    build = build_ngrams(["one two", "", "  ", "two three three"], NgramConfig(order=2))
    assert (build.sentences, build.running_words) == (2, 5)
    assert build.tables.words == ("<unk>", "<s>", "</s>", "one", "two", "three")
    assert [len(order.keys_N) for order in build.tables.orders] == [6, 7]
    assert build_ngrams(["我在 用 GPU"]).tables.words[3:] == ("我", "在", "用", "GPU")


def test_rare_ones_are_left_out() -> None:
    texts = random_texts(200, seed=5)
    sizes = {
        least: [len(order.keys_N) for order in build_ngrams(texts, NgramConfig(least_counts=least)).tables.orders]
        for least in ((), (1, 2), (2,), (3,))
    }
    grams = [
        Counter(
            tuple(words[place : place + k])
            for text in texts
            for words in [("<s>", *text.split(), "</s>")]
            for place in range(len(words) - k + 1)
        )
        for k in (2, 3)
    ]
    for least, bounds in (((), (1, 1)), ((1, 2), (1, 2)), ((2,), (2, 2)), ((3,), (3, 3))):
        assert sizes[least][1:] == [
            sum(count >= bound for count in counter.values()) for counter, bound in zip(grams, bounds, strict=True)
        ]


@pytest.mark.parametrize("word", ["<s>", "</s>", "<unk>"])
def test_reserved_words(word: str) -> None:
    with pytest.raises(InputError, match=f"Text 2 holds '{word}'"):
        build_ngrams(["one", f"two {word}"])


def test_no_text() -> None:
    with pytest.raises(InputError, match="no text"):
        build_ngrams(["", " "])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 0}, "order is 0; use 1 to 5"),
        ({"order": 6}, "order is 6; use 1 to 5"),
        ({"order": 2, "least_counts": (1, 1)}, "use at most 1 for order 2"),
        ({"least_counts": (2, 1)}, "that do not go down"),
        ({"least_counts": (0,)}, "counts from 1"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NgramConfig(**settings)  # type: ignore[arg-type]


def test_a_discount_that_frees_nothing_is_still_a_number() -> None:
    """Texts in which every bigram is seen often, so that hardly anything is left for others."""
    build = build_ngrams(["a b", "a b c", "c a b"] * 50, NgramConfig(order=3))
    for order in build.tables.orders:
        assert np.isfinite(order.log_probs_N[order.keys_N != 1]).all()
        assert np.isfinite(order.backoffs_N).all()
