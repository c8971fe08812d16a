"""Which number formats a run computes in."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from harken.core import InputError

FP16_FROM_BYTES = 8 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Mixed precision on one device. Weights stay float32; `loss_scaling` is on for fp16 only."""

    name: str
    device: torch.device

    @property
    def loss_scaling(self) -> bool:
        return self.name == "fp16"

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the forward pass runs."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16 if self.name == "bf16" else torch.float16)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision a recipe asks for. `auto`: bf16 where the GPU has it, else fp16 from 8 GB on, else fp32.

    On a CPU `auto` is fp32, because bf16 there is fast on few machines. Raises InputError for fp16 on a CPU.
    """
    if name == "auto":
        name = "fp32"
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            name = "bf16" if torch.cuda.is_bf16_supported() else "fp16" if memory >= FP16_FROM_BYTES else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise InputError("training.precision is fp16, but the device is a CPU.", hint="Use bf16 or fp32 there.")
    return Precision(name=name, device=device)
