"""A probe answers in time, whatever the service does."""

import threading
import time

import pytest

from harken.core import MissingPart
from harken.storage.deadline import Probe


def test_a_passing_check_is_run_each_time() -> None:
    asked: list[int] = []
    probe = Probe("the thing", lambda: asked.append(1))
    probe.ask(1.0)
    probe.ask(1.0)
    assert len(asked) == 2


def test_what_the_check_raises_is_raised() -> None:
    def broken() -> None:
        raise MissingPart("it is gone.")

    with pytest.raises(MissingPart, match="it is gone"):
        Probe("the thing", broken).ask(1.0)


def test_a_check_that_hangs_holds_one_thread_however_often_it_is_asked() -> None:
    release = threading.Event()
    started: list[int] = []

    def hang() -> None:
        started.append(1)
        release.wait(10)

    probe = Probe("the thing", hang)
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(MissingPart, match=r"the thing does not answer within 0\.05 s"):
            probe.ask(0.05)
    assert time.monotonic() - began < 2
    assert len(started) == 1
    release.set()
    probe.ask(5.0)
