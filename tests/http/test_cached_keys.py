"""Keys found again: how often the store is asked, and what happens when nobody can say."""

import asyncio
import threading
import time

import pytest
from tests.http.conftest import Clock, MemoryKeys

from harken.http.cached_keys import CachedKeys
from harken.http.errors import Unavailable
from harken.http.keys import KeyRecord, split_key


class HangingKeys(MemoryKeys):
    """Answers nobody while `hangs`, and everybody once it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def _answer(self) -> None:
        assert self.answers.wait(20)


def test_a_key_is_looked_up_once_in_five_seconds_however_many_ask() -> None:
    async def scenario() -> tuple[int, int, int]:
        store, clock = MemoryKeys(), Clock()
        keys = CachedKeys(store, clock=clock)
        key_id = (split_key(store.add()) or ("", ""))[0]
        store.delay_s = 0.05
        found = await asyncio.gather(*(keys.find(key_id) for _ in range(100)))
        assert {record.id for record in found if record} == {key_id}
        together = store.lookups
        clock.now_s += 4.9
        await keys.find(key_id)
        within = store.lookups
        clock.now_s += 0.2
        await keys.find(key_id)
        await keys.close()
        return together, within, store.lookups

    assert asyncio.run(scenario()) == (1, 1, 2)


def test_one_who_leaves_does_not_end_the_lookup_of_the_others() -> None:
    async def scenario() -> None:
        store = MemoryKeys()
        keys, key = CachedKeys(store), store.add()
        store.delay_s = 0.1
        key_id = (split_key(key) or ("", ""))[0]
        first, second = asyncio.create_task(keys.find(key_id)), asyncio.create_task(keys.find(key_id))
        await asyncio.sleep(0.02)
        first.cancel()
        assert (await second) is store.records[key_id]
        assert store.lookups == 1
        await keys.close()

    asyncio.run(scenario())


def test_unknown_ids_are_remembered_as_such_within_bounds() -> None:
    async def scenario() -> None:
        store = MemoryKeys()
        keys = CachedKeys(store, max_ids=10)
        for number in range(30):
            assert await keys.find(f"id{number}") is None
        assert len(keys._found) == 10
        await keys.find("id29")
        assert store.lookups == 30
        assert not keys.remembers("id29")
        await keys.close()

    asyncio.run(scenario())


def test_a_store_that_is_down_or_hangs_is_unavailable_and_blocks_nothing() -> None:
    async def scenario() -> float:
        store = MemoryKeys()
        keys = CachedKeys(store, lookup_s=0.1)
        store.down = True
        with pytest.raises(Unavailable):
            await keys.find("a")
        store.down, store.delay_s = False, 0.5
        worst_s, began_s = 0.0, time.perf_counter()
        asking = asyncio.create_task(keys.find("b"))
        while not asking.done():
            before_s = time.perf_counter()
            await asyncio.sleep(0.005)
            worst_s = max(worst_s, time.perf_counter() - before_s)
        with pytest.raises(Unavailable):
            await asking
        assert time.perf_counter() - began_s < 0.4
        await keys.close()
        return worst_s

    assert asyncio.run(scenario()) < 0.1


def test_uses_are_noted_about_once_a_minute() -> None:
    async def scenario() -> list[float]:
        store = MemoryKeys()
        keys = CachedKeys(store)
        key_id = (split_key(store.add()) or ("", ""))[0]
        noted = []
        for at_s in (100.0, 130.0, 159.0, 161.0):
            keys.mark_used(store.records[key_id], at_s)
            await asyncio.sleep(0.05)
            noted.append(store.used[key_id])
        store.down = True
        keys.mark_used(store.records[key_id], 500.0)  # lost, and nothing breaks
        await asyncio.sleep(0.05)
        await keys.close()
        return noted

    assert asyncio.run(scenario()) == [100.0, 100.0, 100.0, 161.0]


def test_a_store_that_hangs_holds_up_no_key_that_was_good_and_is_heard_when_it_answers() -> None:
    async def scenario() -> None:
        store, clock = HangingKeys(), Clock()
        keys = CachedKeys(store, clock=clock)
        good, other = (split_key(store.add()) or ("", "") for _ in range(2))
        before = await keys.find(good[0])
        assert before is not None
        store.answers.clear()
        clock.now_s += 6
        began_s = time.perf_counter()
        assert await asyncio.gather(*(keys.find(good[0]) for _ in range(20))) == [before] * 20
        first_s = time.perf_counter() - began_s
        assert await keys.find(good[0]) == before  # nobody waits again so soon
        assert first_s < 0.35
        assert time.perf_counter() - began_s < first_s + 0.05
        with pytest.raises(Unavailable):
            await keys.find(other[0])
        assert time.perf_counter() - began_s < 2 + first_s
        clock.now_s += 3600
        with pytest.raises(Unavailable):
            await keys.find(good[0])
        store.records[good[0]] = KeyRecord(**{**_fields(before), "revoked_s": 1.0})
        store.answers.set()
        found = await keys.find(good[0])
        assert found is not None
        assert found.revoked_s == 1.0
        await keys.close()

    asyncio.run(scenario())


def test_more_lookups_than_can_wait_are_unavailable_at_once() -> None:
    async def scenario() -> float:
        store = HangingKeys()
        keys = CachedKeys(store, lookup_s=5)
        store.answers.clear()
        for number in range(2000):
            keys.mark_used(KeyRecord(id=str(number), name="x", secret_hash="", scopes=(), created_s=0.0), 1000.0)
        threads = threading.active_count()
        crowd = [asyncio.create_task(keys.find(f"id{number}")) for number in range(1000)]
        began_s = time.perf_counter()
        while sum(not task.done() for task in crowd) >= 300 and time.perf_counter() - began_s < 4:
            await asyncio.sleep(0.02)
        assert 200 < sum(not task.done() for task in crowd) < 300
        await asyncio.gather(*crowd, return_exceptions=True)
        assert {type(task.exception()) for task in crowd} == {Unavailable}
        took_s = time.perf_counter() - began_s
        assert threading.active_count() < threads + 20
        store.answers.set()
        await keys.close()
        return took_s

    assert asyncio.run(scenario()) < 8


def test_the_first_key_is_seen_by_a_store_that_is_slow() -> None:
    async def scenario() -> None:
        store = MemoryKeys()
        keys = CachedKeys(store)
        assert not await keys.has_any(within_s=0.1)
        store.add()
        store.delay_s = 0.4
        with pytest.raises(Unavailable):
            await keys.has_any(within_s=0.1)
        await asyncio.sleep(0.5)
        assert await keys.has_any(within_s=0.1)
        await keys.close()

    asyncio.run(scenario())


def _fields(record: KeyRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in KeyRecord.__dataclass_fields__}
