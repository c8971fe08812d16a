"""N-gram language models from text: interpolated modified Kneser-Ney (Chen and Goodman 1998, "An Empirical Study of
Smoothing Techniques for Language Modeling", section 3), as KenLM's lmplz builds them (Heafield et al. 2013).

The longest n-grams count as often as they occur; a shorter one counts once for each different word before it, except
at the start of a sentence, before which there is no word. With these counts a, the probability of w after h is

    p(w | h) = max(a(hw) - D(a(hw)), 0) / sum a(h.) + gamma(h) p(w | h'),

where h' is h without its first word, D are three discounts an order for the counts 1, 2 and 3 or more, and gamma is
what they have set free. The shortest is interpolated with the same probability for every word, <unk> among them.

Arrays are named by what their entries are: P places in the text, N n-grams of one order.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Strict
from harken.text.ngram_tables import END, START, UNKNOWN, NgramOrder, NgramTables
from harken.text.segmentation import split_units

_RESERVED = (UNKNOWN, START, END)  # by id
_START_ID, _END_ID = 1, 2
_LEAST_WEIGHT = 1e-30
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For texts too small or too regular to estimate discounts from, as lmplz takes them with --discount_fallback."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramConfig(Strict):
    """`least_counts` are how often an n-gram of order 2, 3, ... has to occur to be kept; fewer than orders: the last
    goes on. What is left out still counts in the estimates, as with lmplz's --prune.
    """

    order: int = 3
    least_counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 5:
            raise ValueError(f"order is {self.order}; use 1 to 5")
        if len(self.least_counts) > self.order - 1:
            raise ValueError(
                f"least_counts is {self.least_counts}; use at most {self.order - 1} for order {self.order}, from 2 on"
            )
        if any(count < 1 for count in self.least_counts) or list(self.least_counts) != sorted(self.least_counts):
            raise ValueError(f"least_counts is {self.least_counts}; use counts from 1 that do not go down")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NgramModelBuild:
    """A model with what its maker wants to know: `discounts` by order, and at which orders they are the fallback."""

    tables: NgramTables
    sentences: int
    running_words: int
    discounts: tuple[tuple[float, float, float], ...]
    fallback_orders: tuple[int, ...]


def build_ngrams(texts: Iterable[str], config: NgramConfig | None = None) -> NgramModelBuild:
    """A model of the words of `texts`, each of which is a sentence; empty ones are passed over.

    A word is a unit of `split_units`: a run between spaces, or one character of a script without spaces. Memory: about
    60 bytes a running word and order. Raises InputError for texts without a word or with a reserved one (<s>, </s>,
    <unk>).
    """
    config = config or NgramConfig()
    words, ids_P, left_P = _numbered(texts)
    counts = _count(ids_P, left_P, len(words), config.order)
    adjusted = [_adjusted(*pair) for pair in zip(counts, [*counts[1:], None], strict=True)]
    discounts = [_discounts(adjusted_N) for adjusted_N in adjusted]
    orders = _estimate(counts, adjusted, [amounts for amounts, _ in discounts], config, words=len(words))
    sentences = int(np.count_nonzero(ids_P == _START_ID))
    return NgramModelBuild(
        tables=NgramTables(words=words, orders=tuple(orders)),
        sentences=sentences,
        running_words=len(ids_P) - 2 * sentences,
        discounts=tuple(amounts for amounts, _ in discounts),
        fallback_orders=tuple(k for k, (_, estimated) in enumerate(discounts, 1) if not estimated),
    )


def _numbered(texts: Iterable[str]) -> tuple[tuple[str, ...], Ints, Ints]:
    """The vocabulary; the ids of all sentences one after the other (P,); and how many places are left of each (P,)."""
    ids = {word: id_ for id_, word in enumerate(_RESERVED)}
    flat, left = array("i"), array("i")
    for number, text in enumerate(texts, 1):
        units = [unit for run in text.split() for unit in split_units(run)]
        if not units:
            continue
        if found := next((unit for unit in units if unit in _RESERVED), None):
            raise InputError(
                f"Text {number} holds {found!r}, which has a meaning of its own in a language model.",
                hint="Normalise the texts, or remove it.",
            )
        flat.append(_START_ID)
        flat.extend([ids.setdefault(unit, len(ids)) for unit in units])
        flat.append(_END_ID)
        left.extend(range(len(units) + 2, 0, -1))
    if not flat:
        raise InputError("There is no text to build a language model from.")
    ids_P, left_P = (np.frombuffer(column, dtype=np.int32).astype(np.int64) for column in (flat, left))
    return tuple(ids), ids_P, left_P


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counts:
    """The n-grams of one order: how often they occur, and where their first and last k - 1 words are an order below."""

    keys_N: Ints
    occurrences_N: Ints
    prefixes_N: Ints
    suffixes_N: Ints
    at_start_N: npt.NDArray[np.bool_]  # beginning with <s>


def _count(ids_P: Ints, left_P: Ints, words: int, order: int) -> list[_Counts]:
    nothing = np.zeros(words, dtype=np.int64)
    occurrences_N = np.bincount(ids_P, minlength=words)
    occurrences_N[_START_ID] = 0  # nothing predicts it
    single = _Counts(
        keys_N=np.arange(words),
        occurrences_N=occurrences_N,
        prefixes_N=nothing,
        suffixes_N=nothing,
        at_start_N=np.arange(words) == _START_ID,
    )
    counts, places_P = [single], ids_P
    for k in range(2, order + 1):
        starts = np.flatnonzero(left_P >= k)
        keys = places_P[starts] * words + ids_P[starts + k - 1]
        keys_N, first_N, place, occurrences_N = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        prefixes_N = keys_N // words
        counts.append(
            _Counts(
                keys_N=keys_N,
                occurrences_N=occurrences_N,
                prefixes_N=prefixes_N,
                suffixes_N=places_P[starts[first_N] + 1],
                at_start_N=counts[-1].at_start_N[prefixes_N],
            )
        )
        places_P = np.full(len(ids_P), -1, dtype=np.int64)
        places_P[starts] = place
    return counts


def _adjusted(count: _Counts, longer: _Counts | None) -> Ints:
    """What each n-gram counts."""
    if longer is None:
        adjusted_N = count.occurrences_N.copy()
    else:
        different_N = np.bincount(longer.suffixes_N, minlength=len(count.keys_N))
        adjusted_N = np.where(count.at_start_N, count.occurrences_N, different_N)
    return adjusted_N


def _discounts(adjusted_N: Ints) -> tuple[tuple[float, float, float], bool]:
    """Discounts for the counts 1, 2 and 3 or more (Chen and Goodman's equation 26), and whether they are estimates."""
    n = np.bincount(np.minimum(adjusted_N, 5), minlength=5).tolist()
    if not all(n[1:4]):
        return FALLBACK_DISCOUNTS, False
    share = n[1] / (n[1] + 2 * n[2])
    one, two, more = (j - (j + 1) * share * n[j + 1] / n[j] for j in (1, 2, 3))
    if not (0 <= one <= 1 and 0 <= two <= 2 and 0 <= more <= 3):
        return FALLBACK_DISCOUNTS, False
    return (one, two, more), True


def _estimate(
    counts: list[_Counts],
    adjusted: list[Ints],
    discounts: list[tuple[float, float, float]],
    config: NgramConfig,
    *,
    words: int,
) -> list[NgramOrder]:
    orders: list[NgramOrder] = []
    below_N: Floats = np.full(1, 1 / (words - 1))  # every word but <s> alike
    kept_below = np.full(1, True)
    least = (0, *(config.least_counts or (1,)))
    for k, (count, adjusted_N, amounts) in enumerate(zip(counts, adjusted, discounts, strict=True), 1):
        kept_N = count.occurrences_N >= least[min(k, len(least)) - 1]
        taken_N = np.array((0.0, *amounts))[np.minimum(adjusted_N, 3)]
        freed_N = np.where(kept_N, taken_N, adjusted_N)
        totals = np.bincount(count.prefixes_N, weights=adjusted_N, minlength=len(below_N) if k > 1 else 1)
        freed = np.bincount(count.prefixes_N, weights=freed_N, minlength=len(totals))
        gammas = np.divide(freed, totals, out=np.ones_like(freed), where=totals > 0)  # 1 after what nothing follows
        own_N = np.divide(adjusted_N - taken_N, totals[count.prefixes_N])
        probs_N = own_N + gammas[count.prefixes_N] * below_N[count.suffixes_N]
        if k > 1:
            orders[-1] = _with_backoffs(orders[-1], gammas[kept_below])
        place_below = np.cumsum(kept_below) - 1
        keys_N = count.keys_N if k == 1 else place_below[count.prefixes_N] * words + count.keys_N % words
        log_probs_N = np.log(probs_N[kept_N]).astype(np.float32)
        orders.append(
            NgramOrder(
                keys_N=keys_N[kept_N], log_probs_N=log_probs_N, backoffs_N=np.zeros(len(log_probs_N), dtype=np.float32)
            )
        )
        below_N, kept_below = probs_N, kept_N
    return orders


def _with_backoffs(order: NgramOrder, gammas_N: Floats) -> NgramOrder:
    # A discount can be 0 and free nothing; a file cannot hold the logarithm of that.
    backoffs_N = np.log(np.maximum(gammas_N, _LEAST_WEIGHT)).astype(np.float32)
    return NgramOrder(keys_N=order.keys_N, log_probs_N=order.log_probs_N, backoffs_N=backoffs_N)
