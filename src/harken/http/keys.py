"""API keys: how they look, how they are stored, and how they are found again within microseconds.

A key is `hk_<id>_<secret>`. The secret is 256 random bits, so that its plain SHA-256 is stored: guessing is hopeless
however fast the hash is, and the slow, salted hashes that people's passwords need would only cost us time.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from harken.core import HarkenError, InputError
from harken.http.errors import NotFound, Unavailable
from harken.http.principals import Principal

if TYPE_CHECKING:
    from harken.storage.database import Database

PREFIX = "hk_"
_SECRET_BYTES = 32
_LOOKUP_S = 3.0  # longest wait for the database
_MARK_USED_S = 60.0  # how exact `last_used_s` is


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is stored. Times are Unix seconds; None in a limit means the server's own."""

    id: str
    name: str
    secret_hash: str = field(repr=False)
    scopes: tuple[str, ...]
    created_s: float
    expires_s: float | None = None
    revoked_s: float | None = None
    rate: str | None = None
    audio_s_per_day: int | None = None
    streams: int | None = None
    last_used_s: float | None = None

    def is_valid(self, now_s: float) -> bool:
        return self.revoked_s is None and (self.expires_s is None or now_s < self.expires_s)

    def principal(self) -> Principal:
        return Principal(
            id=f"key:{self.id}",
            name=self.name,
            kind="key",
            scopes=frozenset(self.scopes),
            rate=self.rate,
            audio_s_per_day=self.audio_s_per_day,
            streams=self.streams,
        )


class KeyStore(Protocol):
    """Where keys are kept. Calls block; HarkenError means that the store does not answer."""

    def find(self, key_id: str) -> KeyRecord | None: ...

    def has_any(self) -> bool:
        """Whether a key was ever made, revoked and expired ones included."""
        ...

    def mark_used(self, key_id: str, at_s: float) -> None: ...


def new_key() -> tuple[str, str, str]:
    """The id, the whole key (shown once, never stored), and the hash of its secret."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    return key_id, f"{PREFIX}{key_id}_{secret}", hash_secret(secret)


def split_key(key: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None for what does not look like one."""
    _hk, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    plain = key.isascii() and key_id.isalnum() and len(key_id) <= 64
    return (key_id, secret) if key.startswith(PREFIX) and plain and 32 <= len(secret) <= 128 else None


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def holds(record: KeyRecord | None, secret: str) -> bool:
    """Whether `secret` is that of `record`; takes as long for no record as for a wrong secret."""
    stored = record.secret_hash if record else "0" * 64
    return hmac.compare_digest(hash_secret(secret), stored) and record is not None


