"""Turns at one thing for several threads, in the order in which they ask."""

import threading
from collections import deque
from collections.abc import Callable

_LOOK_S = 0.1  # between two looks at whether a waiting thread is still wanted


class Turns:
    """A lock that goes to whoever has waited longest: a plain one may come back to the thread that gave it up."""

    def __init__(self) -> None:
        self._queue: deque[object] = deque()  # the first has the turn
        self._changed = threading.Condition()

    def take(self, check: Callable[[], None]) -> object:
        """Waits for a turn, and returns what `give` takes. What `check` raises meanwhile ends the waiting."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket:
                    check()
                    self._changed.wait(_LOOK_S)
            except BaseException:
                self._queue.remove(ticket)
                self._changed.notify_all()
                raise
        return ticket

    def give(self, ticket: object) -> None:
        """The turn of `ticket` is over."""
        with self._changed:
            self._queue.remove(ticket)
            self._changed.notify_all()

    @property
    def somebody_waits(self) -> bool:
        return len(self._queue) > 1
