"""A folder or a bucket of objects, by its URL."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from harken.core import InputError, MissingPart
from harken.storage.calls import Calls
from harken.storage.deadline import Probe
from harken.storage.settings import BLOB_SCHEMES, check_url, masked

_CONNECT_S = 3.0
_SILENCE_S = 20.0  # of a store, before an answer or in the middle of one
_TOTAL_S = 600.0  # one file, at the slowest
_RETRY_S = 10.0
_PIECE_BYTES = 1 << 20
_PART_BYTES = 8 << 20  # a part of an upload; S3 takes at most 10,000 of them
_PARTS_AT_ONCE = 2
_AT_ONCE = 500  # objects that are listed or deleted together
_THREADS = 8
_WAITING = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object that is there; `modified` is the time of its last change by the store's clock."""

    key: str
    modified: datetime


class ObjectStore:
    """Objects by their keys, which are paths below the URL. Safe to use from many threads.

    Nothing here checks a key: whoever calls makes them. Everything here blocks: an event loop calls it through `calls`.
    All raise MissingPart while the store cannot be used.
    """

    def __init__(self, store: Any, *, shown: str, folder: Path | None = None) -> None:
        self.shown = shown  # the URL without secrets
        self._store = store
        self._folder = folder
        self._probe = Probe(f"The file store {shown}", self._ask)
        self.calls = Calls(f"The file store {shown}", threads=_THREADS, waiting=_WAITING)

    @classmethod
    def open(cls, url: str, **options: Any) -> "ObjectStore":
        """The store at file:///FOLDER (made where it is absent), s3://BUCKET/PREFIX, gs:// or az://.

        `options` go to obstore (endpoint, region, keys ...); credentials otherwise come from the store's usual
        environment variables. Raises InputError for a URL or an option that is not taken, MissingPart for a folder
        that cannot be made.
        """
        try:
            check_url("blobs", url, BLOB_SCHEMES, "file:///FOLDER or s3://BUCKET/PREFIX")
        except ValueError as err:
            raise InputError(f"{err}.") from err
        if urlsplit(url).scheme == "file":
            return cls._open_folder(url)
        from obstore import exceptions
        from obstore.store import from_url

        open_store: Any = from_url  # its overloads know the options of each kind of store, not those of any
        try:
            store = open_store(
                url,
                client_options=_client_options(options),
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_RETRY_S)},
                **options,
            )
        except (exceptions.BaseError, ValueError, TypeError) as err:
            raise InputError(
                f"{masked(url)} cannot be used: {_reason(err)}.", hint="Check the address and the options."
            ) from err
        return cls(store, shown=masked(url))

    @classmethod
    def _open_folder(cls, url: str) -> "ObjectStore":
        from obstore.store import LocalStore

        folder = Path(unquote(urlsplit(url).path))
        if urlsplit(url).netloc not in ("", "localhost"):
            raise InputError(f"{masked(url)} names another machine.", hint="Write file:///FOLDER, with three slashes.")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as err:
            raise MissingPart(
                f"The folder {folder} cannot be made: {err.strerror}.", hint="Name one that this user may write to."
            ) from err
        return cls(LocalStore(folder), shown=masked(url), folder=folder)

    def put_file(self, key: str, path: Path) -> None:
        """Write the content of a file, read in pieces; what is there under the key is replaced."""
        import obstore

        with self._explained(), open(path, "rb") as file:
            obstore.put(self._store, key, file, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write some bytes; what is there under the key is replaced."""
        import obstore

        with self._explained():
            obstore.put(self._store, key, content)

    def pieces(self, key: str) -> Iterator[bytes]:
        """The content in pieces of about 1 MiB. Raises InputError for a key that is not there, at once."""
        import obstore

        with self._explained(key):
            found = obstore.get(self._store, key)
        return self._pieces(key, found)

    def exists(self, key: str) -> bool:
        """Whether a key is there."""
        import obstore
        from obstore import exceptions

        with self._explained(key):
            try:
                obstore.head(self._store, key)
            except (exceptions.NotFoundError, FileNotFoundError):
                return False
        return True

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Everything below a path that ends with a slash."""
        import obstore

        with self._explained():
            for page in obstore.list(self._store, prefix=prefix, chunk_size=_AT_ONCE):
                yield from (Listed(key=meta["path"], modified=meta["last_modified"]) for meta in page)

    def delete(self, keys: Iterable[str]) -> int:
        """Remove objects; nothing happens where there is none. Returns how many keys there were.

        `keys` may come from `list`: they are taken some at a time.
        """
        deleted = 0
        rest = iter(keys)
        while some := list(islice(rest, _AT_ONCE)):
            self._delete(some)
            deleted += len(some)
        return deleted

    def staged(self, prefix: str) -> Iterator[Path]:
        """What uploads of killed processes left in a folder, one level below `prefix`: `NAME#NUMBER` for the key NAME.
        A bucket shows nothing of an upload that did not end."""
        if self._folder is not None:
            for path in (self._folder / prefix).glob("*/*#*"):
                if path.name.rpartition("#")[2].isdecimal():
                    yield path

    def ping(self, timeout_s: float) -> None:
        """Return when the store answers and lets us in. Raises MissingPart that names it, within `timeout_s`."""
        self._probe.ask(timeout_s)

    async def answers(self, timeout_s: float) -> None:
        """`ping` for an event loop, which is not blocked."""
        await self._probe.answers(timeout_s)

    def close(self) -> None:
        """Takes no more calls; the object is not used after that."""
        self.calls.close()

    def _ask(self) -> None:
        if self._folder is not None and not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise MissingPart(
                f"The folder {self._folder} is not there, or may not be written to.", hint="Make it, or name another."
            )
        for _ in self.listed("ping/"):  # of an absent bucket, a look at one key says no more than of an absent key
            break

    def _pieces(self, key: str, found: Any) -> Iterator[bytes]:
        with self._explained(key):
            yield from map(bytes, found.stream(min_chunk_size=_PIECE_BYTES))

    def _delete(self, keys: list[str]) -> None:
        import obstore
        from obstore import exceptions

        with self._explained():
            try:
                obstore.delete(self._store, keys)
            except (exceptions.NotFoundError, FileNotFoundError):  # a folder says so, a bucket does not
                for key in keys if len(keys) > 1 else []:
                    self._delete([key])

    @contextmanager
    def _explained(self, key: str = "") -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (exceptions.NotFoundError, FileNotFoundError) as err:
            if key:
                raise InputError(f"{self.shown} has no {key}.", hint="It may have expired.") from err
            raise MissingPart(f"{self.shown} is not there.", hint="Make the bucket or the folder.") from err
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as err:
            raise MissingPart(
                f"{self.shown} may not be used with these credentials.",
                hint="Set the store's usual environment variables, or the folder's permissions.",
            ) from err
        except (exceptions.BaseError, OSError) as err:
            raise MissingPart(
                f"{self.shown} cannot be used: {_reason(err)}.", hint="Check that it runs, and its address."
            ) from err


def _client_options(options: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "read_timeout": timedelta(seconds=_SILENCE_S),
        "timeout": timedelta(seconds=_TOTAL_S),
        "allow_http": endpoint.startswith("http://"),  # who names such an endpoint wants it
    }


def _reason(err: BaseException) -> str:
    text = str(err).partition("Debug source:")[0]  # what follows is for whoever debugs obstore
    return " ".join(text.split())[:300].rstrip(".")
