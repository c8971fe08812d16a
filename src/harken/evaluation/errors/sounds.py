"""Alignment of phonemes by how alike they sound: many pairs at once.

A substitution costs the weighted difference of panphon's articulatory features, an insertion or deletion the sum of
the weights, which is as much as half of all features turned to their opposite (D. Mortensen et al., "PanPhon", COLING
2016). Ties and the reading of the path are sclite's; `scoring.lattice` explains the form of the recurrence.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.evaluation.errors.pronunciation import feature_table
from harken.evaluation.scoring.encode import EncodedTexts, Offsets, padded

BATCH_CELLS = 1 << 20

_SCALE = 16  # weights are eighths, features of a diphthong halves: in sixteenths every cost is whole


@dataclass(frozen=True, slots=True, eq=False)
class SoundCosts:
    """Integer costs: `substitution` is (phonemes, phonemes), `gap` is for an insertion or deletion."""

    substitution: npt.NDArray[np.int32]
    gap: int


def sort_sounds(phonemes: Sequence[str]) -> list[str]:
    """Phonemes with alike ones side by side: by their features, then by their signs."""
    return sorted(phonemes, key=lambda phoneme: (_features(phoneme).tolist(), phoneme))


def sound_costs(phonemes: Sequence[str]) -> SoundCosts:
    """Costs between the given phonemes. Raises MissingPart without panphon."""
    weights_F = _weights()
    features_PF = np.array([_features(phoneme) for phoneme in phonemes]).reshape(len(phonemes), len(weights_F))
    difference_PP = np.zeros((len(phonemes), len(phonemes)))
    for feature_P, weight in zip(features_PF.T, weights_F, strict=True):
        difference_PP += weight * np.abs(feature_P[:, None] - feature_P)
    return SoundCosts(
        substitution=np.rint(_SCALE * difference_PP).astype(np.int32), gap=round(_SCALE * float(sum(weights_F)))
    )


def _features(phoneme: str) -> npt.NDArray[np.float64]:
    """(features,) in [-1, 1]; a diphthong has the mean of its parts."""
    vectors: Any = feature_table().word_to_vector_list(phoneme, numeric=True)
    mean: npt.NDArray[np.float64] = np.array(vectors, dtype=np.float64).mean(axis=0)
    return mean


def _weights() -> list[float]:
    """Weight of each feature, in the order of the feature vectors.

    Read by name: panphon's own list of weights is in another order than its features from the 20th on.
    """
    with files("panphon").joinpath("data/feature_weights.csv").open(encoding="utf-8") as file:
        names, values = list(csv.reader(file))[:2]
    by_name = {name.strip(): float(value) for name, value in zip(names, values, strict=True)}
    return [by_name.get(name, 0.0) for name in feature_table().names]  # tones have none


# I reference position, J hypothesis position, P pair

Steps = npt.NDArray[np.int64]
"""(2, steps) phoneme of the reference and of the hypothesis in each step of an alignment, -1 where there is none."""

_NO_STEPS = np.zeros((2, 0), dtype=np.int64)


def align_sounds(references: EncodedTexts, hypotheses: EncodedTexts, costs: SoundCosts) -> Steps:
    """Steps of all alignments, reference n with hypothesis n, in no particular order."""
    pieces = [
        _align_batch(
            padded(references, rows, 0),
            padded(hypotheses, rows, 0),
            references.lengths[rows],
            hypotheses.lengths[rows],
            costs,
        )
        for rows in _batches(references.lengths, hypotheses.lengths)
    ]
    return np.concatenate([_NO_STEPS, *pieces], axis=1)


def _batches(first: Offsets, second: Offsets) -> Iterator[Offsets]:
    """Rows of similar lengths, so many that their common lattice has at most BATCH_CELLS cells (or a single row)."""
    order = np.lexsort((second, first))
    start = 0
    while start < len(order):
        rows = order[start:]
        tallest = np.maximum.accumulate(first[rows[:BATCH_CELLS]]) + 1
        widest = np.maximum.accumulate(second[rows[:BATCH_CELLS]]) + 1
        cells = tallest * widest * np.arange(1, len(tallest) + 1)
        size = max(1, int(np.searchsorted(cells, BATCH_CELLS, side="right")))
        yield rows[:size]
        start += size


def _align_batch(
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    reference_lengths: Offsets,
    hypothesis_lengths: Offsets,
    costs: SoundCosts,
) -> Steps:
    lattice_IJP = np.zeros((len(reference_IP) + 1, len(hypothesis_JP) + 1, len(reference_lengths)), dtype=np.int32)
    for row, sounds_P in enumerate(reference_IP, start=1):
        above_JP, here_JP = lattice_IJP[row - 1], lattice_IJP[row]
        diagonal_JP = costs.substitution[sounds_P, hypothesis_JP] - np.int32(2 * costs.gap) + above_JP[:-1]
        np.minimum(diagonal_JP, above_JP[1:], out=here_JP[1:])
        np.minimum.accumulate(here_JP, axis=0, out=here_JP)
    return _trace(lattice_IJP, reference_IP, hypothesis_JP, reference_lengths, hypothesis_lengths, costs)


def _trace(
    lattice_IJP: npt.NDArray[np.int32],
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    i: Offsets,
    j: Offsets,
    costs: SoundCosts,
) -> Steps:
    """Read all paths from their ends, in step; pairs that have reached the start leave the group."""
    pair = np.arange(len(i))
    # One row more, so that an empty side can be looked at; nothing found there is used.
    references, hypotheses = (np.pad(side, ((0, 1), (0, 0))) for side in (reference_IP, hypothesis_JP))
    steps = [_NO_STEPS]
    while True:
        going = np.flatnonzero((i > 0) | (j > 0))
        if len(going) == 0:
            break
        i, j, pair = i[going], j[going], pair[going]
        up, left = np.maximum(i - 1, 0), np.maximum(j - 1, 0)
        reference, hypothesis = references[up, pair], hypotheses[left, pair]
        here = lattice_IJP[i, j, pair]
        through = lattice_IJP[up, left, pair] + costs.substitution[reference, hypothesis] - 2 * costs.gap
        diagonal = (i > 0) & (j > 0) & (through == here)
        deletion = ~diagonal & ((j == 0) | ((i > 0) & (here < lattice_IJP[i, left, pair])))
        insertion = ~diagonal & ~deletion
        steps.append(np.stack([np.where(insertion, -1, reference), np.where(deletion, -1, hypothesis)]))
        i, j = i - ~insertion, j - ~deletion
    return np.concatenate(steps, axis=1)
