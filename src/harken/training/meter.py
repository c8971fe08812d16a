"""What training takes of a device's memory: of each piece of a batch, and for the lines of the log."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bytes of tensors when a piece of a batch began, and the most there were since."""

    before_bytes: int
    peak_bytes: int

    @property
    def taken_bytes(self) -> int:
        """What the piece itself took."""
        return self.peak_bytes - self.before_bytes


class MemoryMeter(Protocol):
    """Measures pieces of batches one after the other, where the device can tell."""

    @property
    def budget_bytes(self) -> int | None:
        """What tensors may take in all; None where that is not known."""
        ...

    def begin(self) -> None:
        """A piece begins now."""
        ...

    def read(self) -> Reading | None:
        """What happened since `begin`; None where the device does not tell."""
        ...

    def numbers(self) -> dict[str, float]:
        """Memory since the last call, for a line of the log: GiB, and shares from 0 to 1. Not while a piece runs."""
        ...


class ResidentMeter:
    """The main memory of this process, which says nothing of single pieces. Linux only; elsewhere it has no numbers."""

    def __init__(self, *, budget_bytes: int | None = None, root: Path = Path("/")) -> None:
        """`root` stands in for the root of the file system in tests."""
        self.budget_bytes = budget_bytes
        self._statm = root / "proc/self/statm"

    def begin(self) -> None:
        """Nothing is measured."""

    def read(self) -> None:
        return None

    def numbers(self) -> dict[str, float]:
        try:
            pages = int(self._statm.read_text(encoding="ascii").split()[1])
        except OSError:
            return {}
        return {"memory_resident_gib": _gib(pages * os.sysconf("SC_PAGE_SIZE"))}


class CudaMeter:
    """PyTorch's allocator of one GPU. `stats` are its counters, `reset` starts their peaks anew, `room` is what the
    process may have in all: what is free and what the allocator holds."""

    def __init__(
        self,
        *,
        stats: Callable[[], Mapping[str, int]],
        reset: Callable[[], None],
        room: Callable[[], int],
        budget_bytes: int | None = None,
    ) -> None:
        self._stats, self._reset, self._room = stats, reset, room
        self._budget_bytes = budget_bytes
        self._before_bytes = 0
        self._peak_bytes = self._reserved_bytes = 0  # at the highest peak since the last line of the log

    @classmethod
    def of(cls, device: torch.device, *, budget_bytes: int | None = None) -> "CudaMeter":
        """The meter of a GPU of this machine."""

        def room() -> int:
            free, _ = torch.cuda.mem_get_info(device)
            return int(free) + torch.cuda.memory_reserved(device)

        return cls(
            stats=lambda: torch.cuda.memory_stats(device),
            reset=lambda: torch.cuda.reset_peak_memory_stats(device),
            room=room,
            budget_bytes=budget_bytes,
        )

    @property
    def budget_bytes(self) -> int:
        return self._room() if self._budget_bytes is None else self._budget_bytes

    def begin(self) -> None:
        self._before_bytes = self._note()["allocated_bytes.all.current"]
        self._reset()

    def read(self) -> Reading:
        return Reading(before_bytes=self._before_bytes, peak_bytes=self._note()["allocated_bytes.all.peak"])

    def numbers(self) -> dict[str, float]:
        """`memory_fragmentation` is the share of what the allocator held at the peak that no tensor used."""
        now = self._note()
        peak_bytes, reserved_bytes = self._peak_bytes, self._reserved_bytes
        self._peak_bytes = self._reserved_bytes = 0
        self._reset()
        return {
            "memory_allocated_gib": _gib(now["allocated_bytes.all.current"]),
            "memory_peak_gib": _gib(peak_bytes),
            "memory_reserved_gib": _gib(reserved_bytes),
            "memory_fragmentation": round(1 - peak_bytes / max(1, reserved_bytes), 4),
        }

    def _note(self) -> Mapping[str, int]:
        """The counters, their peak taken into account before it is forgotten."""
        now = self._stats()
        if now["allocated_bytes.all.peak"] >= self._peak_bytes:
            self._peak_bytes = now["allocated_bytes.all.peak"]
            self._reserved_bytes = now["reserved_bytes.all.peak"]
        return now


def memory_meter(device: torch.device, *, budget_gib: float | None) -> MemoryMeter:
    """The meter of this device; `budget_gib` is what the run may take of it."""
    budget_bytes = None if budget_gib is None else int(budget_gib * GIB)
    if device.type == "cuda":
        return CudaMeter.of(device, budget_bytes=budget_bytes)
    return ResidentMeter(budget_bytes=budget_bytes)


def _gib(count: int) -> float:
    return round(count / GIB, 4)
