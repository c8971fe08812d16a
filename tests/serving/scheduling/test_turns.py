"""Turns go round."""

import threading
import time

import pytest

from harken.core.stopping import Stopped
from harken.serving.scheduling.turns import Turns


def test_the_one_that_waited_longest_is_next() -> None:
    turns, order = Turns(), []

    def work(name: str) -> None:
        for _ in range(3):
            ticket = turns.take(lambda: None)
            order.append(name)
            time.sleep(0.02)
            turns.give(ticket)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_whoever_is_not_wanted_any_more_does_not_wait() -> None:
    turns = Turns()
    ticket = turns.take(lambda: None)

    def stop() -> None:
        raise Stopped("Nobody waits.")

    with pytest.raises(Stopped):
        turns.take(stop)
    assert not turns.somebody_waits
    turns.give(ticket)
    turns.give(turns.take(stop))  # free: it is not even asked
