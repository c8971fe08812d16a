"""Dynamic programming of word alignment, on many pairs at once.

sclite's rules (SCTK, src/sclite/net_dp.c): a match costs 0, an insertion or deletion 3, a substitution 4. At each cell
the diagonal is taken where it is no dearer than deletion and insertion; else deletion, if strictly cheaper than
insertion; else insertion. The path is read from the end. The "levenshtein" mode changes the costs to 1, 1, 1 and
keeps these tie rules.

Costs are stored as F[i, j] = cost[i, j] - gap * (i + j). Then deletion and insertion carry F on unchanged and only the
diagonal adds (a negative) something, so a row is a running minimum, which numpy takes without a loop over words.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# I reference position, J hypothesis position, P pair; codes are the ASCII letters of the operations
CORRECT, SUBSTITUTED, DELETED, INSERTED = b"CSDI"
Codes = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.signedinteger]


class StepCosts(Protocol):
    """What the steps of an alignment cost, in whole numbers."""

    @property
    def gap(self) -> int:
        """For an insertion or deletion."""
        ...

    def between(self, reference: Any, hypothesis: Any, kind: type[np.int16] | type[np.int32]) -> Any:
        """For standing against each other, 0 to twice the gap; words of any shapes that fit, the result of type `kind`.

        What stands for "no word" is a negative number. Any cost will do there: it is not looked at.
        """
        ...


@dataclass(frozen=True, slots=True)
class Costs:
    """What an insertion or deletion costs, and what a substitution costs; a match costs nothing."""

    gap: int
    substitution: int

    def between(self, reference: Any, hypothesis: Any, kind: type[np.int16] | type[np.int32]) -> Any:
        """`substitution` where words differ."""
        return (hypothesis != reference) * kind(self.substitution)


COSTS = {"sclite": Costs(gap=3, substitution=4), "levenshtein": Costs(gap=1, substitution=1)}


def align_batch(
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    reference_lengths: npt.NDArray[np.int64],
    hypothesis_lengths: npt.NDArray[np.int64],
    costs: StepCosts,
) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Operations of every pair, one pair after the other, and (pairs,) how many each has.

    Words are numbers; what stands behind the end of a text is not looked at. Needs 2 bytes per cell and pair (4 where
    both texts have thousands of words).
    """
    rows, (columns, pairs) = len(reference_IP), hypothesis_JP.shape
    lattice_IJP = np.zeros((rows + 1, columns + 1, pairs), dtype=_cell_type(rows, columns, costs))
    _fill(lattice_IJP, reference_IP, hypothesis_JP, costs)
    return _trace(lattice_IJP, reference_IP, hypothesis_JP, reference_lengths, hypothesis_lengths, costs)


