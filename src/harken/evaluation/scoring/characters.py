"""Character errors of aligned texts.

Characters are code points of the normalised text, the single spaces between words included, as jiwer, torchmetrics
and Hugging Face's `evaluate` count them (sclite's character mode leaves spaces out). Where units are mixed, no space
is counted beside a character of a script that has none, whatever spaces the text shows. Errors are the edit distance,
so the rate does not depend on the alignment mode.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.distance import BLOCK, batch_distances, long_distance
from harken.evaluation.scoring.encode import EncodedTexts, Offsets, gather_runs, padded
from harken.evaluation.scoring.lattice import CORRECT
from harken.text.segmentation import is_unspaced

LONGEST_IN_BATCH = 8 * BLOCK
"""Letters; longer texts are done one by one."""

_BATCH_PLACES = 1 << 19


def count_characters(alignment: CorpusAlignment) -> npt.NDArray[np.int64]:
    """(pairs,) characters of each reference."""
    return _count(alignment.references, alignment.words, _unspaced_words(alignment))


def character_errors(alignment: CorpusAlignment) -> npt.NDArray[np.int64]:
    """(pairs,) edit distance between reference and hypothesis, in characters."""
    references, hypotheses = alignment.references, alignment.hypotheses
    unspaced = _unspaced_words(alignment)
    errors = np.zeros(len(alignment), dtype=np.int64)
    one_empty = (references.lengths == 0) | (hypotheses.lengths == 0)
    for texts in (references, hypotheses):
        errors[one_empty] += _count(texts, alignment.words, unspaced)[one_empty]
    first, last = _error_span(alignment)
    rows = np.flatnonzero((last >= first) & ~one_empty)
    before = (first - alignment.offsets[:-1])[rows]
    after = (alignment.offsets[1:] - 1 - last)[rows]
    if unspaced is not None:  # whether a space stands beside an equal word depends on its other neighbour
        before, after = np.maximum(before - 1, 0), np.maximum(after - 1, 0)
    letters = _letters_of(alignment.words)
    errors[rows] = _distances(
        *(_spell(texts, rows, before, after, letters, unspaced) for texts in (references, hypotheses))
    )
    return errors


def _unspaced_words(alignment: CorpusAlignment) -> npt.NDArray[np.bool_] | None:
    """(words,) which units are characters of scripts without spaces; None where none is."""
    if alignment.units == "words":
        return None
    found = np.fromiter(map(is_unspaced, alignment.words), np.bool_, len(alignment.words))
    return found if found.any() else None


def _count(texts: EncodedTexts, words: Sequence[str], unspaced: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int64]:
    """(texts,) characters of each text."""
    sizes = np.fromiter(map(len, words), np.int64, len(words))[texts.ids]
    starts = texts.offsets[:-1][texts.lengths > 0]
    spaces = np.ones(len(sizes), dtype=np.int64) if unspaced is None else ~_joined(texts, unspaced) * 1
    spaces[starts] = 0
    ends = np.concatenate(([0], np.cumsum(sizes + spaces)))[texts.offsets]
    return np.diff(ends)


def _joined(texts: EncodedTexts, unspaced: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(units,) whether no space stands before a unit: the first of its text, or beside a character without spaces."""
    alone = unspaced[texts.ids]
    joined = alone.copy()
    joined[1:] |= alone[:-1]
    joined[texts.offsets[:-1][texts.lengths > 0]] = True
    return joined


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


def _spell(
    texts: EncodedTexts,
    rows: Offsets,
    before: Offsets,
    after: Offsets,
    letters: EncodedTexts,
    unspaced: npt.NDArray[np.bool_] | None,
) -> EncodedTexts:
    """Letters of the words of some texts, leaving out `before` words at the front and `after` at the end.

    Every word brings the space in front of it, if there is one. Both sides of a pair begin alike in that, so the
    first space costs nothing.
    """
    counts = texts.lengths[rows] - before - after
    ids = texts.ids[gather_runs(texts.offsets[rows] + before, counts)]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    starts, sizes = letters.offsets[ids], letters.lengths[ids]
    if unspaced is not None:
        joined = _joined(EncodedTexts(ids, offsets), unspaced)
        starts, sizes = starts + joined, sizes - joined
    ends = np.concatenate(([0], np.cumsum(sizes)))[offsets]
    return EncodedTexts(letters.ids[gather_runs(starts, sizes)], ends)


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
