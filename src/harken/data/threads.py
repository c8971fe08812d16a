"""Work on many files at once, results in order, memory bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TypeVar

from harken.core.machine import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16
"""Items handed to a thread at a time; one by one, the hand-over costs more than reading a file's header."""


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) in the order of `items`, worked on by `threads` threads (default: cores, at most 8).

    Only a few chunks of items are under way at any time, so `items` may be a generator without end. The first
    exception of `function` is raised here and what has not begun is given up.
    """
    count = min(usable_cores(), 8) if threads is None else threads
    if count < 1:
        raise ValueError(f"threads is {threads}; use 1 or more")
    if count == 1:
        for item in items:
            yield item, function(item)
        return
    source = iter(items)
    given_up = Event()  # after Ctrl-C nobody waits for the rest of a chunk

    def work(chunk: list[Item]) -> list[tuple[Item, Result]]:
        return [(item, function(item)) for item in chunk if not given_up.is_set()]

    pool = ThreadPoolExecutor(count, thread_name_prefix="harken-data")
    try:
        waiting: deque[Future[list[tuple[Item, Result]]]] = deque()
        while True:
            while len(waiting) < 2 * count and (chunk := list(islice(source, CHUNK))):
                waiting.append(pool.submit(work, chunk))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        given_up.set()
        pool.shutdown(wait=True, cancel_futures=True)
