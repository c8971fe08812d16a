"""What a meter makes of counters and of /proc, with both scripted."""

import os
from pathlib import Path

import pytest
import torch

from harken.training.meter import GIB, CudaMeter, Reading, ResidentMeter, memory_meter


class Allocator:
    """A caching allocator's counters: peaks are since the last reset, blocks are kept when tensors go."""

    def __init__(self) -> None:
        self.current = self.peak = self.reserved = self.reserved_peak = 0

    def take(self, count: int, *, block: int) -> None:
        self.current += count
        self.peak = max(self.peak, self.current)
        self.reserved = max(self.reserved, block)
        self.reserved_peak = max(self.reserved_peak, self.reserved)

    def reset(self) -> None:
        self.peak, self.reserved_peak = self.current, self.reserved

    def stats(self) -> dict[str, int]:
        return {
            "allocated_bytes.all.current": self.current,
            "allocated_bytes.all.peak": self.peak,
            "reserved_bytes.all.peak": self.reserved_peak,
        }

    def meter(self, **options: int) -> CudaMeter:
        return CudaMeter(stats=self.stats, reset=self.reset, room=lambda: 5 * GIB, **options)


def test_a_piece_is_what_it_adds_to_what_was_there() -> None:
    allocator = Allocator()
    meter = allocator.meter()
    allocator.take(3 * GIB, block=4 * GIB)  # weights
    allocator.take(-GIB, block=0)
    meter.begin()
    allocator.take(2 * GIB, block=5 * GIB)
    allocator.take(-2 * GIB, block=0)
    assert meter.read() == Reading(before_bytes=2 * GIB, peak_bytes=4 * GIB)
    assert Reading(before_bytes=2 * GIB, peak_bytes=4 * GIB).taken_bytes == 2 * GIB
    meter.begin()
    assert meter.read().peak_bytes == 2 * GIB  # the peak of another piece is not this one's


def test_a_line_of_the_log_has_the_highest_peak_of_all_pieces() -> None:
    allocator = Allocator()
    meter = allocator.meter()
    for size in (1, 6, 2):
        meter.begin()
        allocator.take(size * GIB, block=8 * GIB)
        allocator.take(-size * GIB, block=0)
        meter.read()
    allocator.take(GIB // 2, block=0)
    assert meter.numbers() == {
        "memory_allocated_gib": 0.5,
        "memory_peak_gib": 6.0,
        "memory_reserved_gib": 8.0,
        "memory_fragmentation": 0.25,
    }
    meter.begin()
    allocator.take(GIB, block=0)
    assert meter.numbers()["memory_peak_gib"] == 1.5  # the next line begins anew


def test_the_budget_is_the_recipes_or_what_there_is() -> None:
    assert Allocator().meter().budget_bytes == 5 * GIB
    assert Allocator().meter(budget_bytes=GIB).budget_bytes == GIB
    assert memory_meter(torch.device("cpu"), budget_gib=1.5).budget_bytes == 1.5 * GIB
    assert memory_meter(torch.device("cpu"), budget_gib=None).budget_bytes is None


def test_resident_memory_is_the_second_number_of_statm(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    pages = 3 * GIB // os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "proc/self/statm").write_text(f"9999999 {pages} 100 1 0 50 0\n")
    meter = ResidentMeter(root=tmp_path)
    meter.begin()
    assert meter.read() is None  # type: ignore[func-returns-value]
    assert meter.numbers() == {"memory_resident_gib": 3.0}
    assert ResidentMeter(root=tmp_path / "elsewhere").numbers() == {}


def test_this_process_is_resident() -> None:
    psutil = pytest.importorskip("psutil")
    measured = ResidentMeter().numbers()["memory_resident_gib"]
    assert measured == pytest.approx(psutil.Process().memory_info().rss / GIB, rel=0.1)
