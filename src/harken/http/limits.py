"""How much a caller may ask for: requests in a time, seconds of audio in a day, streams at once.

Windows are kept by the library `limits`, in this process or, by URL, in a Redis that several processes share. A Redis
that does not answer slows nothing down and refuses nobody: this process then counts alone, and says so.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

from limits import RateLimitItem, RateLimitItemPerDay, parse
from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from harken.core import Strict
from harken.http.addresses import address_group
from harken.http.errors import RateExceeded
from harken.http.principals import Principal
from harken.http.shared_limits import SharedLimits
from harken.http.window_storage import WindowStorage

T = TypeVar("T")
DAY_S = 86_400
_UNITS_PER_S = 1000  # audio is counted in whole milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings(Strict):
    """What one caller may ask for, unless their key says otherwise. None: as much as they like.

    `rate` and `failed_authentications` (per client address) are such as "600/minute" or "10 per 2 seconds"; `url` is
    a redis:// or rediss:// URL where several processes count together; `max_callers` bounds what is remembered here.
    """

    rate: str | None = "600/minute"
    failed_authentications: str = "30/minute"
    audio_s_per_day: int | None = None
    streams: int | None = 50
    url: str | None = field(default=None, repr=False)  # it may hold a password
    max_callers: int = 100_000

    def __post_init__(self) -> None:
        for name in ("rate", "failed_authentications"):
            if (text := getattr(self, name)) is not None:
                check_rate(text, what=name)
        for name in ("audio_s_per_day", "streams"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} is {number}; use 1 or more, or nothing for no limit")
        if self.url is not None and not self.url.startswith(("redis://", "rediss://")):
            raise ValueError("url is not a Redis URL; use redis://host:port/number or rediss://")
        if self.max_callers < 100:
            raise ValueError(f"max_callers is {self.max_callers}; use 100 or more")


def check_rate(text: str, *, what: str) -> None:
    """Raise ValueError for what is no rate, or one that lets nothing through or is kept for longer than a day."""
    try:
        item = parse(text)
    except ValueError:
        item = None
    if item is None or "," in text or ";" in text or not item.amount or item.get_expiry() > DAY_S:
        raise ValueError(f"{what} is {text!r}; use a number per second, minute, hour or day, such as 600/minute")


class Limiter:
    """Counts what callers ask for, and raises RateExceeded beyond their limits. One per app; close it at the end."""

    def __init__(self, settings: LimitSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._local = WindowStorage(max_keys=settings.max_callers, clock=clock)
        self._shared = SharedLimits(settings.url) if settings.url else None
        self._items: dict[str, RateLimitItem] = {}
        self._open: dict[str, int] = {}

    @property
    def degraded(self) -> bool:
        """Whether Redis was asked for and does not answer, so that this process counts alone."""
        return self._shared is not None and self._shared.down

    async def ping(self) -> bool:
        """Ask Redis, which nobody may have done for long; whether callers are counted where the settings say."""
        if self._shared is not None:
            await self._shared.ping()
        return not self.degraded

    async def check_rate(self, principal: Principal) -> None:
        """Count one request. Raises RateExceeded, whose `retry_after_s` is when the next one fits."""
        rate = principal.rate or self.settings.rate
        if rate is None:
            return
        item = self._item(rate)
        if not await self._ask(lambda storage: MovingWindowRateLimiter(storage).hit(item, "rate", principal.id)):
            wait_s = await self._until_room(item, "rate", principal.id)
            raise RateExceeded(f"More than {rate} requests.", hint="Ask again later.", retry_after_s=wait_s)

    async def may_fail(self, address: str) -> bool:
        """Whether this client address has failed authentications left."""
        item, key = self._item(self.settings.failed_authentications), address_group(address)
        return await self._ask(lambda storage: MovingWindowRateLimiter(storage).test(item, "failed", key))

    async def count_failure(self, address: str) -> None:
        """Count a failed authentication."""
        item, key = self._item(self.settings.failed_authentications), address_group(address)
        await self._ask(lambda storage: MovingWindowRateLimiter(storage).hit(item, "failed", key))

    async def too_many_failures(self, address: str) -> RateExceeded:
        """The error for an address that has none left."""
        item, key = self._item(self.settings.failed_authentications), address_group(address)
        wait_s = await self._until_room(item, "failed", key)
        return RateExceeded("Too many failed authentications.", hint="Check the key.", retry_after_s=wait_s)

    async def charge_audio(self, principal: Principal, seconds: float) -> None:
        """Count `seconds` of audio against the caller's day, which slides. Raises RateExceeded if they do not fit."""
        quota_s = principal.audio_s_per_day or self.settings.audio_s_per_day
        if quota_s is None or seconds <= 0:
            return
        item, cost = RateLimitItemPerDay(quota_s * _UNITS_PER_S), max(1, round(seconds * _UNITS_PER_S))

        def hit(storage: Storage) -> Awaitable[bool]:
            return SlidingWindowCounterRateLimiter(storage).hit(item, "audio", principal.id, cost=cost)

        if await self._ask(hit):
            return
        wait_s = await self._ask(lambda storage: _audio_wait_s(storage, item, principal.id, cost))
        raise RateExceeded(
            f"{seconds:,.1f} s of audio do not fit into the {quota_s:,} s a day of {principal.name!r}.",
            hint="Send less, or ask for a larger quota." if cost > item.amount else "Ask again later.",
            retry_after_s=wait_s,
        )

    @asynccontextmanager
    async def stream(self, principal: Principal) -> AsyncIterator[None]:
        """Hold one of the caller's streams for as long as the context lasts. Raises RateExceeded if none is left."""
        most = principal.streams or self.settings.streams
        refusal = RateExceeded(
            f"{principal.name!r} has {most} streams open, which is all it may have.",
            hint="Close one first.",
            retry_after_s=5.0,
        )
        count = self._open.get(principal.id, 0)
        if most is not None and count >= most:
            raise refusal
        self._open[principal.id] = count + 1
        try:
            token = await self._shared.take_stream(principal.id, most) if self._shared and most is not None else None
            if token == "":
                raise refusal
            try:
                yield
            finally:
                if self._shared and token:
                    await self._shared.give_back_stream(principal.id, token)
        finally:
            self._open[principal.id] -= 1
            if not self._open[principal.id]:
                del self._open[principal.id]

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def _item(self, rate: str) -> RateLimitItem:
        if rate not in self._items:
            if len(self._items) > 1_000:  # rates come from keys: few, but nothing here grows without end
                self._items.clear()
            self._items[rate] = parse(rate)
        return self._items[rate]

    async def _until_room(self, item: RateLimitItem, *key: str) -> float:
        return await self._ask(lambda storage: _wait_s(storage, item, *key))

    async def _ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        if self._shared is not None:
            answered, answer = await self._shared.ask(question)
            if answered:
                return cast(T, answer)
        return await question(self._local)


async def _wait_s(storage: Storage, item: RateLimitItem, *key: str) -> float:
    """Seconds until the oldest hit of a moving window counts no more. In Redis they have times of the wall clock."""
    stats = await MovingWindowRateLimiter(storage).get_window_stats(item, *key)
    now_s = storage.now_s() if isinstance(storage, WindowStorage) else time.time()
    return min(float(item.get_expiry()), max(0.0, stats.reset_time - now_s))


async def _audio_wait_s(storage: Storage, item: RateLimitItem, caller: str, cost: int) -> float:
    """Seconds until `cost` fits a sliding counter: the share of the window before shrinks evenly as time passes."""
    counters = cast(SlidingWindowCounterSupport, storage)
    before, before_left_s, count, left_s = await counters.get_sliding_window(
        item.key_for("audio", caller), item.get_expiry()
    )
    window_s, free = item.get_expiry(), item.amount - cost
    if free < 0:
        return float(window_s)
    if count <= free and before:
        return max(0.0, before_left_s - (free - count) * window_s / before)
    this_left_s = left_s % window_s
    return this_left_s + max(0.0, window_s * (1 - free / count)) if count else this_left_s
