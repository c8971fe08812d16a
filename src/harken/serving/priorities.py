"""The event loop before all else: threads of the models give way to it, and none keeps the interpreter for long.

Everything that a client notices first (an answer to a health check, a refusal, an event of a stream) is some
microseconds of work on the event loop. Beside threads that compute all the time, both the system's scheduler and the
interpreter's lock would make it wait for several of their turns.
"""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

SWITCH_S = 0.0005  # that a thread keeps the interpreter while others wait; Python's own is 5 ms, for each of them
NICE = 5  # steps of the system's priority that computing is below the event loop
_LOOK_S = 0.05

T = TypeVar("T")


@contextmanager
def short_turns() -> Iterator[None]:
    """Within it, threads pass on the interpreter after `SWITCH_S`."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def give_way() -> None:
    """Puts the calling thread, and every thread that it starts from now on, `NICE` steps below the event loop.

    For good: the system gives no ordinary process its priority back. Only Linux has priorities of threads; elsewhere
    this does nothing.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; the work is the same
            nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICE
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(nice, 19))


async def keep_still(is_loaded: Callable[[], bool]) -> None:
    """Once all is loaded: the garbage collector no longer looks through what lives as long as the process.

    A full collection of a server with its libraries takes about a tenth of a second, in which the loop stands still.
    """
    while not is_loaded():
        await asyncio.sleep(_LOOK_S)
    gc.collect()
    gc.freeze()


async def in_own_thread(work: Callable[[], T]) -> T:
    """What `work` gives in a thread of its own that gives way, as do the threads that it starts, such as an engine's.

    Cancelled, the thread goes on by itself.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=give_way)
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown(wait=False)
