"""CTC forced alignment: on which frames given ids stand.

Viterbi over the ids with blanks between them: Graves et al. 2006, "Connectionist Temporal Classification", section 4.1,
with the maximum in place of the sum; Kürzinger et al. 2020, "CTC-Segmentation of Large Corpora", align in this way.

Shapes: T output frames, V vocab, L ids, S = 2L + 1 states: blank, first id, blank, second id, ..., blank.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.inference.greedy import BLANK, Token
from harken.inference.scoring import LogProbs

_IMPOSSIBLE = np.float32(-np.inf)


def align_ids(log_probs_TV: LogProbs, ids: Sequence[int]) -> list[Token]:
    """The most probable frames of each id, given that exactly `ids` are said; a token's probability is its mean there.

    Of equally probable paths the one that moves on earliest is taken. Time T * L; memory T * L / 2 bytes (30 MB for
    20,000 frames and 3,000 ids). Raises InputError when there are too few frames for the ids, scores that are not
    numbers, or no path of a probability above 0; ValueError for an id that is the blank or outside the vocabulary.
    """
    labels_L = np.asarray(ids, dtype=np.int64)
    _check(log_probs_TV, labels_L)
    if not len(labels_L):
        return []
    states_T = _best_path(log_probs_TV, labels_L)
    firsts_L = np.searchsorted(states_T, 2 * np.arange(len(labels_L)) + 1)  # states never go back
    ends_L = np.searchsorted(states_T, 2 * np.arange(len(labels_L)) + 1, side="right")
    # One sum over alternating stretches: an id's frames, then those up to the next id.
    spoken_T = np.exp(log_probs_TV[np.arange(len(states_T)), np.append(labels_L, BLANK)[states_T // 2]])
    edges = np.stack([firsts_L, ends_L], axis=1).ravel()
    sums_L = np.add.reduceat(np.append(spoken_T, np.float32(0)), edges)[::2]
    return [
        Token(id=id_, first=first, end=end, probability=float(total) / (end - first))
        for id_, first, end, total in zip(
            labels_L.tolist(), firsts_L.tolist(), ends_L.tolist(), sums_L.tolist(), strict=True
        )
    ]


def frames_needed(ids: Sequence[int]) -> int:
    """The fewest frames that `ids` can be said in: one each, and a blank between equal neighbours."""
    labels_L = np.asarray(ids)
    return len(labels_L) + int(np.count_nonzero(labels_L[1:] == labels_L[:-1]))


def refuse_nan(log_probs_TV: LogProbs) -> None:
    """Raise InputError for scores that are not numbers; comparisons would pass over them without a word."""
    if np.isnan(log_probs_TV).any():
        raise InputError("The scores hold values that are not numbers.", hint="Check the audio and the model.")


def _check(log_probs_TV: LogProbs, labels_L: npt.NDArray[np.int64]) -> None:
    frames, units = log_probs_TV.shape
    wrong = labels_L[(labels_L <= BLANK) | (labels_L >= units)]
    if len(wrong):
        raise ValueError(f"id {wrong[0]} is {'the blank' if wrong[0] == BLANK else f'outside 1..{units - 1}'}")
    refuse_nan(log_probs_TV)
    if frames < (needed := frames_needed(labels_L.tolist())):
        raise InputError(
            f"{len(labels_L)} ids need at least {needed} frames, and there are {frames}.",
            hint="The text does not belong to this audio, or the audio is cut off.",
        )


def _best_path(log_probs_TV: LogProbs, labels_L: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The state of each frame (T,)."""
    frames, states = len(log_probs_TV), 2 * len(labels_L) + 1
    units_S = np.zeros(states, dtype=np.int64)
    units_S[1::2] = labels_L
    # A path may step over the blank between two ids that differ; elsewhere the step costs everything.
    over_S = np.full(states, _IMPOSSIBLE)
    over_S[3::2][labels_L[1:] != labels_L[:-1]] = 0
    scores_S = np.full(states + 2, _IMPOSSIBLE, dtype=np.float64)  # two states in front that nothing reaches
    scores_S[2:4] = log_probs_TV[0, units_S[:2]]
    moves_TX = np.zeros((2, frames, (states + 7) // 8), dtype=np.uint8)  # one bit each: moved at all, moved by two
    for frame in range(1, frames):
        stay, step, skip = scores_S[2:], scores_S[1:-1], scores_S[:-2] + over_S
        best = np.maximum(stay, step)
        moves_TX[1, frame] = np.packbits(skip > best)
        moves_TX[0, frame] = np.packbits((step > stay) | (skip > best))
        scores_S[2:] = np.maximum(best, skip) + log_probs_TV[frame, units_S]
    if not np.isfinite(scores_S[-2:].max()):
        raise InputError("The scores give the ids no probability.", hint="The text does not belong to this audio.")
    state = states - 1 if scores_S[-1] >= scores_S[-2] else states - 2
    path_T = np.empty(frames, dtype=np.int64)
    for frame in range(frames - 1, -1, -1):
        path_T[frame] = state
        byte, shift = state >> 3, 7 - (state & 7)
        if moves_TX[0, frame, byte] >> shift & 1:
            state -= 2 if moves_TX[1, frame, byte] >> shift & 1 else 1
    return path_T
