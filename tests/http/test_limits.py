"""What callers may ask for, alone and with Redis, with Redis gone too."""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.http.conftest import Clock
from tests.services import running_redis

from harken.http import shared_limits
from harken.http.errors import RateExceeded
from harken.http.limits import Limiter, LimitSettings
from harken.http.principals import Principal

pytest_plugins = ["tests.services"]


@pytest.fixture(autouse=True)
def _patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that answers does so, however busy the machine of the tests is."""
    if {"redis_url", "cache_url"} & set(request.fixturenames):
        monkeypatch.setattr(shared_limits, "_ANSWER_S", 5.0)


def someone(name: str = "a", **limits: Any) -> Principal:
    return Principal(id=f"key:{name}", name=name, kind="key", scopes=frozenset(), **limits)


def with_limiter(test: Callable[[Limiter, Clock], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def scenario() -> None:
        clock = Clock()
        limiter = Limiter(LimitSettings(**settings), clock=clock)
        try:
            await test(limiter, clock)
        finally:
            await limiter.close()

    asyncio.run(scenario())


async def allowed(limiter: Limiter, principal: Principal, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            await limiter.check_rate(principal)
            count += 1
        except RateExceeded:
            pass
    return count


def test_the_rate_is_per_caller_and_says_when_to_come_again(cache_url: str | None) -> None:
    async def test(limiter: Limiter, clock: Clock) -> None:
        first, second, fast = someone(), someone("b"), someone("c", rate="5/minute")
        assert [await allowed(limiter, who, 7) for who in (first, second, fast)] == [3, 3, 5]
        with pytest.raises(RateExceeded, match="More than 3/minute requests") as refused:
            await limiter.check_rate(first)
        if limiter.settings.url is None:  # Redis has its own clock
            assert refused.value.retry_after_s == 60
            clock.now_s += 61
            assert await allowed(limiter, first, 7) == 3
        assert not limiter.degraded

    with_limiter(test, rate="3/minute", url=cache_url)


def test_no_rate_lets_everything_through() -> None:
    async def test(limiter: Limiter, _clock: Clock) -> None:
        assert await allowed(limiter, someone(), 1000) == 1000

    with_limiter(test, rate=None)


def test_audio_is_counted_by_the_day(cache_url: str | None) -> None:
    async def test(limiter: Limiter, clock: Clock) -> None:
        clock.now_s = 86_400.0 * 100
        await limiter.charge_audio(someone(), 60.0)
        await limiter.charge_audio(someone(), 39.5)
        with pytest.raises(RateExceeded, match=re.escape("1.0 s of audio do not fit into the 100 s a day")):
            await limiter.charge_audio(someone(), 1.0)
        await limiter.charge_audio(someone(), 0.5)
        await limiter.charge_audio(someone(audio_s_per_day=1000), 800)  # a key's own quota
        with pytest.raises(RateExceeded) as refused:
            await limiter.charge_audio(someone("b"), 101.0)
        assert refused.value.retry_after_s == 86_400
        assert "larger quota" in refused.value.hint

    with_limiter(test, audio_s_per_day=100, url=cache_url)


def test_the_wait_for_audio_is_as_long_as_it_says() -> None:
    async def test(limiter: Limiter, clock: Clock) -> None:
        clock.now_s = 86_400.0 * 100 + 3600
        await limiter.charge_audio(someone(), 100.0)
        for wanted_s in (1.0, 50.0):
            with pytest.raises(RateExceeded) as refused:
                await limiter.charge_audio(someone(), wanted_s)
            before_s = clock.now_s
            clock.now_s = before_s + refused.value.retry_after_s - 2
            with pytest.raises(RateExceeded):
                await limiter.charge_audio(someone(), wanted_s)
            clock.now_s = before_s + refused.value.retry_after_s + 2
            await limiter.charge_audio(someone(), wanted_s)

    with_limiter(test, audio_s_per_day=100)


def test_streams_are_counted_while_they_are_open(cache_url: str | None) -> None:
    async def test(limiter: Limiter, _clock: Clock) -> None:
        async with AsyncExitStack() as open_streams:
            for _ in range(2):
                await open_streams.enter_async_context(limiter.stream(someone()))
            with pytest.raises(RateExceeded, match="has 2 streams open"):
                await open_streams.enter_async_context(limiter.stream(someone()))
            await open_streams.enter_async_context(limiter.stream(someone("b")))
            await open_streams.enter_async_context(limiter.stream(someone("c", streams=1)))
            with pytest.raises(RateExceeded, match="has 1 streams open"):
                await open_streams.enter_async_context(limiter.stream(someone("c", streams=1)))
        with pytest.raises(ZeroDivisionError):
            async with limiter.stream(someone()), limiter.stream(someone()):
                raise ZeroDivisionError
        async with limiter.stream(someone()), limiter.stream(someone()):
            pass
        assert limiter._open == {}

    with_limiter(test, streams=2, url=cache_url)


@pytest.mark.service
def test_two_processes_count_together_in_redis(redis_url: str) -> None:
    async def test(first: Limiter, _clock: Clock) -> None:
        second = Limiter(first.settings)
        who = someone("shared")
        async with first.stream(who):
            assert await allowed(first, who, 2) + await allowed(second, who, 5) == 3
            with pytest.raises(RateExceeded):
                await second.stream(who).__aenter__()
        async with second.stream(who):
            pass
        await second.close()

    with_limiter(test, rate="3/minute", streams=1, url=redis_url)


def test_without_redis_this_process_counts_alone_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    async def test(limiter: Limiter, _clock: Clock) -> None:
        assert not limiter.degraded
        began_s = asyncio.get_running_loop().time()
        assert await allowed(limiter, someone(), 50) == 3
        async with limiter.stream(someone()):
            pass
        assert asyncio.get_running_loop().time() - began_s < 1.5
        assert limiter.degraded
        assert caplog.text.count("Redis does not answer") == 1

    with_limiter(test, rate="3/minute", url="redis://127.0.0.1:1/0")


@pytest.mark.service
def test_an_outage_is_found_out_without_a_request_and_so_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_limits, "_AGAIN_S", 0.05)

    async def test(limiter: Limiter, _clock: Clock) -> None:
        assert await limiter.ping()
        service.stop()
        assert not await limiter.ping()
        assert limiter.degraded
        service.start()
        await asyncio.sleep(0.1)
        assert await limiter.ping()
        assert not limiter.degraded

    with running_redis() as service:
        with_limiter(test, url=service.url)


def test_a_redis_that_hangs_costs_one_request_half_a_second() -> None:
    async def test(limiter: Limiter, _clock: Clock) -> None:
        began_s = asyncio.get_running_loop().time()
        assert await allowed(limiter, someone(), 50) == 3
        assert asyncio.get_running_loop().time() - began_s < 1.5
        assert limiter.degraded

    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        limiter = Limiter(LimitSettings(rate="3/minute", url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await test(limiter, Clock())
        await limiter.close()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


def test_failures_are_counted_by_address() -> None:
    async def test(limiter: Limiter, _clock: Clock) -> None:
        for _ in range(2):
            assert await limiter.may_fail("2001:db8::1")
            await limiter.count_failure("2001:db8::1")
        assert not await limiter.may_fail("2001:db8::ffff")  # the same customer
        assert await limiter.may_fail("2001:db9::1")
        assert (await limiter.too_many_failures("2001:db8::1")).retry_after_s == 60

    with_limiter(test, failed_authentications="2/minute")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": "lots"}, "rate is 'lots'; use a number per second"),
        ({"rate": "0/minute"}, "rate is '0/minute'"),
        ({"rate": "1/second; 5/minute"}, "rate is '1/second; 5/minute'"),
        ({"rate": "9/year"}, "rate is '9/year'"),
        ({"failed_authentications": ""}, "failed_authentications is ''"),
        ({"streams": 0}, "streams is 0"),
        ({"audio_s_per_day": -5}, "audio_s_per_day is -5"),
        ({"url": "http://user:hunter2@host"}, "url is not a Redis URL"),
        ({"max_callers": 1}, "max_callers is 1"),
    ],
)
def test_wrong_settings_say_what_to_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        LimitSettings(**settings)
    assert "hunter2" not in str(refused.value)


def test_a_step_of_the_wall_clock_neither_locks_out_nor_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_s = time.time()
    steps_s = [0.0]
    monkeypatch.setattr(time, "time", lambda: wall_s + steps_s[-1])

    async def scenario() -> None:
        limiter = Limiter(LimitSettings(rate="3/minute", audio_s_per_day=100))
        assert await allowed(limiter, someone(), 5) == 3
        await limiter.charge_audio(someone(), 100.0)
        for step_s in (3600.0, 86_400.0 * 3, -86_400.0 * 3):
            steps_s.append(step_s)
            assert await allowed(limiter, someone(), 5) == 0  # who has used it up is not let go
            with pytest.raises(RateExceeded) as refused:
                await limiter.check_rate(someone())
            assert 50 < refused.value.retry_after_s <= 60
            with pytest.raises(RateExceeded) as refused:
                await limiter.charge_audio(someone(), 1.0)
            assert 0 < refused.value.retry_after_s <= 2 * 86_400
        assert await allowed(limiter, someone("b"), 5) == 3  # and who has not is let in
        await limiter.close()

    asyncio.run(scenario())
