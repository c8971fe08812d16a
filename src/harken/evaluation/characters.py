"""Character errors of aligned texts.

Characters are code points of the normalised text, the single spaces between words included, as jiwer, torchmetrics
and Hugging Face's `evaluate` count them (sclite's character mode leaves spaces out). Errors are the edit distance, so
the rate does not depend on the alignment mode.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harken.evaluation.alignment import CorpusAlignment
from harken.evaluation.distance import BLOCK, batch_distances, long_distance
from harken.evaluation.encode import EncodedTexts, Offsets, gather_runs, padded
from harken.evaluation.lattice import CORRECT

LONGEST_IN_BATCH = 8 * BLOCK
"""Letters; longer texts are done one by one."""

_BATCH_PLACES = 1 << 19


def count_characters(words: Sequence[str], texts: EncodedTexts) -> npt.NDArray[np.int64]:
    """(texts,) characters of each text, its words joined by single spaces."""
    sizes = np.fromiter(map(len, words), np.int64, len(words)) + 1
    ends = np.concatenate(([0], np.cumsum(sizes[texts.ids])))[texts.offsets]
    counts: npt.NDArray[np.int64] = np.maximum(np.diff(ends) - 1, 0)
    return counts


def character_errors(alignment: CorpusAlignment) -> npt.NDArray[np.int64]:
    """(pairs,) edit distance between reference and hypothesis, in characters."""
    references, hypotheses = alignment.references, alignment.hypotheses
    errors = np.zeros(len(alignment), dtype=np.int64)
    one_empty = (references.lengths == 0) | (hypotheses.lengths == 0)
    for texts in (references, hypotheses):
        errors[one_empty] += count_characters(alignment.words, texts)[one_empty]
    first, last = _error_span(alignment)
    rows = np.flatnonzero((last >= first) & ~one_empty)
    before = (first - alignment.offsets[:-1])[rows]
    after = (alignment.offsets[1:] - 1 - last)[rows]
    letters = _letters_of(alignment.words)
    errors[rows] = _distances(
        _spell(references, rows, before, after, letters), _spell(hypotheses, rows, before, after, letters)
    )
    return errors


def _error_span(alignment: CorpusAlignment) -> tuple[Offsets, Offsets]:
    """(pairs,) first and last operation that is not correct; last is before first where all are correct.

    Words before and after are equal on both sides, and equal beginnings and ends do not change an edit distance.
    """
    wrong = np.flatnonzero(alignment.codes != CORRECT)
    if len(wrong) == 0:
        return np.zeros(len(alignment), dtype=np.int64), np.full(len(alignment), -1)
    nexts = np.searchsorted(wrong, alignment.offsets[:-1])
    previous = np.searchsorted(wrong, alignment.offsets[1:]) - 1
    none = previous < nexts
    first, last = wrong[np.minimum(nexts, len(wrong) - 1)], wrong[np.maximum(previous, 0)]
    return np.where(none, 0, first), np.where(none, -1, last)


def _letters_of(words: Sequence[str]) -> EncodedTexts:
    """Every word as numbers of its letters, 1 and up, a space in front."""
    spaced = [" " + word for word in words]
    codes = np.frombuffer("".join(spaced).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    _, numbers = np.unique(codes, return_inverse=True)
    offsets = np.concatenate(([0], np.cumsum(np.fromiter(map(len, spaced), np.int64, len(spaced)))))
    return EncodedTexts(numbers.astype(np.int32) + np.int32(1), offsets)


def _spell(texts: EncodedTexts, rows: Offsets, before: Offsets, after: Offsets, letters: EncodedTexts) -> EncodedTexts:
    """Letters of the words of some texts, leaving out `before` words at the front and `after` at the end.

    Every word brings the space in front of it. Both sides of a pair begin with that space, so it costs nothing.
    """
    counts = texts.lengths[rows] - before - after
    ids = texts.ids[gather_runs(texts.offsets[rows] + before, counts)]
    word_sizes = letters.lengths[ids]
    ends = np.concatenate(([0], np.cumsum(word_sizes)))[np.concatenate(([0], np.cumsum(counts)))]
    return EncodedTexts(letters.ids[gather_runs(letters.offsets[ids], word_sizes)], ends)


def _distances(references: EncodedTexts, hypotheses: EncodedTexts) -> npt.NDArray[np.int64]:
    result = np.zeros(len(references), dtype=np.int64)
    sizes = references.lengths, hypotheses.lengths
    long = np.maximum(*sizes) > LONGEST_IN_BATCH
    for row in np.flatnonzero(long):
        result[row] = long_distance(*(t.ids[t.offsets[row] : t.offsets[row + 1]] for t in (references, hypotheses)))
    blocks = -(-sizes[0] // BLOCK)
    order = np.lexsort((sizes[1], blocks))
    order = order[~long[order]]
    alphabet = 1 + int(max(references.ids.max(initial=0), hypotheses.ids.max(initial=0)))
    start = 0
    while start < len(order):
        batch = int(np.clip(_BATCH_PLACES // (alphabet * max(1, blocks[order[start]])), 16, 4096))
        rows = order[start : start + batch]
        result[rows] = batch_distances(
            padded(references, rows, 0), padded(hypotheses, rows, 0), *(s[rows] for s in sizes)
        )
        start += len(rows)
    return result
