"""Watching memory while a run goes on."""

import gc
import logging
from collections.abc import Callable

import torch

from harken.core.machine import read_memory
from harken.core.units import format_bytes
from harken.training.allocator import return_freed_memory
from harken.training.meter import MemoryMeter

logger = logging.getLogger(__name__)


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cufft_internal_error", "cublas_status_alloc_failed")


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an exception means that an allocation failed, on a GPU or in the CPU's allocator."""
    if isinstance(err, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(err, RuntimeError) and any(words in str(err).lower() for words in _OUT_OF_MEMORY)


def failure_reason(err: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing, as Python's own MemoryError."""
    return (str(err) or type(err).__name__).splitlines()[0]


def free_memory(device: torch.device) -> None:
    """Drop what nothing refers to any more, and give it back to the device."""
    gc.collect()
    return_freed_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_share(device: torch.device) -> tuple[float, float]:
    """Bytes in use and bytes there are: of the GPU, or of this machine's memory for a CPU run.

    GPU use is what PyTorch has reserved plus what other processes hold; on the CPU it is all memory that is not
    available to a new allocation, of what the machine or the container has.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(total - free - reusable), float(total)
    memory = read_memory()
    sizes = [size for size in (memory.total, memory.limit) if size is not None]
    if not sizes or memory.available is None:
        return 0.0, 1.0  # this system does not say; nothing can be watched
    return float(max(0, min(sizes) - memory.available)), float(min(sizes))


class MemoryWatch:
    """Warns above one share of memory and acts above another, once per crossing.

    Acting frees what can be had without losing anything: garbage, the GPU allocator's unused blocks, and what
    `release` gives back (the audio cache). It never changes what is computed. `meter` has the numbers of the log.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        warn_share: float,
        act_share: float,
        on_event: Callable[..., None],
        release: Callable[[], object],
        measure: Callable[[torch.device], tuple[float, float]] = memory_share,
        meter: MemoryMeter | None = None,
    ) -> None:
        self.device = device
        self.warn_share = warn_share
        self.act_share = act_share
        self._on_event = on_event
        self._release = release
        self._measure = measure
        self._meter = meter
        self._level = 0

    def check(self, step: int) -> float:
        """Share of memory in use after step `step`, having warned or acted where that is due."""
        used, total = self._measure(self.device)
        share = used / total
        level = 2 if share >= self.act_share else 1 if share >= self.warn_share else 0
        if level > self._level:
            message = f"{format_bytes(used)} of {format_bytes(total)} memory in use ({share:.0%})"
            self._on_event("memory-acted" if level == 2 else "memory-warning", step=step, share=round(share, 4))
            logger.warning("%s at step %d%s", message, step, "; freeing caches" if level == 2 else "")
            if level == 2:
                self._release()
                free_memory(self.device)
        self._level = level
        return share

    def numbers(self) -> dict[str, float]:
        """What the meter has measured since the last call, for a line of the log."""
        return {} if self._meter is None else self._meter.numbers()
