"""Limits that several processes keep together in Redis, and what happens while it does not answer."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from limits.aio.storage import RedisStorage, Storage

from harken.core import MissingPart

log = logging.getLogger(__name__)

T = TypeVar("T")
_ANSWER_S = 0.25  # longest wait for an answer of Redis
_CONNECT_S = 0.5
_AGAIN_S = 3.0  # between two attempts while it is down
_LEASE_S = 60.0  # a stream of a process that died counts for this long

# KEYS[1]: a sorted set of stream tokens by the time their lease ends. ARGV: most streams, token, lease in seconds.
_TAKE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RENEW = """
redis.call('ZADD', KEYS[1], 'XX', tonumber(redis.call('TIME')[1]) + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


class SharedLimits:
    """A Redis for limits. Once it is down it is asked in the background, and no request waits until it answers."""

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ModuleNotFoundError as err:
            raise MissingPart("The package redis is not installed.", hint="pip install 'harken[redis]'.") from err
        # Typed as Any: its stubs say of every command that it may answer at once.
        self._redis: Any = Redis.from_url(
            url, socket_timeout=_ANSWER_S, socket_connect_timeout=_CONNECT_S, retry=Retry(NoBackoff(), 0)
        )
        self._failures = (RedisError, OSError, TimeoutError)
        self._storage: Storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="harken",
            connection_pool=self._redis.connection_pool,  # type: ignore[arg-type]  # passed on as it is
        )
        self._recovering: asyncio.Task[None] | None = None  # while Redis is down
        self._held: dict[str, str] = {}  # token of each open stream, and its set
        self._renewing: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        return self._recovering is not None

    async def ping(self) -> None:
        """Find out whether it is `down`."""
        await self._try(self._redis.ping)

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> tuple[bool, T | None]:
        """The answer with True, or False where Redis has none."""
        return await self._try(lambda: question(self._storage))

    async def take_stream(self, caller: str, most: int) -> str | None:
        """A token for one more stream of `caller`; empty: it has `most`; None: Redis does not answer."""
        token, key = secrets.token_hex(8), f"harken:streams:{caller}"
        answered, taken = await self._try(lambda: self._redis.eval(_TAKE, 1, key, most, token, int(_LEASE_S)))
        if not answered:
            return None
        if not taken:
            return ""
        self._held[token] = key
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return token

    async def give_back_stream(self, caller: str, token: str) -> None:
        self._held.pop(token, None)
        await self._try(lambda: self._redis.zrem(f"harken:streams:{caller}", token))

    async def close(self) -> None:
        for task in filter(None, (self._renewing, self._recovering)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(*self._failures):
            await self._redis.aclose()
            await self._redis.connection_pool.disconnect()

    async def _try(self, question: Callable[[], Awaitable[T]]) -> tuple[bool, T | None]:
        if self.down:
            return False, None
        try:
            async with asyncio.timeout(_CONNECT_S + _ANSWER_S):  # its own bounds end first, and leave nothing open
                return True, await question()
        except self._failures as err:
            if not self.down:  # others may have waited for it too
                log.warning("Redis does not answer, limits are counted in this process alone: %s", err)
                self._recovering = asyncio.create_task(self._recover())
            return False, None

    async def _recover(self) -> None:
        while True:
            with suppress(*self._failures):
                async with asyncio.timeout(_CONNECT_S + _ANSWER_S):
                    await self._redis.ping()
                break
            await asyncio.sleep(_AGAIN_S)
        log.info("Redis answers again, limits are shared")
        self._recovering = None

    async def _renew(self) -> None:
        while self._held:
            await asyncio.sleep(_LEASE_S / 3)
            for token, key in list(self._held.items()):
                await self._try(partial(self._redis.eval, _RENEW, 1, key, token, int(_LEASE_S)))
