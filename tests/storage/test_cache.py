"""The cache: in memory and in Redis alike; a Redis that is down costs nothing but misses."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.services import running_redis
from tests.storage.conftest import Clock

from harken.core import MissingPart
from harken.storage.cache import Cache, MemoryCache, RedisCache, open_cache
from harken.storage.settings import StorageSettings


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Cache]:
    cache = open_cache(StorageSettings(redis=url))
    try:
        yield cache
    finally:
        await cache.close()


def test_a_value_comes_back_until_its_time_is_over(cache_url: str | None) -> None:
    async def scenario() -> None:
        async with opened(cache_url) as cache:
            assert await cache.get("k") is None
            await cache.put("k", b"\x00\xff value", 60)
            assert await cache.get("k") == b"\x00\xff value"
            await cache.put("k", b"other", 60)
            assert await cache.get("k") == b"other"
            await cache.put("empty", b"", 60)
            assert await cache.get("empty") == b""
            await cache.put("short", b"x", 0.05)
            await cache.put("never", b"x", 0)
            await asyncio.sleep(0.1)
            assert await cache.get("short") is None
            assert await cache.get("never") is None
            await cache.ping(1.0)
            assert not cache.degraded

    asyncio.run(scenario())


def test_many_at_once(cache_url: str | None) -> None:
    async def scenario() -> None:
        async with opened(cache_url) as cache:
            await asyncio.gather(*(cache.put(f"k{n}", str(n).encode(), 60) for n in range(40)))
            found = await asyncio.gather(*(cache.get(f"k{n}") for n in range(40)))
            assert found == [str(n).encode() for n in range(40)]
            assert not cache.degraded

    asyncio.run(scenario())


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    async def scenario() -> None:
        cache = MemoryCache(max_bytes=3 * (201 + 1000))
        for key in "abc":
            await cache.put(key, bytes(1000), 60)
        assert await cache.get("a") is not None
        await cache.put("d", bytes(1000), 60)
        assert [await cache.get(key) is not None for key in "abcd"] == [True, False, True, True]
        await cache.put("huge", bytes(5000), 60)
        assert await cache.get("huge") is None
        assert await cache.get("a") is not None
        await cache.put("a", bytes(5000), 60)  # what is too big does not leave the old value behind
        assert await cache.get("a") is None

    asyncio.run(scenario())


def test_memory_forgets_by_the_clock(clock: Clock) -> None:
    async def scenario() -> None:
        cache = MemoryCache(1 << 20, clock)
        await cache.put("k", b"v", 10)
        clock.now_s += 9.9
        assert await cache.get("k") == b"v"
        clock.now_s += 0.2
        assert await cache.get("k") is None

    asyncio.run(scenario())


def test_no_memory_is_no_cache() -> None:
    async def scenario() -> None:
        cache = MemoryCache(0)
        await cache.put("k", b"v", 10)
        assert await cache.get("k") is None

    asyncio.run(scenario())


def test_a_redis_that_is_not_there_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cache = RedisCache("redis://:hunter2@127.0.0.1:1/0")
        began = time.monotonic()
        for _ in range(100):
            await cache.put("k", b"v", 10)
            assert await cache.get("k") is None
        assert time.monotonic() - began < 1
        assert cache.degraded
        with pytest.raises(MissingPart, match=r"redis://:\*\*\*@127"):
            await cache.ping(1.0)
        await cache.close()

    with caplog.at_level(logging.INFO, logger="harken.storage.cache"):
        asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "hunter2" not in caplog.text


@pytest.mark.service
def test_an_outage_is_survived_logged_once_and_ends_by_itself(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with running_redis() as service:
            cache = RedisCache(service.url, clock)
            await cache.put("k", b"v", 60)
            assert await cache.get("k") == b"v"
            service.stop()
            assert await cache.get("k") is None
            assert cache.degraded
            for _ in range(5):  # still down when it is tried again
                clock.now_s += 3.1
                began = time.monotonic()
                assert await cache.get("k") is None
                assert time.monotonic() - began < 0.05
                await asyncio.sleep(0.05)
            service.start()
            assert await cache.get("k") is None  # not yet: it is left alone for some seconds
            await asyncio.sleep(0.1)
            assert cache.degraded
            clock.now_s += 3.1
            assert await cache.get("k") is None  # this one asks, in the background
            await asyncio.sleep(0.2)
            assert not cache.degraded
            await cache.put("k", b"again", 60)
            assert await cache.get("k") == b"again"
            await cache.close()

    with caplog.at_level(logging.INFO, logger="harken.storage.cache"):
        asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_redis_that_hangs_costs_little() -> None:
    async def scenario() -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            finally:
                writer.close()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cache = RedisCache(f"redis://127.0.0.1:{port}/0")
        began = time.monotonic()
        assert await asyncio.gather(*(cache.get("k") for _ in range(50))) == [None] * 50
        assert time.monotonic() - began < 2.5
        began = time.monotonic()
        assert await cache.get("k") is None
        assert time.monotonic() - began < 0.05
        with pytest.raises(MissingPart):
            await cache.ping(0.2)
        await cache.close()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


@pytest.mark.service
def test_more_look_ups_than_connections_are_no_outage(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("harken.storage.cache._CONNECTIONS", 1)

    async def scenario() -> None:
        cache = RedisCache(redis_url)
        await cache.put("k", b"v", 60)
        await cache._places.acquire()  # a look-up that takes its time
        began = time.monotonic()
        assert await asyncio.gather(*(cache.get("k") for _ in range(20))) == [None] * 20
        assert 0.15 < time.monotonic() - began < 1
        cache._places.release()
        assert not cache.degraded
        assert await cache.get("k") == b"v"
        await cache.close()

    asyncio.run(scenario())
    assert caplog.records == []


@pytest.mark.service
def test_a_look_up_that_is_given_up_does_not_mix_up_answers(redis_url: str) -> None:
    async def scenario() -> None:
        cache = RedisCache(redis_url)
        for number in range(20):
            await cache.put(f"k{number}", str(number).encode(), 60)
        for number in range(20):
            given_up = asyncio.create_task(cache.get(f"k{number}"))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            other = (number + 7) % 20
            assert await cache.get(f"k{other}") == str(other).encode()
        await cache.close()

    asyncio.run(scenario())


def test_closing_in_the_middle_of_an_attempt_is_quiet(clock: Clock) -> None:
    async def scenario() -> None:
        cache = RedisCache("redis://127.0.0.1:1/0", clock)
        assert await cache.get("k") is None
        clock.now_s += 3.1
        assert await cache.get("k") is None
        await cache.close()

    asyncio.run(scenario())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(MissingPart, match=r"harken\[redis\]"):
        open_cache(StorageSettings(redis="redis://127.0.0.1:1/0"))


def test_the_size_of_the_memory_is_a_setting() -> None:
    async def scenario() -> None:
        cache = open_cache(StorageSettings(cache_bytes=1000))
        await cache.put("k", bytes(900), 60)
        assert await cache.get("k") is None
        await cache.put("k", bytes(700), 60)
        assert await cache.get("k") == bytes(700)

    asyncio.run(scenario())
