"""The lateness of the event loop is noted as it is."""

import asyncio
import contextlib
import time

import pytest
from prometheus_client import CollectorRegistry

from harken.serving.loop_lag import EVERY_S, RECENT, LoopLag
from harken.serving.metrics import ServerMetrics


def test_a_loop_that_is_held_up_is_late_by_that_much() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(registry)

    async def held_up() -> None:
        task = asyncio.create_task(lag.run())
        await asyncio.sleep(EVERY_S / 2)
        time.sleep(0.3)  # nothing else runs meanwhile
        await asyncio.sleep(1.5 * EVERY_S)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(held_up())
    found = lag.recent()
    assert found is not None
    assert 0.3 - EVERY_S <= found["max"] < 0.3 + 0.2
    assert registry.get_sample_value("asr_event_loop_lag_seconds_bucket", {"le": "0.25"}) == registry.get_sample_value(
        "asr_event_loop_lag_seconds_count"
    ) - (found["max"] > 0.25)
    assert registry.get_sample_value("asr_event_loop_lag_seconds_sum") == pytest.approx(found["max"], abs=0.1)


def test_percentiles_are_of_recent_looks_by_nearest_rank() -> None:
    lag = LoopLag(CollectorRegistry())
    assert lag.recent() is None
    for number in range(1, 201):
        lag.note(number / 1000)
    assert lag.recent() == {"p50": 0.1, "p95": 0.19, "p99": 0.198, "max": 0.2}
    for _ in range(RECENT):
        lag.note(0.001)
    assert lag.recent() == {"p50": 0.001, "p95": 0.001, "p99": 0.001, "max": 0.001}


def test_it_is_a_figure_of_the_server() -> None:
    metrics = ServerMetrics()
    assert metrics.stats()["event_loop_lag_s"] is None
    metrics.loop_lag.note(0.004)
    assert metrics.stats()["event_loop_lag_s"] == {"p50": 0.004, "p95": 0.004, "p99": 0.004, "max": 0.004}
    assert metrics.registry.get_sample_value("asr_event_loop_lag_seconds_bucket", {"le": "0.005"}) == 1
