"""Blocking calls to a service, made from an event loop in threads that nothing else uses."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from harken.core import MissingPart

P = ParamSpec("P")
T = TypeVar("T")

_Call = tuple["Future[Any]", Callable[[], Any]]


class Calls:
    """At most `threads` calls at a time, and `waiting` more that wait; beyond that they fail at once.

    A service that takes connections and never answers keeps these threads, and no others: the event loop's own stay
    free for files and models, and a caller finds out soon that nothing comes back. The threads are daemons, so that a
    call which never returns does not keep the process from ending.
    """

    def __init__(self, shown: str, *, threads: int, waiting: int) -> None:
        """`shown` is how errors name the service."""
        self._shown = shown
        self._most_threads = threads
        self._most = threads + waiting
        self._lock = threading.Lock()
        self._open = 0  # calls that are made or wait
        self._threads = 0
        self._closed = False
        self._work: SimpleQueue[_Call | None] = SimpleQueue()

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Begin a call, or let it wait. Raises MissingPart where too many wait already, or after `close`."""
        context = contextvars.copy_context()
        answer: Future[T] = Future()
        with self._lock:
            if self._closed or self._open >= self._most:
                raise MissingPart(
                    f"{self._shown} is behind: {self._open} calls are not answered.",
                    hint="Check that the service runs, and that it is fast enough.",
                )
            self._open += 1
            if self._open > self._threads and self._threads < self._most_threads:
                self._threads += 1
                threading.Thread(target=self._run, name=f"calls to {self._shown}"[:60], daemon=True).start()
        self._work.put((answer, partial(context.run, partial(call, *args, **kwargs))))
        return answer

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` returns or raises. Raises MissingPart as `submit` does.

        When the caller leaves, a call that waits is never made; one that was begun ends by itself.
        """
        return await asyncio.wrap_future(self.submit(call, *args, **kwargs))

    def close(self) -> None:
        """Take no more calls; the threads end after those that they have."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._make(*work)
            del work  # no result is kept alive until the next call

    def _make(self, answer: "Future[Any]", call: Callable[[], Any]) -> None:
        if not answer.set_running_or_notify_cancel():
            self._over()
            return
        try:
            found = call()
        except BaseException as err:  # noqa: BLE001 (handed to whoever asked)
            self._over()
            answer.set_exception(err)
        else:
            self._over()
            answer.set_result(found)

    def _over(self) -> None:
        """Before the answer is told: who asks again at once finds room."""
        with self._lock:
            self._open -= 1
