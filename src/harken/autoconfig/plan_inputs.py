"""What a plan is made from, besides the profiles: the laws of memory and speed, and what the user asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from harken.core import Strict
from harken.training.plan_config import DEFAULT_MARGIN, LARGEST_MARGIN, LEAST_MARGIN

PrecisionName = Literal["fp32", "bf16", "fp16"]


class MemoryModel(Protocol):
    """Device memory of one training configuration (model, precision, gradient checkpointing) as a law.

    Everywhere `batch` is in rows, `duration_s` is what each row is padded to (the window of a model that has one), and
    `tokens` is the length of the longest labels. Bytes count the whole device memory of the process: weights,
    gradients, optimiser states, activations, workspace, the context and what the allocator rounds up.

    The bytes never fall when `batch`, `duration_s` or `tokens` grow, nor when `accumulated` turns true.
    """

    def peak_bytes(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> int:
        """Peak over the phases of an update whose largest micro-batch is this.

        `accumulated`: the update takes several micro-batches, so that gradients live through a forward pass.
        """
        ...

    def by_kind(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> Mapping[str, int]:
        """`peak_bytes` in parts: parameters, gradients, optimizer, activations, workspace."""
        ...

    def largest_batch(
        self, budget_bytes: int, *, duration_s: float, tokens: int, accumulated: bool, at_most: int
    ) -> int:
        """The most rows, up to `at_most`, whose peak is within the budget; 0 where not even one is."""
        ...

    def evaluation_bytes(self, *, batch: int, duration_s: float, tokens: int) -> int:
        """Peak while validating: no gradients, but the optimiser's states are there, and text is generated."""
        ...


class SpeedModel(Protocol):
    """Predicted wall seconds on the hardware planned for, at the utilisation that the settings state."""

    def step_s(self, *, batch: int, duration_s: float, tokens: int) -> float:
        """Forward and backward pass of one micro-batch of `batch` rows, each padded to `duration_s`."""
        ...

    def update_s(self) -> float:
        """The optimiser's step."""
        ...


Models = Callable[[PrecisionName, bool], tuple[MemoryModel, SpeedModel]]
"""The laws for a precision, with gradient checkpointing or without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings(Strict):
    """What the user may decide; the plan decides the rest."""

    target_batch_size: int = 32  # utterances per update, converted to seconds with their mean duration
    target_audio_s: float | None = None  # seconds of speech per update; takes the place of target_batch_size
    num_epochs: int = 20
    learning_rate: float = 3e-4
    safety_margin: float = DEFAULT_MARGIN  # share of the device memory that may be used
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    max_audio_duration_s: float | None = None  # leave out longer utterances even where they fit
    buckets: int = 30
    max_batch_size: int = 64  # utterances, of one device at once
    utilisation: float = 0.4  # share of the peak rate that training reaches; models/advice.py names the measurement
    price_per_hour: float | None = None  # of the machine, in any currency
    workers: int | None = None  # of the data loader; None decides by the cost of decoding
    preset: str | None = None  # name of the preset these settings come from

    def __post_init__(self) -> None:
        if not LEAST_MARGIN <= self.safety_margin <= LARGEST_MARGIN:
            raise ValueError(
                f"safety_margin is {self.safety_margin}; use a share of the memory from {LEAST_MARGIN} to "
                f"{LARGEST_MARGIN}"
            )
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation is {self.utilisation}; use a share above 0, up to 1")
        for name in (
            "target_batch_size", "target_audio_s", "num_epochs", "learning_rate", "max_audio_duration_s", "buckets",
            "max_batch_size",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}; use a number above 0")
        for name in ("price_per_hour", "workers"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}; use 0 or more")
