import threading
import time
from collections.abc import Iterator

import pytest

from harken.data.threads import CHUNK, map_in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, CHUNK, 10 * CHUNK + 3])
def test_results_come_in_order(threads: int, count: int) -> None:
    def slow_first(number: int) -> int:
        if number % CHUNK == 0 and number < 3 * CHUNK:
            time.sleep(0.002)
        return number**2

    assert list(map_in_order(slow_first, range(count), threads=threads)) == [(n, n**2) for n in range(count)]


def test_an_endless_source_is_read_only_a_little_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = map_in_order(lambda number: number, endless(), threads=2)
    assert [next(results)[1] for _ in range(10)] == list(range(1, 11))
    assert taken <= 4 * CHUNK
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("harken-data")]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_reaches_the_caller(threads: int) -> None:
    def fail(number: int) -> int:
        if number == 40:
            raise KeyError(number)
        return number

    with pytest.raises(KeyError, match="40"):
        list(map_in_order(fail, range(200), threads=threads))


def test_no_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0"):
        list(map_in_order(str, [1], threads=0))
