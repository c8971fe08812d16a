"""How likely a word is in one language: known words by their frequency, all words by their letters.

The letters are an interpolated character n-gram model with Witten-Bell smoothing (I. Witten and T. Bell, "The
zero-frequency problem", IEEE Transactions on Information Theory 37(4), 1991), kept in back-off form: a table of seen
n-grams, and per context what is left for the unseen.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

EDGE = " "
"""Stands before and after every word; cleaned words hold no space."""


class WordModel:
    """P(word | language) = lexicon_share · relative frequency + (1 - lexicon_share) · character model."""

    def __init__(self, counts: Mapping[str, int], *, order: int, lexicon_share: float, alphabet_size: int) -> None:
        """`counts` says how often each cleaned word was seen; n-grams have up to `order` characters.

        `alphabet_size` is the number of characters an unseen one is drawn from. It has to be the same for every
        language of a comparison, or unseen letters would speak for one of them.
        """
        total = sum(counts.values())
        self._words = {word: lexicon_share * count / total for word, count in counts.items()} if lexicon_share else {}
        self._letters_share = math.log1p(-lexicon_share)
        self._order = order
        self._uniform = -math.log(alphabet_size)
        self._grams, self._backoff = _witten_bell(_count_grams(counts, order), 1 / alphabet_size)

    def log_probability(self, word: str) -> float:
        """Natural log of P(word | language), for a cleaned word."""
        letters = self._letters_share + self._spell(word)
        known = self._words.get(word)
        if known is None:
            return letters
        return math.log(known + math.exp(letters))

    def _spell(self, word: str) -> float:
        text = f"{EDGE}{word}{EDGE}"
        total = 0.0
        for end in range(2, len(text) + 1):
            gram = text[max(0, end - self._order) : end]
            while gram:
                found = self._grams.get(gram)
                if found is not None:
                    total += found
                    break
                total += self._backoff.get(gram[:-1], 0.0)  # an unseen context leaves everything to the shorter one
                gram = gram[1:]
            else:
                total += self._uniform
        return total


def _count_grams(counts: Mapping[str, int], order: int) -> dict[str, float]:
    """How often each n-gram occurs, a word that was seen n times counting as 1 + ln n.

    Damped, because the letters of a few very frequent words say little about words that are new. Words are taken in
    sorted order, so that the sums come out the same to the last bit whatever the order of the texts was.
    """
    grams: dict[str, float] = defaultdict(float)
    for word, count in sorted(counts.items()):
        weight = 1 + math.log(count)
        text = f"{EDGE}{word}{EDGE}"
        for end in range(2, len(text) + 1):
            for start in range(max(0, end - order), end):
                grams[text[start:end]] += weight
    return grams


def _witten_bell(grams: Mapping[str, float], uniform: float) -> tuple[dict[str, float], dict[str, float]]:
    """Natural logs: probability of the last letter of each seen n-gram, and per context the share of the unseen."""
    totals: dict[str, float] = defaultdict(float)
    followers: dict[str, int] = defaultdict(int)
    for gram, count in grams.items():
        totals[gram[:-1]] += count
        followers[gram[:-1]] += 1
    probabilities: dict[str, float] = {}
    for gram in sorted(grams, key=len):
        context = gram[:-1]
        shorter = probabilities[gram[1:]] if context else uniform
        kinds = followers[context]
        probabilities[gram] = (grams[gram] + kinds * shorter) / (totals[context] + kinds)
    backoff = {context: math.log(kinds / (totals[context] + kinds)) for context, kinds in followers.items()}
    return {gram: math.log(probability) for gram, probability in probabilities.items()}, backoff
