"""Asking dependencies: at once, within a time, once for all who ask."""

import asyncio
import logging
import time

import pytest

from harken.core import RunFailed
from harken.serving.parts import Check, NotWorking, NotYet
from harken.serving.routes.readiness import FRESH_S, Readiness


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_checks_run_side_by_side_and_late_ones_are_named() -> None:
    async def check() -> None:
        cancelled = []

        async def slow() -> str:
            await asyncio.sleep(0.1)
            return "there"

        async def never() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            return ""

        checks = {name: Check(ask=slow) for name in "abcd"} | {"cache": Check(ask=never, required=False)}
        began_s = time.monotonic()
        view = await Readiness(patience_s=0.2).of(checks, closing=False)
        assert 0.19 < time.monotonic() - began_s < 0.4
        assert view["status"] == "degraded"
        assert [view["checks"][name]["detail"] for name in "abcd"] == ["there"] * 4
        assert 90 < view["checks"]["a"]["ms"] < 300
        assert view["checks"]["cache"] == {
            "ok": False,
            "required": False,
            "detail": "no answer within 0.2 s",
            "ms": 200.0,
        }
        await asyncio.sleep(0)
        assert cancelled == [True]

    asyncio.run(check())


def test_many_who_ask_share_one_answer_for_a_moment() -> None:
    async def check() -> None:
        asked = []

        async def ask() -> str:
            asked.append(True)
            await asyncio.sleep(0.01)
            return "there"

        clock = Clock()
        readiness, checks = Readiness(clock=clock), {"db": Check(ask=ask)}
        await asyncio.gather(*(readiness.of(checks, closing=False) for _ in range(50)))
        await readiness.of(checks, closing=False)
        assert len(asked) == 1
        clock.now_s += FRESH_S + 0.01
        await readiness.of(checks, closing=False)
        assert len(asked) == 2
        assert (await readiness.of(checks, closing=True))["status"] == "not_ready"
        assert len(asked) == 2

    asyncio.run(check())


def test_one_who_leaves_does_not_end_the_asking_of_others() -> None:
    async def check() -> None:
        async def ask() -> str:
            await asyncio.sleep(0.05)
            return "there"

        readiness, checks = Readiness(), {"db": Check(ask=ask)}
        first = asyncio.create_task(readiness.of(checks, closing=False))
        second = asyncio.create_task(readiness.of(checks, closing=False))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second)["status"] == "ready"

    asyncio.run(check())


def test_a_drivers_words_go_to_the_log_once_a_change(caplog: pytest.LogCaptureFixture) -> None:
    secret = RunFailed("connection to 10.0.0.7 failed for user harken_admin")

    async def check() -> None:
        error: list[Exception] = [secret]

        async def ask() -> str:
            if error:
                raise error[0]
            return "answers"

        clock = Clock()
        readiness, checks = Readiness(clock=clock), {"database": Check(ask=ask, required=False)}

        async def detail() -> str:
            clock.now_s += FRESH_S + 0.01
            return (await readiness.of(checks, closing=False))["checks"]["database"]["detail"]

        assert [await detail() for _ in range(3)] == ["does not answer"] * 3
        assert [record.getMessage() for record in caplog.records] == [f"database does not work: {secret}"]
        error.clear()
        assert [await detail() for _ in range(2)] == ["answers"] * 2
        assert [record.getMessage() for record in caplog.records][1:] == ["database works again"]
        error.append(NotWorking("No worker is there yet."))
        assert await detail() == "No worker is there yet."
        error[0] = ConnectionError("postgresql://user:password@host")
        assert await detail() == "does not answer"
        assert len(caplog.records) == 3
        error.clear()
        assert await detail() == "answers"
        error.append(NotYet("It is being started."))
        assert await detail() == "It is being started."
        error.clear()
        assert await detail() == "answers"
        assert [record.getMessage() for record in caplog.records][3:] == ["database works again"]

    with caplog.at_level(logging.INFO, "harken.serving.routes.readiness"):
        asyncio.run(check())
