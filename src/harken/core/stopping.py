"""Giving up long work in time: whoever waits for a result says how to ask whether it is still wanted, and the work asks
between its steps.

    with stop_checks(check):      # the caller, in the thread that works
        recognizer.transcribe(audio)

    check_stop()                  # the work: before each batch, window or decoding round
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from harken.core.errors import HarkenError


class Stopped(HarkenError):
    """Nobody waits for this work any more, so it ended early."""


_CHECK: ContextVar[Callable[[], None] | None] = ContextVar("stop_check", default=None)


@contextmanager
def stop_checks(check: Callable[[], None]) -> Iterator[None]:
    """Within it, `check_stop` in this thread calls `check`, which raises `Stopped` to end the work.

    Of several the innermost holds. A thread that the work starts takes part where it runs in a copy of this context
    (`contextvars.copy_context`), so `check` may be called by several threads at a time.
    """
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


def check_stop() -> None:
    """Raises what the innermost `stop_checks` says, usually nothing. Costs less than a microsecond without one."""
    check = _CHECK.get()
    if check is not None:
        check()
