"""A batch: what a model takes at once, in NumPy."""
# B batch, F frames, M dimensions of the features, T tokens

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Utterances padded with 0 to the longest of them; the lengths travel along.

    `duration_s` is the sum of the utterances' durations as their manifest states them, `padded_s` the time the padding
    frames would last. A batch may be empty, where a bucket had fewer utterances than there are ranks.
    """

    ids: tuple[str, ...]
    features_BFM: npt.NDArray[np.float32]
    frames_B: npt.NDArray[np.int64]
    labels_BT: npt.NDArray[np.int64]
    label_lengths_B: npt.NDArray[np.int64]
    duration_s: float
    padded_s: float

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tensors(self) -> tuple[npt.NDArray[Any], ...]:
        """What a loss is computed from: features and their lengths, labels and theirs."""
        return self.features_BFM, self.frames_B, self.labels_BT, self.label_lengths_B


def collate(
    ids: Sequence[str],
    features: Sequence[Features],
    labels: Sequence[Sequence[int] | npt.NDArray[np.integer]] | None,
    *,
    dimensions: int,
    hop_s: float,
    duration_s: float,
) -> Batch:
    """One batch from each utterance's (frames, dimensions) features and its labels, or no labels at all."""
    frames_B = np.array([len(item) for item in features], dtype=np.int64)
    label_lengths_B = np.array([len(item) for item in labels or [()] * len(ids)], dtype=np.int64)
    features_BFM = np.zeros((len(ids), int(frames_B.max(initial=0)), dimensions), dtype=np.float32)
    labels_BT = np.zeros((len(ids), int(label_lengths_B.max(initial=0))), dtype=np.int64)
    for row, item in zip(features_BFM, features, strict=True):
        row[: len(item)] = item
    for label_row, tokens in zip(labels_BT, labels or (), strict=labels is not None):
        label_row[: len(tokens)] = tokens
    return Batch(
        ids=tuple(ids),
        features_BFM=features_BFM,
        frames_B=frames_B,
        labels_BT=labels_BT,
        label_lengths_B=label_lengths_B,
        duration_s=duration_s,
        padded_s=float(features_BFM.shape[0] * features_BFM.shape[1] - frames_B.sum()) * hop_s,
    )
