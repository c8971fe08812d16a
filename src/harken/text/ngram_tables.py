"""N-gram models as sorted arrays, and the ARPA files that hold them.

An n-gram of order k is a number: the place of its first k - 1 words among the n-grams of order k - 1, times the number
of words, plus its last word. Sorted, the numbers of an order are found by bisection, and their places are what the
next order builds on. An n-gram so takes 16 bytes, against some 300 in a dictionary of tuples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NO_KEY = np.iinfo(np.int64).min
START, END, UNKNOWN = "<s>", "</s>", "<unk>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NgramOrder:
    """The n-grams of one order N: sorted numbers, ln p of the last word after the others, ln of the back-off weight."""

    keys_N: npt.NDArray[np.int64]
    log_probs_N: npt.NDArray[np.float32]
    backoffs_N: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NgramTables:
    """`words` by number; `orders[0]` has one entry a word."""

    words: tuple[str, ...]
    orders: tuple[NgramOrder, ...]

    def places(self, ids_NK: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Places of n-grams of one order K, given as word numbers; -1 where there is no such n-gram."""
        places_N = ids_NK[:, 0].astype(np.int64)
        for position, order in enumerate(self.orders[1 : ids_NK.shape[1]], 1):
            keys_N = places_N * len(self.words) + ids_NK[:, position]
            found_N = np.searchsorted(order.keys_N, keys_N)
            there_N = np.append(order.keys_N, _NO_KEY)[found_N] == keys_N  # keys are never negative
            places_N = np.where(there_N, found_N, -1)
        return places_N
