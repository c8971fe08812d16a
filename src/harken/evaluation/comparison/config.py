"""Settings of a comparison."""

from dataclasses import dataclass
from typing import Literal

from harken.core import Strict

UnitName = Literal["auto", "speaker", "recording", "utterance"]

ENOUGH_BLOCKS = 7
"""Fewer speakers (or recordings) than this cannot reach the level of the gate's test, 2 ** -7 < 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonConfig(Strict):
    """How two systems are compared.

    `samples` are random swaps of the sign-flip test, `bootstrap_samples` resamples of the bootstrap. `unit` is what is
    drawn: with "auto" speakers where all are known and there are `ENOUGH_BLOCKS` or more, else recordings, else
    utterances. `slices` are dimensions ("language", "duration", "condition", "tag:NAME"), or "all" of them. A
    dimension with more than `slice_values` labels is left out. `changed` is how many utterances are listed as changed.
    """

    samples: int = 10_000
    bootstrap_samples: int = 1000
    confidence: float = 0.95
    seed: int = 42
    unit: UnitName = "auto"
    slices: tuple[str, ...] = ("all",)
    slice_values: int = 50
    changed: int = 5

    def __post_init__(self) -> None:
        for name in ("samples", "bootstrap_samples", "slice_values"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; use a share between 0 and 1, such as 0.95")
        if self.unit not in ("auto", "speaker", "recording", "utterance"):
            raise ValueError(f"unit is {self.unit!r}; use auto, speaker, recording or utterance")
        if self.changed < 0:
            raise ValueError(f"changed is {self.changed}; use 0 or more")
