"""Keys: how they look, how they are found, what happens when nobody can say."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from tests.http.conftest import Clock, MemoryKeys

from harken.core import InputError
from harken.http.errors import NotFound, Unavailable
from harken.http.keys import CachedKeys, DatabaseKeys, hash_secret, holds, new_key, split_key
from harken.storage.database import Database

pytest_plugins = ["tests.services"]


@pytest.fixture
def stored(database_url: str) -> Iterator[DatabaseKeys]:
    database = Database.open(database_url)
    yield DatabaseKeys(database)
    database.close()


def test_a_key_has_256_random_bits_and_comes_apart_again() -> None:
    made = [new_key() for _ in range(50)]
    for key_id, key, secret_hash in made:
        parts = split_key(key)
        assert parts is not None
        assert parts[0] == key_id
        assert len(parts[1]) == 43
        assert hash_secret(parts[1]) == secret_hash
        assert len(secret_hash) == 64
    assert len({key for _id, key, _hash in made}) == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hk_",
        "hk_a",
        "hk_a_",
        "hk_a_short",
        "xx_a_" + "s" * 43,
        "hk__" + "s" * 43,
        "hk_é_" + "s" * 43,
        "hk_a_" + "s" * 129,
    ],
)
def test_what_is_no_key_does_not_come_apart(text: str) -> None:
    assert split_key(text) is None


def test_only_the_secret_holds() -> None:
    keys = MemoryKeys()
    key_id, secret = split_key(keys.add()) or ("", "")
    record = keys.records[key_id]
    assert holds(record, secret)
    assert not holds(record, secret[:-1])
    assert not holds(record, secret + "x")
    assert not holds(None, secret)
    assert secret not in repr(record)
    assert record.secret_hash not in repr(record)


def test_the_database_keeps_all_of_a_key(stored: DatabaseKeys) -> None:
    assert not stored.has_any()
    record, key = stored.create(
        "app", scopes=("stream", "batch"), now_s=10.0, expires_s=20.0, rate="1/second", audio_s_per_day=5, streams=2
    )
    assert stored.has_any()
    found = stored.find(record.id)
    assert found == record
    assert holds(found, (split_key(key) or ("", ""))[1])
    assert found.principal().id == f"key:{record.id}"
    assert (found.is_valid(19.9), found.is_valid(20.0)) == (True, False)
    assert stored.find("nobody") is None
    stored.mark_used(record.id, 15.0)
    assert [item.last_used_s for item in stored.all()] == [15.0]


def test_names_of_valid_keys_are_unique_and_revoking_is_for_good(stored: DatabaseKeys) -> None:
    record, _key = stored.create("app", scopes=(), now_s=10.0)
    with pytest.raises(InputError, match="called 'app' already"):
        stored.create("app", scopes=(), now_s=11.0)
    assert stored.revoke(record.id, now_s=12.0).revoked_s == 12.0
    assert stored.revoke(record.id, now_s=13.0).revoked_s == 12.0
    stored.create("app", scopes=(), now_s=14.0)
    assert stored.has_any()
    with pytest.raises(NotFound, match="no key 'nobody'"):
        stored.revoke("nobody", now_s=1.0)


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
