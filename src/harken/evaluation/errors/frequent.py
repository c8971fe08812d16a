"""Which words go wrong most often, and where."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harken.core import InputError
from harken.evaluation.errors.operations import Numbers, Operations, operations_of
from harken.evaluation.scoring.lattice import DELETED, INSERTED, SUBSTITUTED
from harken.evaluation.scoring.metrics import Score

CONTEXT_WORDS = 2
"""Reference words shown on either side of an error."""


def frequent_errors(score: Score, *, most: int = 20, contexts: int = 3) -> list[dict[str, Any]]:
    """The `most` frequent substitutions, then deletions, then insertions.

    Each is {"kind", "reference", "hypothesis", "count", "contexts"}. Equal counts go by the words, so that the list
    does not depend on the order of utterances. A context is {"id", "before", "after"}, the reference words around the
    error, from the first `contexts` utterances that have it.

    Raises InputError for a negative `most` or `contexts`.
    """
    for name, value in (("most", most), ("contexts", contexts)):
        if value < 0:
            raise InputError(f"{name} is {value}; use 0 or more.")
    operations, words = operations_of(score.alignments), score.alignments.words
    found = []
    for code in (SUBSTITUTED, DELETED, INSERTED):
        places = np.flatnonzero(operations.codes == code)
        keys = (operations.reference[places] + 1) * (len(words) + 1) + operations.hypothesis[places] + 1
        order = np.argsort(keys, kind="stable")
        pairs, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        for negative_count, reference, hypothesis, number in _ranked(pairs, counts, words, most):
            here = places[order[starts[number] : starts[number] - negative_count]]
            found.append(
                {
                    "kind": chr(code),
                    "reference": reference or None,
                    "hypothesis": hypothesis or None,
                    "count": -negative_count,
                    "contexts": _contexts(score, operations, here, contexts),
                }
            )
    return found


def _ranked(pairs: Numbers, counts: Numbers, words: Sequence[str], most: int) -> list[tuple[int, str, str, int]]:
    """(-count, reference word, hypothesis word, number of the pair) of the most frequent pairs; "" is no word."""
    if most == 0 or not len(pairs):
        return []
    least = np.partition(counts, -most)[-most] if most < len(counts) else 0
    spelled = ["", *words]
    ranked = []
    for number in np.flatnonzero(counts >= least).tolist():
        reference, hypothesis = divmod(int(pairs[number]), len(words) + 1)
        ranked.append((-int(counts[number]), spelled[reference], spelled[hypothesis], number))
    return sorted(ranked)[:most]


def _contexts(score: Score, operations: Operations, here: Numbers, most: int) -> list[dict[str, str]]:
    references, words = score.alignments.references, score.alignments.words

    def spell(first: int, last: int) -> str:
        return " ".join(words[id_] for id_ in references.ids[first:last].tolist())

    contexts = []
    _, firsts = np.unique(operations.utterance[here], return_index=True)
    for operation in here[firsts[:most]].tolist():
        utterance, place = int(operations.utterance[operation]), int(operations.place[operation])
        start, end = references.offsets[utterance : utterance + 2].tolist()
        behind = place + (operations.reference[operation] >= 0)
        contexts.append(
            {
                "id": score.ids[utterance],
                "before": spell(max(start, place - CONTEXT_WORDS), place),
                "after": spell(behind, min(end, behind + CONTEXT_WORDS)),
            }
        )
    return contexts
