"""Streams take turns in a few threads: one piece of work each, then to the end of the queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from harken.serving.scheduling.stream_load import StreamLoad


class Member(Protocol):
    """Whoever takes turns. All but the work itself runs on the event loop."""

    @property
    def wants_turn(self) -> bool: ...

    def next_work(self) -> Callable[[], Any]:
        """What the turn is for; it runs in a thread. Asked only while `wants_turn`."""
        ...

    def worked(self, result: Any, error: BaseException | None) -> None:
        """What the work gave, or raised."""
        ...


class Turns:
    """A round of members. No member works twice at a time, and none waits for more than one turn of each other."""

    def __init__(self, *, threads: int, load: StreamLoad) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="live")
        self._threads, self._load = threads, load
        self._waiting: dict[Member, None] = {}  # in order
        self._working: set[Member] = set()

    def ask(self, member: Member) -> None:
        """A turn for `member` if it wants one; once it has worked it is asked again."""
        if member.wants_turn and member not in self._waiting and member not in self._working:
            self._waiting[member] = None
            self._load.add()
            self._begin()

    def leave(self, member: Member) -> None:
        """`member` gives up the turn it waits for; work that has begun goes on."""
        if member in self._waiting:
            del self._waiting[member]
            self._load.remove()

    def is_working(self, member: Member) -> bool:
        return member in self._working

    async def run(self, work: Callable[[], Any]) -> Any:
        """Something else in one of the threads, in their own order."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """No more turns; work that has begun ends by itself."""
        for member in list(self._waiting):
            self.leave(member)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        while self._waiting and len(self._working) < self._threads:
            member = next(iter(self._waiting))
            del self._waiting[member]
            if not member.wants_turn:
                self._load.remove()
                continue
            self._working.add(member)
            future = asyncio.get_running_loop().run_in_executor(self._pool, member.next_work())
            future.add_done_callback(partial(self._end, member))

    def _end(self, member: Member, future: "asyncio.Future[Any]") -> None:
        self._working.discard(member)
        self._load.remove()
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        member.worked(None if error else future.result(), error)
        self.ask(member)
        self._begin()