class CachedKeys:
    """Looks keys up in threads of its own, at most once in `ttl_s` for each id: so soon is a revocation known.

    While the store does not answer, a key that was found in the last `outage_s` seconds still holds.
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
        self._max_ids = max_ids
        self._clock = clock
        self._lookup_s = lookup_s
        self._found: OrderedDict[str, tuple[float, KeyRecord | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self._marked_s: OrderedDict[str, float] = OrderedDict()
        # Not the loop's own threads: a database that hangs must not keep other work from them.
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="harken-keys")

    async def find(self, key_id: str) -> KeyRecord | None:
        """The record, at most `ttl_s` old, or `outage_s` while the store does not answer. Raises Unavailable where it
        does not and there is none.
        """
        known = self._found.get(key_id)
        now_s = self._clock()
        may_stand_in = known is not None and known[1] is not None and now_s - known[0] < self._outage_s
        if known is None or (now_s - known[0] >= self._ttl_s and not (may_stand_in and now_s < self._ask_again_s)):
            try:
                record = await self._once(key_id, lambda: self._store.find(key_id))
            except Unavailable:
                if known is None or not may_stand_in:
                    raise
                self._ask_again_s = self._clock() + self._ttl_s  # others need not wait for the same answer
            else:
                known = (self._clock(), record)
                self._found[key_id] = known
                while len(self._found) > self._max_ids:
                    self._found.popitem(last=False)
        if key_id in self._found:
            self._found.move_to_end(key_id)
        return known[1]

    async def has_any(self) -> bool:
        return bool(await self._once("", self._store.has_any))

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
        self._threads.submit(self._store.mark_used, record.id, at_s)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self, name: str, question: Callable[[], Any]) -> Any:
        """The answer to `question`; all who ask the same at the same time share one call."""
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(question))
            task.add_done_callback(lambda _task: self._asking.pop(name, None))
        answer = await asyncio.shield(task)  # one of them leaving does not end it for the others
        if isinstance(answer, Exception):
            raise Unavailable("Keys cannot be checked now.", hint="Try again.", retry_after_s=5.0) from answer
        return answer

    async def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._lookup_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except (HarkenError, TimeoutError) as err:
            return err


class DatabaseKeys:
    """Keys in the table `api_keys`."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    def find(self, key_id: str) -> KeyRecord | None:
        from sqlalchemy import select

        from harken.storage.tables import api_keys

        with self._database.read() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().one_or_none()
        return _record(dict(row)) if row else None

    def has_any(self) -> bool:
        from sqlalchemy import select

        from harken.storage.tables import api_keys

        with self._database.read() as connection:
            return connection.execute(select(api_keys.c.id).limit(1)).first() is not None

    def mark_used(self, key_id: str, at_s: float) -> None:
        from sqlalchemy import update

        from harken.storage.tables import api_keys

        with self._database.write() as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(last_used_s=at_s))

    def all(self) -> list[KeyRecord]:
        """Every key, the oldest first."""
        from sqlalchemy import select

        from harken.storage.tables import api_keys

        with self._database.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_s, api_keys.c.id)).mappings().all()
        return [_record(dict(row)) for row in rows]

    def create(
        self,
        name: str,
        *,
        scopes: tuple[str, ...],
        now_s: float,
        expires_s: float | None = None,
        rate: str | None = None,
        audio_s_per_day: int | None = None,
        streams: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key: its record, and the key itself, which cannot be had again.

        Raises InputError for a name that a valid key has.
        """
        from sqlalchemy import insert, select

        from harken.storage.tables import api_keys

        key_id, key, secret_hash = new_key()
        record = KeyRecord(
            id=key_id,
            name=name,
            secret_hash=secret_hash,
            scopes=scopes,
            created_s=now_s,
            expires_s=expires_s,
            rate=rate,
            audio_s_per_day=audio_s_per_day,
            streams=streams,
        )
        row = {column.name: getattr(record, column.name) for column in api_keys.columns}
        with self._database.write() as connection:
            same = connection.execute(select(api_keys).where(api_keys.c.name == name)).mappings().all()
            for other in (_record(dict(found)) for found in same):
                if other.is_valid(now_s):
                    hint = f"Choose another name, or revoke {other.id} first."
                    raise InputError(f"There is a key called {name!r} already.", hint=hint)
            connection.execute(insert(api_keys).values({**row, "scopes": list(scopes)}))
        return record, key

    def revoke(self, key_id: str, *, now_s: float) -> KeyRecord:
        """End a key for good; servers know within seconds. Revoking it again changes nothing. Raises NotFound."""
        from sqlalchemy import update

        from harken.storage.tables import api_keys

        still = (api_keys.c.id == key_id) & api_keys.c.revoked_s.is_(None)
        with self._database.write() as connection:
            connection.execute(update(api_keys).where(still).values(revoked_s=now_s))
        record = self.find(key_id)
        if record is None:
            raise NotFound(f"There is no key {key_id!r}.", hint="`harken tokens list` names them all.")
        return record


def _record(row: dict[str, Any]) -> KeyRecord:
    return KeyRecord(**{**row, "scopes": tuple(row["scopes"])})
