"""Passing batches through a model that is about to be trained, without a trace."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from harken.core import RunFailed
from harken.training.memory import failure_reason, free_memory, is_out_of_memory
from harken.training.update import Updater


@contextmanager
def untouched(updater: Updater) -> Iterator[None]:
    """Put back what passes through the model change, whatever happens; no weight is ever stepped."""
    model, device = updater.model, updater.precision.device
    buffers = [buffer.clone() for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(weight, weight.grad) for weight in model.parameters()]
    global_numpy = np.random.get_state()  # noqa: NPY002 - masking in transformers draws from it
    plain = random.getstate()
    try:
        for weight, _ in gradients:
            weight.grad = None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(global_numpy)  # noqa: NPY002
        updater.restore(buffers)
        for module, mode in modes:
            module.training = mode
        for weight, gradient in gradients:
            weight.grad = gradient
        free_memory(device)


def coming_states(updater: Updater) -> list[Tensor]:
    """Memory as large as the states that the optimiser has yet to make: two numbers of AdamW for each weight, sums of
    rows and of columns of Adafactor. Raises RunFailed where it does not fit."""
    factored = isinstance(updater.optimizer, torch.optim.Adafactor)
    states: list[Tensor] = []
    try:
        for weight in (p for group in updater.optimizer.param_groups for p in group["params"]):
            if weight in updater.optimizer.state:
                continue
            if factored and weight.ndim > 1:
                counts = [weight.numel() // weight.shape[-1], weight.numel() // weight.shape[-2]]
            else:
                counts = [weight.numel()] * (1 if factored else 2)
            states += [torch.empty(count, dtype=weight.dtype, device=weight.device) for count in counts]
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
        raise RunFailed(
            f"The optimiser's states do not fit in memory beside the model ({failure_reason(err)}).",
            hint="Train an adapter or fewer layers, use a smaller model, or take adafactor for the optimiser.",
        ) from err
    return states


def outside_of_allocator(device: torch.device) -> int:
    """Bytes of a GPU that the driver, this process's context and other processes hold; 0 for other devices."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free) - torch.cuda.memory_reserved(device)
