"""Windows in memory: right counts, bounded size, no walk over everything."""

import asyncio
import random
import time
import tracemalloc

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from tests.http.conftest import Clock

from harken.http.window_storage import WindowStorage


def test_a_moving_window_forgets_each_hit_after_its_time() -> None:
    async def scenario() -> list[bool]:
        clock = Clock(0.0)
        limiter, item = MovingWindowRateLimiter(WindowStorage(clock=clock)), RateLimitItemPerMinute(2)
        answers = []
        for now_s in (0, 10, 20, 60.1, 60.2, 70.1, 70.2):
            clock.now_s = now_s
            answers.append(await limiter.hit(item, "a"))
        assert await limiter.hit(item, "b")
        return answers

    assert asyncio.run(scenario()) == [True, True, False, True, False, True, False]


def test_it_counts_as_the_library_does() -> None:
    """The same random hits, on our storage and on the library's own, at the same (real) times."""

    async def scenario() -> None:
        ours, theirs = MovingWindowRateLimiter(WindowStorage(clock=time.time)), MovingWindowRateLimiter(MemoryStorage())
        generator, item = random.Random(7), RateLimitItemPerMinute(20)
        for _ in range(300):
            who, cost = generator.choice("abc"), generator.randint(1, 4)
            assert await ours.test(item, who, cost=cost) == await theirs.test(item, who, cost=cost)
            assert await ours.hit(item, who, cost=cost) == await theirs.hit(item, who, cost=cost)
            mine, other = await ours.get_window_stats(item, who), await theirs.get_window_stats(item, who)
            assert mine.remaining == other.remaining
            assert mine.reset_time == pytest.approx(other.reset_time, abs=0.1)

    asyncio.run(scenario())


def test_a_sliding_counter_weighs_the_window_before() -> None:
    async def scenario() -> list[bool]:
        clock = Clock(0.0)
        limiter, item = SlidingWindowCounterRateLimiter(WindowStorage(clock=clock)), RateLimitItemPerMinute(100)
        answers = [await limiter.hit(item, "a", cost=80), await limiter.hit(item, "a", cost=21)]
        clock.now_s = 75.0  # a quarter into the next: 60 of the 80 still count
        answers += [await limiter.hit(item, "a", cost=41), await limiter.hit(item, "a", cost=40)]
        clock.now_s = 190.0  # two windows on: nothing counts
        answers.append(await limiter.hit(item, "a", cost=100))
        return answers

    assert asyncio.run(scenario()) == [True, False, False, True, True]


def test_callers_that_went_away_make_room_for_new_ones() -> None:
    async def scenario() -> WindowStorage:
        clock = Clock()
        storage = WindowStorage(clock=clock)
        limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(10)
        for number in range(20_000):
            clock.now_s += 0.1  # 600 callers a minute
            await limiter.hit(item, str(number))
        return storage

    assert 1_000 < len(asyncio.run(scenario())) < 1_300  # two minutes of them


def test_any_number_of_addresses_stays_within_bounds() -> None:
    async def scenario() -> tuple[int, float, bool]:
        storage = WindowStorage(max_keys=1_000)
        limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(5)
        for _ in range(5):
            await limiter.hit(item, "attacker")
        tracemalloc.start()
        began_s, held = time.perf_counter(), True
        for number in range(20_000):
            await limiter.hit(item, f"10.{number}")
            if number % 500 == 0:
                held = held and not await limiter.hit(item, "attacker")
        took_s = time.perf_counter() - began_s
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(storage) == 1_000
        assert took_s < 10  # memory is traced; a walk over all of them for each would take minutes
        return size, took_s, held

    size, _took_s, held = asyncio.run(scenario())
    assert size < 2_000_000
    assert held  # whoever keeps asking is not among the forgotten


def test_the_number_of_hits_is_bounded_too() -> None:
    async def scenario() -> WindowStorage:
        storage = WindowStorage(max_hits=1_000)
        limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(500)
        for number in range(20):
            assert await limiter.hit(item, str(number), cost=400)
        return storage

    assert len(asyncio.run(scenario())) == 2
