"""A question to a service that may never answer."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from harken.core import MissingPart


class Probe:
    """Asks whether a service answers, waiting no longer than it is told.

    The check runs in a daemon thread, one at a time: a service that hangs holds one thread, however often it is asked,
    and the next caller waits for that same answer.
    """

    def __init__(self, shown: str, check: Callable[[], None]) -> None:
        self._shown = shown
        self._check = check
        self._lock = threading.Lock()
        self._running: Future[None] | None = None

    def ask(self, timeout_s: float) -> None:
        """Return when the check passed. Raises what the check raises, MissingPart when there is no answer in time."""
        try:
            self._begun().result(timeout_s)
        except TimeoutError as err:
            raise self._late(timeout_s) from err

    async def answers(self, timeout_s: float) -> None:
        """As `ask`, for an event loop: nothing blocks, and no thread waits but that of the check."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(asyncio.wrap_future(self._begun()))  # others may wait for the same answer
        except TimeoutError as err:
            raise self._late(timeout_s) from err

    def _begun(self) -> "Future[None]":
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                threading.Thread(target=self._run, args=(self._running,), name="probe", daemon=True).start()
            return self._running

    def _late(self, timeout_s: float) -> MissingPart:
        return MissingPart(
            f"{self._shown} does not answer within {timeout_s:g} s.", hint="Check that the service runs."
        )

    def _run(self, answer: Future[None]) -> None:
        try:
            self._check()
        except BaseException as err:  # noqa: BLE001 - handed to whoever asked
            answer.set_exception(err)
        else:
            answer.set_result(None)
