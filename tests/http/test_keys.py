"""Keys: how they look, how they are found, what happens when nobody can say."""

from collections.abc import Iterator

import pytest
from tests.http.conftest import MemoryKeys

from harken.core import InputError
from harken.http.errors import NotFound
from harken.http.keys import DatabaseKeys, hash_secret, holds, new_key, split_key
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
