"""A cache of small values, in the memory of this process or in Redis. Losing it loses nothing but time."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from harken.core import MissingPart
from harken.storage.settings import StorageSettings, masked

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ENTRY_BYTES = 200  # what Python needs for an entry beside its key and value
_REDIS_S = 0.2  # a cache that takes longer is no help
_CONNECT_S = 0.5
_RETRY_S = 3.0
_CONNECTIONS = 16
_PREFIX = "harken:cache:"


class Cache(Protocol):
    """Values by key, for a while. `degraded` is true while a cache that should be there is not."""

    degraded: bool

    async def get(self, key: str) -> bytes | None:
        """The value, None where it is not, or not any more. Never raises because a service is down."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for at most `ttl_s` seconds; it may go earlier."""
        ...

    async def ping(self, timeout_s: float) -> None:
        """Return when the cache answers. Raises MissingPart that names it."""
        ...

    async def close(self) -> None: ...


class MemoryCache:
    """At most `max_bytes` in the memory of this process; what was not used for longest goes first.

    For one event loop: it has no lock.
    """

    degraded = False

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if self._clock() >= expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        self._drop(key)
        size = _size(key, value)
        if ttl_s <= 0 or size > self._max_bytes:
            return
        self._entries[key] = (self._clock() + ttl_s, value)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def ping(self, timeout_s: float) -> None:
        """Returns: this memory is always there."""

    async def close(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[1])


class RedisCache:
    """A cache that several servers share. While Redis is down every look-up is a miss, and costs no time.

    A request that meets the outage waits a fraction of a second, and only where Redis hangs. From then on Redis is
    asked in the background every few seconds, and used again once it answers. An outage is logged once.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises MissingPart where the package redis is absent. Connects when it is first used."""
        self.degraded = False
        self.shown = masked(url)
        self._clock = clock
        self._retry_at = 0.0
        self._recovery: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._redis = _connect(url)

    async def get(self, key: str) -> bytes | None:
        return cast(bytes | None, await self._guarded(lambda: self._redis.get(_PREFIX + key)))

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        if ttl_s > 0:
            await self._guarded(lambda: self._redis.set(_PREFIX + key, value, px=max(1, round(ttl_s * 1000))))

    async def ping(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._redis.ping()
        except _failures() as err:
            self._note_outage(err)
            raise MissingPart(
                f"The cache {self.shown} does not answer: {_reason(err)}.", hint="Check that Redis runs."
            ) from err
        self._note_recovery()

    async def close(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        await self._redis.aclose()

    async def _guarded(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        if self.degraded:
            self._try_again()
            return None
        try:
            async with asyncio.timeout(_REDIS_S):
                await self._places.acquire()
        except TimeoutError:  # more look-ups at once than connections: our load, no outage
            return None
        try:
            return await self._answer(ask)
        finally:
            self._places.release()

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        if self.degraded:  # another found out while this one waited
            return None
        try:
            async with asyncio.timeout(_CONNECT_S + _REDIS_S):  # its own bounds end first, and leave nothing open
                return await ask()
        except _failures() as err:
            self._note_outage(err)
            return None

    def _try_again(self) -> None:
        if self._clock() < self._retry_at or (self._recovery is not None and not self._recovery.done()):
            return
        self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S + _REDIS_S):
                await self._redis.ping()
        except _failures():
            self._retry_at = self._clock() + _RETRY_S
        else:
            self._note_recovery()

    def _note_outage(self, err: Exception) -> None:
        self._retry_at = self._clock() + _RETRY_S
        if not self.degraded:
            self.degraded = True
            logger.warning("the cache %s does not answer (%s); going on without it", self.shown, _reason(err))

    def _note_recovery(self) -> None:
        if self.degraded:
            self.degraded = False
            logger.info("the cache %s answers again", self.shown)


def open_cache(settings: StorageSettings) -> Cache:
    """The cache of the settings. Raises MissingPart where the package for it is absent."""
    if settings.redis is None:
        return MemoryCache(settings.cache_bytes)
    return RedisCache(settings.redis)


def _connect(url: str) -> "Redis":
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
    except ImportError as err:
        raise MissingPart(
            "A cache in Redis needs the package redis.", hint="Install it with: pip install 'harken[redis]'."
        ) from err
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS + 2,  # a ping and a recovery never wait for look-ups
        timeout=_REDIS_S,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_REDIS_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, TimeoutError)


def _reason(err: Exception) -> str:
    return " ".join(str(err).split())[:200].rstrip(".") or type(err).__name__


def _size(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value) + _ENTRY_BYTES
