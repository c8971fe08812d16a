"""Calls in threads of their own: as many as there is room for, and no more."""

import asyncio
import contextvars
import subprocess
import sys
import threading
import time

import pytest

from harken.core import InputError, MissingPart
from harken.storage.calls import Calls


def test_calls_return_and_raise_what_they_are_calls_of() -> None:
    def fail() -> None:
        raise InputError("bad")

    async def scenario() -> None:
        calls = Calls("x", threads=2, waiting=0)
        assert await calls.run(pow, 2, exp=5) == 32
        with pytest.raises(InputError, match="bad"):
            await calls.run(fail)
        name.set("ann")
        assert await calls.run(name.get) == "ann"
        for _ in range(200):  # room is there as soon as an answer is
            await asyncio.gather(calls.run(int), calls.run(int))
        calls.close()
        with pytest.raises(MissingPart):
            await calls.run(int)

    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")
    asyncio.run(scenario())


def threads() -> int:
    return sum(thread.name == "calls to The store" for thread in threading.enumerate())


def test_a_service_that_hangs_keeps_its_own_threads_and_no_more() -> None:
    async def scenario() -> None:
        answers = threading.Event()
        calls = Calls("The store", threads=3, waiting=4)
        hung = [asyncio.create_task(calls.run(answers.wait, 20)) for _ in range(7)]
        await asyncio.sleep(0.05)
        assert threads() == 3
        began_s = time.perf_counter()
        with pytest.raises(MissingPart, match="The store is behind: 7 calls are not answered"):
            await calls.run(int)
        assert time.perf_counter() - began_s < 0.05
        assert await asyncio.to_thread(int) == 0
        answers.set()
        assert await asyncio.gather(*hung) == [True] * 7
        assert await calls.run(int) == 0
        calls.close()
        async with asyncio.timeout(5):
            while threads():
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_who_leaves_takes_a_waiting_call_along() -> None:
    async def scenario() -> None:
        answers, made = threading.Event(), []
        calls = Calls("x", threads=1, waiting=3)
        first = asyncio.create_task(calls.run(answers.wait, 20))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(calls.run(made.append, 1))
        await asyncio.sleep(0.02)
        second.cancel()
        await asyncio.sleep(0.02)
        answers.set()
        await first
        assert await calls.run(len, made) == 0
        calls.close()

    asyncio.run(scenario())


def test_a_call_that_never_returns_does_not_keep_the_process() -> None:
    script = """
import asyncio, threading
from harken.storage.calls import Calls
async def main():
    calls = Calls("x", threads=1, waiting=0)
    try:
        await asyncio.wait_for(calls.run(threading.Event().wait), 0.2)
    except TimeoutError:
        print("late")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "late\n"
    assert done.stderr == ""
