"""Rate limit windows in memory that stay small however many callers there are.

The memory storage of `limits` keeps a key until a task has walked over all of them, with one hop to a thread for each
key and no bound on their number. Here the windows of one length stand in the order of their last use, so that those
that have run out are always in front: each new one drops at most two old ones, and nothing ever walks over all.
"""

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor

from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage


@dataclass(slots=True)
class _Window:
    used_s: float
    hits_s: list[float] = field(default_factory=list)  # a moving window: one entry per hit, the oldest first
    number: int = 0  # sliding counters: which window of this length on the clock `count` is of
    count: int = 0
    count_before: int = 0


class WindowStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Moving windows and sliding counters for at most `max_keys` callers and `max_hits` remembered hits.

    Beyond that those unused for longest are forgotten: whoever has that many addresses is not held by a limit per
    address anyway, and memory stays bounded (about 350 bytes a caller, 32 a hit). Times are those of a clock that
    nobody sets: a step of the wall clock must neither lock callers out nor let them go.
    """

    STORAGE_SCHEME = None

    def __init__(
        self, *, max_keys: int = 100_000, max_hits: int = 2_000_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.max_keys = max_keys
        self.max_hits = max_hits
        self._clock = clock
        self._groups: dict[int, OrderedDict[str, _Window]] = {}
        self._hits = 0

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def now_s(self) -> float:
        """The time in which windows are told."""
        return self._clock()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether `amount` more hits fit into the last `expiry` seconds; they are counted if so."""
        now_s = self._clock()
        window = self._touched(key, expiry, now_s)
        self._drop_old(window, now_s - expiry)
        if len(window.hits_s) + amount > limit:
            return False
        window.hits_s.extend([now_s] * amount)
        self._hits += amount
        self._shrink()
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Time of the oldest hit that counts, and how many do."""
        now_s = self._clock()
        window = self._window(key, expiry)
        if window is None:
            return now_s, 0
        self._drop_old(window, now_s - expiry)
        return (window.hits_s[0], len(window.hits_s)) if window.hits_s else (now_s, 0)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether `amount` more fits, counting the window before by the part of it that is still near."""
        now_s = self._clock()
        window = self._touched(key, expiry, now_s)
        before, before_left_s, count, _left_s = _sliding(window, expiry, now_s)
        if floor(before * before_left_s / expiry) + count + amount > limit:
            return False
        window.count += amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now_s = self._clock()
        window = self._window(key, expiry)
        return _sliding(window or _Window(used_s=now_s), expiry, now_s)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self.clear(key)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("fixed windows are not kept here")

    async def get(self, key: str) -> int:
        raise NotImplementedError("fixed windows are not kept here")

    async def get_expiry(self, key: str) -> float:
        raise NotImplementedError("fixed windows are not kept here")

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        count = len(self)
        self._groups.clear()
        self._hits = 0
        return count

    async def clear(self, key: str) -> None:
        for group in self._groups.values():
            if window := group.pop(key, None):
                self._hits -= len(window.hits_s)

    def _window(self, key: str, expiry: int) -> _Window | None:
        group = self._groups.get(expiry)
        return None if group is None else group.get(key)

    def _touched(self, key: str, expiry: int, now_s: float) -> _Window:
        """The window of `key`, now the last of its group; a new one makes room first."""
        group = self._groups.setdefault(expiry, OrderedDict())
        window = group.get(key)
        if window is None:
            for _ in range(2):
                # A sliding counter still counts for one length after its own.
                if group and next(iter(group.values())).used_s < now_s - 2 * expiry:
                    self._forget_oldest(group)
            window = group[key] = _Window(used_s=now_s)
            self._shrink()
        window.used_s = now_s
        group.move_to_end(key)
        return window

    def _shrink(self) -> None:
        while len(self) > self.max_keys or (self._hits > self.max_hits and len(self) > 1):
            self._forget_oldest(max(self._groups.values(), key=len))

    def _forget_oldest(self, group: OrderedDict[str, _Window]) -> None:
        _key, window = group.popitem(last=False)
        self._hits -= len(window.hits_s)

    def _drop_old(self, window: _Window, before_s: float) -> None:
        old = bisect_right(window.hits_s, before_s)
        del window.hits_s[:old]
        self._hits -= old


def _sliding(window: _Window, expiry: int, now_s: float) -> tuple[int, float, int, float]:
    """Count before, seconds for which it still counts, count now, seconds for which that does."""
    number = int(now_s // expiry)
    if number != window.number:
        window.count_before = window.count if number == window.number + 1 else 0
        window.number, window.count = number, 0
    left_s = (number + 1) * expiry - now_s
    return window.count_before, left_s, window.count, left_s + expiry
