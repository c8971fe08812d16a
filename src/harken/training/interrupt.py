"""Ctrl-C: once to stop after the current update with a checkpoint, twice to stop at once."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def graceful_interrupt() -> Iterator[StopFlag]:
    """SIGINT and SIGTERM set the flag; a second SIGINT raises KeyboardInterrupt where the program stands.

    Off the main thread, where Python allows no handlers, signals keep their meaning.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if flag and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.requested = True
        logger.warning("Stopping after this update, with a checkpoint. Press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
