"""Stored files: a folder or a bucket, each file under the hash of its content."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from harken.core import InputError, MissingPart
from harken.core.files import replacing, sha256_file
from harken.storage.deadline import Probe
from harken.storage.settings import BLOB_SCHEMES, check_url, masked

_CONNECT_S = 3.0
_TOTAL_S = 600.0  # one file, at the slowest
_RETRY_S = 10.0
_PIECE_BYTES = 1 << 20
_PART_BYTES = 8 << 20  # a part of an upload; S3 takes at most 10,000 of them
_PARTS_AT_ONCE = 2
_DELETED_AT_ONCE = 500

_ROOT = "sha256"
_KEY = re.compile(r"sha256/[0-9a-f]{2}/[0-9a-f]{62}")
_STAGED = re.compile(r"[0-9a-f]{62}#\d+")  # what an upload into a folder leaves when it is killed


class BlobStore:
    """Files under `sha256/...`: equal content is stored once. Safe to use from many threads.

    A key comes from `put_file` alone; anything else is refused, so no name that a user chose reaches the store. Calls
    block: from an event loop, call in a thread. All raise MissingPart while the store cannot be used.
    """

    def __init__(self, store: Any, *, shown: str, folder: Path | None = None) -> None:
        self.shown = shown  # the URL without secrets
        self._store = store
        self._folder = folder
        self._probe = Probe(f"The file store {shown}", self._ask)

    @classmethod
    def open(cls, url: str, **options: Any) -> "BlobStore":
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
    def _open_folder(cls, url: str) -> "BlobStore":
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

    def put_file(self, path: Path) -> str:
        """Store a file and return its key; what is there already is written again, which makes it young.

        The file is read in pieces, twice: for its hash and for the store. It must not change meanwhile.
        """
        try:
            digest = sha256_file(path)
        except OSError as err:
            raise InputError(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
        key = f"{_ROOT}/{digest[:2]}/{digest[2:]}"
        import obstore

        with self._explained(), open(path, "rb") as file:
            obstore.put(self._store, key, file, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        return key

    def get_to(self, key: str, path: Path) -> None:
        """Write a stored file to `path`, all or nothing. Raises InputError for a key that is not there."""
        with replacing(path) as file:
            for piece in self.open_bytes(key):
                file.write(piece)

    def open_bytes(self, key: str) -> Iterator[bytes]:
        """The content in pieces of about 1 MiB. Raises InputError for a key that is not there, at once."""
        import obstore

        _check_key(key)
        with self._explained(key):
            found = obstore.get(self._store, key)
        return self._pieces(key, found)

    def exists(self, key: str) -> bool:
        """Whether a key is there."""
        import obstore
        from obstore import exceptions

        _check_key(key)
        with self._explained(key):
            try:
                obstore.head(self._store, key)
            except (exceptions.NotFoundError, FileNotFoundError):
                return False
        return True

    def delete(self, key: str) -> None:
        """Remove a stored file; nothing happens where there is none."""
        _check_key(key)
        self._delete([key])

    def delete_older(self, seconds: float) -> int:
        """Remove what was stored more than `seconds` ago by the store's clock; returns how many files."""
        import obstore

        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        old: list[str] = []
        deleted = 0
        with self._explained():
            for page in obstore.list(self._store, prefix=f"{_ROOT}/", chunk_size=_DELETED_AT_ONCE):
                old += [meta["path"] for meta in page if meta["last_modified"] < limit and _KEY.fullmatch(meta["path"])]
                while len(old) >= _DELETED_AT_ONCE:
                    deleted += self._delete(old[:_DELETED_AT_ONCE])
                    old = old[_DELETED_AT_ONCE:]
        deleted += self._delete(old)
        self._delete_staged(limit)
        return deleted

    def ping(self, timeout_s: float) -> None:
        """Return when the store answers and lets us in. Raises MissingPart that names it, within `timeout_s`."""
        self._probe.ask(timeout_s)

    def _ask(self) -> None:
        if self._folder is not None and not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise MissingPart(
                f"The folder {self._folder} is not there, or may not be written to.", hint="Make it, or name another."
            )
        import obstore

        with self._explained():  # of an absent bucket, a look at one key says no more than of an absent key
            for _ in obstore.list(self._store, prefix="ping/"):
                break

    def _pieces(self, key: str, found: Any) -> Iterator[bytes]:
        with self._explained(key):
            yield from map(bytes, found.stream(min_chunk_size=_PIECE_BYTES))

    def _delete(self, keys: list[str]) -> int:
        import obstore
        from obstore import exceptions

        if not keys:
            return 0
        with self._explained():
            try:
                obstore.delete(self._store, keys)
            except (exceptions.NotFoundError, FileNotFoundError):  # a folder says so, a bucket does not
                for key in keys if len(keys) > 1 else []:
                    self._delete([key])
        return len(keys)

    def _delete_staged(self, limit: datetime) -> None:
        if self._folder is None:
            return
        for path in (self._folder / _ROOT).glob("*/*#*"):
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < limit.timestamp():
                path.unlink(missing_ok=True)

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


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InputError(f"{key[:100]!r} is not a key of a stored file.")


def _client_options(options: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "timeout": timedelta(seconds=_TOTAL_S),
        "allow_http": endpoint.startswith("http://"),  # who names such an endpoint wants it
    }


def _reason(err: BaseException) -> str:
    text = str(err).partition("Debug source:")[0]  # what follows is for whoever debugs obstore
    return " ".join(text.split())[:300].rstrip(".")
