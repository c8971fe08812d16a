"""Work asks whether it is wanted, and ends when it is not."""

import contextvars
import pickle
import threading
import time

import pytest

from harken.core.stopping import Stopped, check_stop, stop_checks


def stop() -> None:
    raise Stopped("Nobody waits.")


def test_without_anybody_to_ask_nothing_happens() -> None:
    check_stop()


def test_the_innermost_is_asked_and_the_outer_one_is_back_after_it() -> None:
    asked: list[str] = []
    with stop_checks(lambda: asked.append("outer")):
        with pytest.raises(Stopped, match="Nobody waits"), stop_checks(stop):
            check_stop()
        check_stop()
    check_stop()
    assert asked == ["outer"]


def test_another_thread_takes_part_only_in_a_copy_of_the_context() -> None:
    found: list[str] = []

    def work() -> None:
        try:
            check_stop()
            found.append("went on")
        except Stopped:
            found.append("stopped")

    with stop_checks(stop):
        context = contextvars.copy_context()
        for target in (work, lambda: context.run(work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert found == ["went on", "stopped"]


def test_it_crosses_processes_and_costs_little() -> None:
    error = pickle.loads(pickle.dumps(Stopped("Nobody waits.", hint="Ask again.")))
    assert (error.message, error.hint) == ("Nobody waits.", "Ask again.")
    began = time.perf_counter()
    for _ in range(100_000):
        check_stop()
    assert time.perf_counter() - began < 0.5  # 5 microseconds each, on a busy machine
