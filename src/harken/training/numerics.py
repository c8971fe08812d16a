"""The process-wide switches of PyTorch that a reproducible run needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic as memory

from harken.inference.torch_engine import pick_device
from harken.training.recipe import TrainingConfig


@contextmanager
def reproducible_numerics(config: TrainingConfig) -> Iterator[None]:
    """Deterministic algorithms and the number of threads, for as long as a run lasts; put back afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(config.threads or threads)
    # CUDA's CTC backward has no deterministic form; there the switch warns and the rest stays reproducible.
    torch.use_deterministic_algorithms(True, warn_only=pick_device(config.device).type == "cuda")
    # The switch also fills fresh memory with NaN, to find code that reads it; that costs time and changes no result.
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
