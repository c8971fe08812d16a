"""The `plan` block of a recipe."""

from dataclasses import dataclass
from typing import Literal

from harken.core import Strict

LEAST_MARGIN, DEFAULT_MARGIN, LARGEST_MARGIN = 0.7, 0.85, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig(Strict):
    """What a plan may do. `plan: auto` in a recipe stands for all defaults.

    A plan decides batch sizes, precision (where `training.precision` is auto), gradient checkpointing and the size of
    validation batches.
    """

    safety_margin: float = DEFAULT_MARGIN  # share of the memory that may be used
    memory: str | None = None  # of the device, such as 6GiB, where not all of it may be used
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    verify: bool | None = None  # take a real step of every bucket first; None does on a GPU
    file: str | None = None  # a plan that `harken plan` wrote for this model and data; it is taken as it is

    def __post_init__(self) -> None:
        if not LEAST_MARGIN <= self.safety_margin <= LARGEST_MARGIN:
            raise ValueError(
                f"safety_margin is {self.safety_margin}; use a share from {LEAST_MARGIN} to {LARGEST_MARGIN}"
            )
        if self.file is not None and (self.memory is not None or self.safety_margin != DEFAULT_MARGIN):
            raise ValueError("file is given, and it has a memory and a margin of its own; leave memory and margin out")
