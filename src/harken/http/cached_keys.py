"""Keys found again within microseconds, and while their store is down."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from harken.core import HarkenError, MissingPart
from harken.http.errors import Unavailable
from harken.http.keys import KeyRecord, KeyStore
from harken.storage.calls import Calls

_LOOKUP_S = 1.5  # longest wait for the database
_STAND_IN_S = 0.2  # the same where what was known before will do
_MARK_USED_S = 60.0  # how exact `last_used_s` is


class CachedKeys:
    """Looks keys up in threads of its own, at most once in `ttl_s` for each id: so soon is a revocation known.

    While the store does not answer, a key that was found in the last `outage_s` seconds still holds, and nobody waits
    long for a store that hangs: its answer counts when it comes.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        ttl_s: float = 5.0,
        outage_s: float = 3600.0,
        max_ids: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        lookup_s: float = _LOOKUP_S,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._outage_s = outage_s
        self._ask_again_s = 0.0  # during an outage
        self._saw_one = False
        self._max_ids = max_ids
        self._clock = clock
        self._lookup_s = lookup_s
        self._found: OrderedDict[str, tuple[float, KeyRecord | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self._marked_s: OrderedDict[str, float] = OrderedDict()
        # Apart, because a database that is being written to for long still answers who reads.
        self._lookups = Calls("The store of keys", threads=4, waiting=256)
        self._marks = Calls("The store of keys", threads=1, waiting=256)

    async def find(self, key_id: str) -> KeyRecord | None:
        """The record, at most `ttl_s` old, or `outage_s` while the store does not answer. Raises Unavailable where it
        does not and there is none.
        """
        known = self._found.get(key_id)
        now_s = self._clock()
        may_stand_in = known is not None and known[1] is not None and now_s - known[0] < self._outage_s
        if known is None or (now_s - known[0] >= self._ttl_s and not (may_stand_in and now_s < self._ask_again_s)):
            try:
                known = await self._within(
                    _STAND_IN_S if may_stand_in else None, self._once(key_id, lambda: self._look_up(key_id))
                )
            except Unavailable:
                if known is None or not may_stand_in:
                    raise
                self._ask_again_s = self._clock() + self._ttl_s  # others need not wait for the same answer
        if key_id in self._found:
            self._found.move_to_end(key_id)
        return known[1]

    async def has_any(self, *, within_s: float | None = None) -> bool:
        """Raises Unavailable where the store does not answer, or not within `within_s` seconds."""
        return self._saw_one or bool(await self._within(within_s, self._once("", self._look_for_any)))

    def remembers(self, key_id: str) -> bool:
        """Whether this id was found before, however long ago."""
        known = self._found.get(key_id)
        return known is not None and known[1] is not None

    def mark_used(self, record: KeyRecord, at_s: float) -> None:
        """Note the use of a key, about once a minute, without waiting; it is lost when the store does not answer."""
        last_s = self._marked_s.get(record.id, record.last_used_s or 0.0)
        if at_s - last_s < _MARK_USED_S:
            return
        self._marked_s[record.id] = at_s
        self._marked_s.move_to_end(record.id)
        while len(self._marked_s) > self._max_ids:
            self._marked_s.popitem(last=False)
        with suppress(MissingPart):
            self._marks.submit(self._store.mark_used, record.id, at_s)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        self._lookups.close()
        self._marks.close()

    async def _look_up(self, key_id: str) -> Any:
        """What is now known of a key, also for those who come after whoever asked has left; an error as a value."""
        record = await self._ask(lambda: self._store.find(key_id))
        if isinstance(record, Exception):
            return record
        known = self._found[key_id] = (self._clock(), record)
        self._ask_again_s = 0.0  # the store answers
        while len(self._found) > self._max_ids:
            self._found.popitem(last=False)
        return known

    async def _look_for_any(self) -> Any:
        answer = await self._ask(self._store.has_any)
        self._saw_one = self._saw_one or answer is True
        return answer

    async def _within(self, seconds: float | None, answer: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as err:
            raise _unavailable() from err

    async def _once(self, name: str, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The answer to `question`; all who ask the same at the same time share one call."""
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(question())
            task.add_done_callback(lambda _task: self._asking.pop(name, None))
        answer = await asyncio.shield(task)  # one of them leaving does not end it for the others
        if isinstance(answer, Exception):
            raise _unavailable() from answer
        return answer

    async def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._lookup_s):
                return await self._lookups.run(question)
        except (HarkenError, TimeoutError) as err:
            return err


def _unavailable() -> Unavailable:
    return Unavailable("Keys cannot be checked now.", hint="Try again.", retry_after_s=5.0)
