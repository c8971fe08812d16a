import signal
import threading

import pytest

from harken.training.interrupt import StopFlag, graceful_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_flag(number: signal.Signals) -> None:
    with graceful_interrupt() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop


def test_the_second_ctrl_c_stops_at_once() -> None:
    with graceful_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop


def test_a_second_terminate_waits_for_the_update() -> None:
    with graceful_interrupt() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop


def test_handlers_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with graceful_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before[signal.SIGINT]
        assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before


def test_other_threads_get_a_flag_and_no_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[tuple[StopFlag, bool]] = []

    def work() -> None:
        with graceful_interrupt() as stop:
            seen.append((stop, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not seen[0][0]
    assert seen[0][1]
