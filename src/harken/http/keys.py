"""API keys: how they look and how they are stored.

A key is `hk_<id>_<secret>`. The secret is 256 random bits, so that its plain SHA-256 is stored: guessing is hopeless
however fast the hash is, and the slow, salted hashes that people's passwords need would only cost us time.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from harken.core import InputError
from harken.http.errors import NotFound
from harken.http.principals import Principal

if TYPE_CHECKING:
    from harken.storage.database import Database

PREFIX = "hk_"
_SECRET_BYTES = 32


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
