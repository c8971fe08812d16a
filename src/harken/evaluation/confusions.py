"""Which words go wrong most often."""

from typing import Any

import numpy as np

from harken.evaluation.alignment import CorpusAlignment
from harken.evaluation.lattice import DELETED, INSERTED, SUBSTITUTED


def frequent_errors(alignment: CorpusAlignment, *, most: int = 20) -> list[dict[str, Any]]:
    """The `most` frequent substitutions, then deletions, then insertions: {"kind", "reference", "hypothesis", "count"}.

    Equal counts go by the words, so that the list does not depend on the order of utterances.
    """
    reference_ids, hypothesis_ids = alignment.word_ids()
    found = []
    for code in (SUBSTITUTED, DELETED, INSERTED):
        here = alignment.codes == code
        pairs, counts = np.unique(
            np.stack([reference_ids[here], hypothesis_ids[here]], axis=1), axis=0, return_counts=True
        )
        named = [
            (-count, *("" if id_ < 0 else alignment.words[id_] for id_ in pair))
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ]
        for negative_count, reference, hypothesis in sorted(named)[:most]:
            found.append(
                {
                    "kind": chr(code),
                    "reference": reference or None,
                    "hypothesis": hypothesis or None,
                    "count": -negative_count,
                }
            )
    return found
