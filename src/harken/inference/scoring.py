"""What engines and decoders exchange: NumPy arrays, so that neither knows what the other runs on.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harken.core import Features
from harken.inference.greedy import Token, collapse

LogProbs = npt.NDArray[np.float32]
"""Log probabilities (natural), the last axis being the vocabulary; id 0 is the blank."""


class CtcScorer(Protocol):
    """A CTC model, whatever runs it."""

    def __call__(
        self, features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        """(B, T, V) log probabilities and (B,) output frames, of zero-padded features and their lengths."""
        ...


class CtcDecoder(Protocol):
    """Log probabilities (T, V) of one utterance to its tokens, in order."""

    def __call__(self, log_probs_TV: LogProbs) -> list[Token]: ...


def decode_greedily(log_probs_TV: LogProbs) -> list[Token]:
    """The best id of each frame, repeats merged, blanks removed (Graves et al. 2006, section 3.2)."""
    if not len(log_probs_TV):
        return []
    ids_T = log_probs_TV.argmax(1)
    return collapse(ids_T, np.exp(log_probs_TV[np.arange(len(ids_T)), ids_T]))


def pad_features(features: Sequence[Features]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features of several utterances as one zero-padded (B, F, M) array, and their lengths (B,)."""
    frames = np.array([len(item) for item in features], dtype=np.int64)
    padded = np.zeros((len(features), frames.max(initial=0), features[0].shape[1]), dtype=np.float32)
    for row, item in zip(padded, features, strict=True):
        row[: len(item)] = item
    return padded, frames
