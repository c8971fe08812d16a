"""Where the state lives, and URLs shown without their secrets."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

from harken.core.config import Strict
from harken.core.home import home_folder

DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
BLOB_SCHEMES = ("file", "s3", "gs", "az")
REDIS_SCHEMES = ("redis", "rediss", "unix")

JOB_ATTEMPTS = 3

_SECRET_VALUE = re.compile(r"([?&][^=&#]*(?:pass|secret|key|token|sig|credential)[^=&#]*=)[^&#]*", re.IGNORECASE)
_HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StorageSettings(Strict):
    """Where state is kept; None is the place that needs no service.

    `database` is an SQLAlchemy URL (None: `sqlite:///<home>/harken.db`), `blobs` a folder or bucket of stored files
    (None: `<home>/store`), `redis` the shared cache (None: the memory of this process, at most `cache_bytes`).
    `job_attempts` (1 or more) is how often an item of a job is begun before it counts as failed.
    """

    database: str | None = None
    blobs: str | None = None
    redis: str | None = None
    cache_bytes: int = 64 << 20
    job_attempts: int = JOB_ATTEMPTS

    def __post_init__(self) -> None:
        check_url("database", self.database, DATABASE_SCHEMES, "sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME")
        check_url("blobs", self.blobs, BLOB_SCHEMES, "file:///FOLDER, s3://BUCKET/PREFIX, gs://... or az://...")
        check_url("redis", self.redis, REDIS_SCHEMES, "redis://HOST:PORT/0, rediss://... or unix://PATH")
        if self.cache_bytes < 0:
            raise ValueError(f"cache_bytes is {self.cache_bytes}; use 0 (no cache) or more")
        if self.job_attempts < 1:
            raise ValueError(f"job_attempts is {self.job_attempts}; use 1 or more")

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{quote(str(home_folder().resolve() / 'harken.db'))}"

    @property
    def blobs_url(self) -> str:
        return self.blobs or (home_folder().resolve() / "store").as_uri()

    def shown(self) -> dict[str, str | int | None]:
        """The settings for people and logs, without passwords."""
        return {
            "database": masked(self.database_url),
            "blobs": masked(self.blobs_url),
            "redis": None if self.redis is None else masked(self.redis),
            "cache_bytes": self.cache_bytes,
            "job_attempts": self.job_attempts,
        }

    def __repr__(self) -> str:
        return f"StorageSettings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"


def check_url(name: str, url: str | None, schemes: Collection[str], examples: str) -> None:
    """Raise ValueError, which shows no password, unless `url` is None or has one of the schemes."""
    if url is None:
        return
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() not in schemes:
        raise ValueError(f"{name} is {masked(url)!r}; use {examples}")
    if not rest.strip("/"):
        raise ValueError(f"{name} is {masked(url)!r}, which names nothing after '://'; use {examples}")


def masked(url: str) -> str:
    """A URL that may be logged: no password, no query value whose name looks secret, no control characters.

    Whatever stands between the first colon and the last @ is taken for a password, because passwords with / ? # in
    them are pasted unescaped; an odd path is rather shown with less than a password with more.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    before, at, host = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    shown = f"{scheme}{mark}{user}{colon}{_HIDDEN if colon else ''}{at}{host}"
    shown = _SECRET_VALUE.sub(rf"\g<1>{_HIDDEN}", shown)
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")
