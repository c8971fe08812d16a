import logging
from typing import Any

import pytest
import torch

from harken.training.memory import MemoryWatch, is_out_of_memory, memory_share

CPU = torch.device("cpu")
GB = 1e9


def test_one_event_for_each_crossing(caplog: pytest.LogCaptureFixture) -> None:
    shares = iter([0.5, 0.91, 0.92, 0.96, 0.99, 0.93, 0.96, 0.4, 0.9])
    events: list[tuple[str, int, float]] = []
    released: list[int] = []

    def on_event(kind: str, *, step: int, **fields: Any) -> None:
        events.append((kind, step, fields["share"]))

    watch = MemoryWatch(
        CPU,
        warn_share=0.90,
        act_share=0.95,
        on_event=on_event,
        release=lambda: released.append(1),
        measure=lambda device: (next(shares) * 10 * GB, 10 * GB),
    )
    with caplog.at_level(logging.WARNING, logger="harken"):
        measured = [watch.check(step) for step in range(1, 10)]
    assert measured == pytest.approx([0.5, 0.91, 0.92, 0.96, 0.99, 0.93, 0.96, 0.4, 0.9])
    assert events == [
        ("memory-warning", 2, 0.91),
        ("memory-acted", 4, 0.96),
        ("memory-acted", 7, 0.96),
        ("memory-warning", 9, 0.9),
    ]
    assert len(released) == 2
    assert len(caplog.records) == 4
    assert "freeing caches" in caplog.records[1].message
    assert "(91%)" in caplog.records[0].message


def test_a_jump_past_both_limits_acts_at_once() -> None:
    events: list[str] = []
    watch = MemoryWatch(
        CPU,
        warn_share=0.5,
        act_share=0.6,
        on_event=lambda kind, **fields: events.append(kind),
        release=lambda: None,
        measure=lambda device: (0.8, 1.0),
    )
    watch.check(1)
    assert events == ["memory-acted"]


def test_this_machine_has_memory_and_uses_some_of_it() -> None:
    used, total = memory_share(CPU)
    assert 0 < used < total


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_is_out_of_memory(error: BaseException, answer: bool) -> None:
    assert is_out_of_memory(error) is answer
