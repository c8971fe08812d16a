"""The language of a word given its neighbours: a hidden Markov model whose states are the languages.

People go on in a language more often than they switch, so a word that both languages have follows the words around it.
Every word gets its own most probable language (the forward-backward algorithm, L. Rabiner, Proceedings of the IEEE
77(2), 1989), which makes fewer wrong words than the single best path.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]

# W words, L languages, S sentences side by side, P places in a sentence

BATCH_WORDS = 1 << 17
"""Places held at once, padding included: a few megabytes for a few languages."""

_SMALLEST_LOG = -700.0  # exp of it is still a normal float


def posteriors(evidence_WL: Floats, offsets: Offsets, switch_probability: float) -> Floats:
    """(words, languages) probability of each language for each word, rows summing to 1.

    `evidence_WL` holds log P(word | language) of all sentences one after the other; sentence n is
    `evidence_WL[offsets[n]:offsets[n + 1]]`. A switch between two words has `switch_probability`, shared by the other
    languages. The result of a sentence does not depend on the others.
    """
    languages = evidence_WL.shape[1]
    leave = switch_probability / (languages - 1)
    keep = 1 - switch_probability - leave
    likelihood_WL = np.exp(np.maximum(evidence_WL - evidence_WL.max(axis=1, keepdims=True), _SMALLEST_LOG))
    result_WL = np.empty_like(evidence_WL)
    for rows in _batches(np.diff(offsets)):
        lengths = np.diff(offsets)[rows]
        places_PS = offsets[rows] + np.arange(lengths.max())[:, None]
        inside_PS = np.arange(lengths.max())[:, None] < lengths
        likelihood_PSL = np.ones((*inside_PS.shape, languages))  # padding is no evidence, which leaves ends alone
        likelihood_PSL[inside_PS] = likelihood_WL[places_PS[inside_PS]]
        result_WL[places_PS[inside_PS]] = _forward_backward(likelihood_PSL, keep, leave)[inside_PS]
    return result_WL


def _forward_backward(likelihood_PSL: Floats, keep: float, leave: float) -> Floats:
    """Posteriors of sentences side by side. A step of the chain is x -> keep · x + leave · sum(x)."""
    languages = likelihood_PSL.shape[2]
    forward_PSL = np.empty_like(likelihood_PSL)
    state_SL = np.full(likelihood_PSL.shape[1:], 1 / languages)
    for place, likelihood_SL in enumerate(likelihood_PSL):
        state_SL = state_SL * likelihood_SL
        state_SL /= state_SL.sum(axis=1, keepdims=True)
        forward_PSL[place] = state_SL
        state_SL = keep * state_SL + leave
    backward_SL = np.ones(likelihood_PSL.shape[1:])
    for place in range(len(likelihood_PSL) - 1, -1, -1):
        forward_PSL[place] *= backward_SL
        forward_PSL[place] /= forward_PSL[place].sum(axis=1, keepdims=True)
        seen_SL = backward_SL * likelihood_PSL[place]
        backward_SL = keep * seen_SL + leave * seen_SL.sum(axis=1, keepdims=True)
        backward_SL /= backward_SL.max(axis=1, keepdims=True)
    return forward_PSL


def _batches(lengths: Offsets) -> Iterator[Offsets]:
    """Rows of sentences of similar length, at most BATCH_WORDS places together; empty sentences are left out."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        rows = order[start : start + BATCH_WORDS // int(lengths[order[start]]) + 1]
        places = lengths[rows] * np.arange(1, len(rows) + 1)
        size = max(1, int(np.searchsorted(places, BATCH_WORDS, side="right")))
        yield rows[:size]
        start += size
