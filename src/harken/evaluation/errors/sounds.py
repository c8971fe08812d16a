"""Alignment of phonemes by how alike they sound: many pairs at once.

A substitution costs the weighted difference of panphon's articulatory features, an insertion or deletion the sum of
the weights, which is as much as half of all features turned to their opposite (D. Mortensen et al., "PanPhon", COLING
2016). All else is as in the alignment of words.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.evaluation.errors.pronunciation import feature_table
from harken.evaluation.scoring.alignment import align_encoded
from harken.evaluation.scoring.encode import EncodedTexts
from harken.evaluation.scoring.lattice import DELETED, INSERTED

_SCALE = 16  # weights are eighths, features of a diphthong halves: in sixteenths every cost is whole


@dataclass(frozen=True, slots=True, eq=False)
class SoundCosts:
    """Integer costs: `substitution` is (phonemes, phonemes), `gap` is for an insertion or deletion."""

    substitution: npt.NDArray[np.int32]
    gap: int

    def between(self, reference: Any, hypothesis: Any, kind: type[np.int16] | type[np.int32]) -> Any:
        """As `StepCosts` asks; phonemes are places in `substitution`."""
        places = reference * np.int64(len(self.substitution)) + hypothesis
        return self.substitution.take(places, mode="clip").astype(kind)


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


Steps = npt.NDArray[np.int64]
"""(2, steps) phoneme of the reference and of the hypothesis in each step of an alignment, -1 where there is none."""


def align_sounds(references: EncodedTexts, hypotheses: EncodedTexts, costs: SoundCosts) -> Steps:
    """Steps of all alignments, reference n with hypothesis n, one after the other."""
    codes, _ = align_encoded(references, hypotheses, costs)
    steps = np.full((2, len(codes)), -1, dtype=np.int64)
    steps[0, codes != INSERTED] = references.ids
    steps[1, codes != DELETED] = hypotheses.ids
    return steps
