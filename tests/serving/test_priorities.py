"""`harken.serving.priorities`: which threads give way to the event loop."""

import asyncio
import gc
import os
import sys
import threading
from functools import partial

import pytest

from harken.serving.priorities import NICE, SWITCH_S, give_way, in_own_thread, keep_still, short_turns

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")


def own_nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def in_a_thread(work):
    """What `work` gives in a new thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def gave_way(times: int = 1) -> int:
    for _ in range(times):
        give_way()
    return own_nice()


@linux
class TestGiveWay:
    def test_a_thread_is_some_steps_below_the_process(self):
        before = own_nice()
        assert in_a_thread(gave_way) == before + NICE
        assert own_nice() == before

    def test_a_second_time_changes_nothing(self):
        assert in_a_thread(partial(gave_way, 3)) == own_nice() + NICE

    def test_threads_that_it_starts_are_as_low(self):
        def start_another() -> int:
            give_way()
            return in_a_thread(own_nice)

        assert in_a_thread(start_another) == own_nice() + NICE

    def test_a_system_that_forbids_it_changes_nothing(self, monkeypatch):
        def forbidden(*_: int) -> None:
            raise PermissionError(1, "not permitted")

        before = own_nice()
        monkeypatch.setattr(os, "setpriority", forbidden)
        assert in_a_thread(gave_way) == before


class TestInOwnThread:
    def test_gives_what_the_work_gives(self):
        async def ask() -> tuple[int, int]:
            return await in_own_thread(lambda: (threading.get_native_id(), 7))

        thread, answer = asyncio.run(ask())
        assert answer == 7
        assert thread != threading.get_native_id()

    def test_raises_what_the_work_raises(self):
        with pytest.raises(ValueError, match="no such model"):
            asyncio.run(in_own_thread(partial(_raise, ValueError("no such model"))))

    @linux
    def test_the_work_and_its_threads_give_way(self):
        async def ask() -> tuple[int, int]:
            return await in_own_thread(lambda: (own_nice(), in_a_thread(own_nice)))

        assert asyncio.run(ask()) == (own_nice() + NICE, own_nice() + NICE)

    def test_leaves_no_thread_behind(self):
        asyncio.run(in_own_thread(lambda: None))
        for thread in threading.enumerate():
            if thread.name.startswith("load"):
                thread.join(5)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]


def test_short_turns_hold_within_the_context_only():
    before = sys.getswitchinterval()
    with short_turns():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    assert sys.getswitchinterval() == before


def test_the_collector_is_still_once_all_is_loaded(monkeypatch):
    done, answers = [], iter([False, False, True])
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))

    def is_loaded() -> bool:
        done.append("look")
        return next(answers)

    asyncio.run(keep_still(is_loaded))
    assert done == ["look", "look", "look", "collect", "freeze"]


def _raise(error: Exception) -> None:
    raise error