def align_long(
    reference_I: npt.NDArray[np.int32], hypothesis_J: npt.NDArray[np.int32], costs: StepCosts, *, cells: int = 1 << 24
) -> Codes:
    """Operations of one pair in about `cells` lattice cells of memory, however long the texts.

    A lattice that does not fit is filled twice: first keeping one row per block, then block by block from the end, to
    read the path.
    """
    rows, columns = len(reference_I), len(hypothesis_J)
    kind = _cell_type(rows, columns, costs)
    block = max(1, min(rows, cells // (columns + 1)))
    firsts = range(0, max(rows, 1), block)
    lattice_IJ = np.zeros((block + 1, columns + 1), dtype=kind)
    kept_rows = [lattice_IJ[0].copy()]
    for first in firsts[:-1]:
        _fill(lattice_IJ, reference_I[first : first + block], hypothesis_J, costs)
        lattice_IJ[0] = lattice_IJ[-1]
        kept_rows.append(lattice_IJ[0].copy())
    j, backwards = columns, bytearray()
    for first, row_J in zip(reversed(firsts), reversed(kept_rows), strict=True):
        words_I = reference_I[first : first + block]
        lattice_IJ[0] = row_J
        _fill(lattice_IJ, words_I, hypothesis_J, costs)
        j = _trace_block(lattice_IJ, words_I, hypothesis_J, j, costs, backwards)
    backwards.extend([INSERTED] * j)
    return np.frombuffer(bytes(backwards), dtype=np.uint8)[::-1]


def _cell_type(rows: int, columns: int, costs: StepCosts) -> type[np.int16] | type[np.int32]:
    deepest = 2 * costs.gap * (min(rows, columns) + 1)
    return np.int16 if deepest <= np.iinfo(np.int16).max else np.int32


def _fill(
    lattice_IJP: Cells,
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    costs: StepCosts,
) -> None:
    """Compute rows 1, 2, ... from row 0; column 0 is zero throughout. The axis of pairs may be absent."""
    kind = lattice_IJP.dtype.type
    shift = kind(-2 * costs.gap)
    for row, words_P in enumerate(reference_IP, start=1):
        above_JP, here_JP = lattice_IJP[row - 1], lattice_IJP[row]
        diagonal_JP = costs.between(words_P, hypothesis_JP, kind)
        diagonal_JP += shift
        diagonal_JP += above_JP[:-1]
        np.minimum(diagonal_JP, above_JP[1:], out=here_JP[1:])
        np.minimum.accumulate(here_JP, axis=0, out=here_JP)


def _trace(
    lattice_IJP: Cells,
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    reference_lengths: npt.NDArray[np.int64],
    hypothesis_lengths: npt.NDArray[np.int64],
    costs: StepCosts,
) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Read all paths from their ends, in step; pairs that have reached the start leave the group."""
    _, columns, pairs = lattice_IJP.shape
    cells, kind = lattice_IJP.reshape(-1), lattice_IJP.dtype.type
    # One word more, so that an empty side can be looked at; nothing found there is used.
    references, hypotheses = (np.append(words.reshape(-1), np.int32(-1)) for words in (reference_IP, hypothesis_JP))
    i, j, pair = reference_lengths, hypothesis_lengths, np.arange(pairs)
    step = int((i + j).max(initial=0))
    codes_PK = np.zeros((pairs, step), dtype=np.uint8)  # filled from the right
    while True:
        going = np.flatnonzero((i > 0) | (j > 0))
        if len(going) == 0:
            break
        if len(going) < len(pair):
            i, j, pair = i[going], j[going], pair[going]
        step -= 1
        inside = (i > 0) & (j > 0)
        up, left = np.maximum(i - 1, 0), np.maximum(j - 1, 0)
        reference, hypothesis = _at(references, up * pairs + pair), _at(hypotheses, left * pairs + pair)
        here = cells[(i * columns + j) * pairs + pair]
        corner = cells[(up * columns + left) * pairs + pair]
        beside = cells[(i * columns + left) * pairs + pair]
        diagonal = inside & (corner + costs.between(reference, hypothesis, kind) - 2 * costs.gap == here)
        # Off the diagonal a cell is the lower of its two neighbours, so one below `beside` came from above, strictly.
        deletion = ~diagonal & ((j == 0) | ((i > 0) & (here < beside)))
        codes_PK[pair, step] = np.where(
            diagonal, np.where(reference == hypothesis, CORRECT, SUBSTITUTED), np.where(deletion, DELETED, INSERTED)
        )
        i = i - (diagonal | deletion)
        j = j - ~deletion
    # Every pair wrote from the right edge without gaps, so what is not zero is its path, in order.
    return codes_PK[codes_PK > 0], np.count_nonzero(codes_PK, axis=1)


def _at(words: npt.NDArray[np.int32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.take(words, places, mode="clip")


def _trace_block(
    lattice_IJ: Cells,
    reference_I: npt.NDArray[np.int32],
    hypothesis_J: npt.NDArray[np.int32],
    j: int,
    costs: StepCosts,
    backwards: bytearray,
) -> int:
    """Append the operations from the last row at column `j` up to row 0; returns the column reached there."""
    i, kind = len(reference_I), lattice_IJ.dtype.type
    while i > 0:
        here = int(lattice_IJ[i, j])
        pair = (reference_I[i - 1], hypothesis_J[j - 1]) if j > 0 else None
        if pair and int(lattice_IJ[i - 1, j - 1]) + int(costs.between(*pair, kind)) - 2 * costs.gap == here:
            backwards.append(CORRECT if pair[0] == pair[1] else SUBSTITUTED)
            i, j = i - 1, j - 1
        elif j == 0 or here < lattice_IJ[i, j - 1]:
            backwards.append(DELETED)
            i -= 1
        else:
            backwards.append(INSERTED)
            j -= 1
    return j
