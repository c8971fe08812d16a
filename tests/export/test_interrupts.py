"""An interruption that a library swallows still ends the command."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from harken.export.interrupts import interrupts_kept


@pytest.fixture(autouse=True)
def plain_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def swallowing() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        press()


def turning() -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise AttributeError("half a module") from None


@pytest.mark.parametrize("library", [press, swallowing, turning])
def test_an_interruption_arrives_whatever_becomes_of_it(library: object) -> None:
    assert callable(library)
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        library()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_changes() -> None:
    with interrupts_kept():
        value = 1
    assert value == 1
    with pytest.raises(AttributeError, match="half"), interrupts_kept():
        raise AttributeError("half")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone() -> None:
    found = []

    def work() -> None:
        with interrupts_kept():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
