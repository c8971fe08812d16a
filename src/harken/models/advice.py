"""Which kinds of machine can fine-tune a model of a given size: a rule of thumb, before anything is measured.

Memory: weights, gradients and the states of AdamW in float32, 16 bytes for each trained weight and 4 for any other,
may take half of the machine's memory. The other half is left to activations, whose size the batch decides.

Time: training is at least ten times faster than the speech lasts. A weight costs 6 floating-point operations each time
it is used (Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1), 4 where its own gradient is not
needed, and 40 % of the data sheet's float32 rate are reached: Whisper tiny and Wav2Vec2 base reached 35 to 50 % on a
CPU core.
"""

from dataclasses import dataclass
from typing import Literal

from harken.models.variants import VariantSize

Way = Literal["full", "lora"]

WEIGHT_BYTES = 4
TRAINED_BYTES = 12  # the gradient and AdamW's two averages
STATES_SHARE = 0.5  # of the memory
LEAST_SPEED = 10.0  # seconds of speech for each second of training
REACHED_SHARE = 0.4  # of the peak rate
_OPERATIONS: dict[Way, int] = {"full": 6, "lora": 4}
WAYS: tuple[Way, ...] = tuple(_OPERATIONS)
"""How a model can be trained, the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareClass:
    """A kind of machine. `flops` is its float32 peak, operations per second, by the data sheet."""

    name: str
    memory_bytes: float
    flops: float


HARDWARE = (
    HardwareClass(name="CPU", memory_bytes=16e9, flops=0.4e12),  # four cores, 32 operations each at 3.2 GHz
    HardwareClass(name="T4 16 GB", memory_bytes=16e9, flops=8.1e12),
    HardwareClass(name="24 GB", memory_bytes=24e9, flops=30e12),  # L4, A10, RTX 3090
    HardwareClass(name="A100 80 GB", memory_bytes=80e9, flops=19.5e12),
)


def training_bytes(parameters: int, trained: int) -> int:
    """Memory for weights, gradients and AdamW's states in float32; activations come on top."""
    return WEIGHT_BYTES * parameters + TRAINED_BYTES * trained


def states_bytes(size: VariantSize, way: Way) -> int | None:
    """`training_bytes` of full fine-tuning, or of a LoRA adapter on a frozen model; None where it takes none."""
    if way == "full":
        return training_bytes(size.parameters, size.trained)
    return None if size.lora is None else training_bytes(size.parameters + size.lora, size.lora)


def training_speed(size: VariantSize, way: Way, hardware: HardwareClass) -> float:
    """Expected seconds of speech for each second of training."""
    return REACHED_SHARE * hardware.flops / (_OPERATIONS[way] * size.uses_per_s)


def advise(size: VariantSize, hardware: HardwareClass) -> Way | None:
    """The most that the machine can train: everything ("full"), an adapter ("lora"), or nothing."""
    for way in WAYS:
        needed = states_bytes(size, way)
        fits = needed is not None and needed <= STATES_SHARE * hardware.memory_bytes
        if fits and training_speed(size, way, hardware) >= LEAST_SPEED:
            return way
    return None
