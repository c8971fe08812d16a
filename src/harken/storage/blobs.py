"""Stored files of jobs: a folder or a bucket, each file under the hash of its content."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.core.files import replacing, sha256_file
from harken.storage.objects import ObjectStore

_ROOT = "sha256"
_KEY = re.compile(r"sha256/[0-9a-f]{2}/[0-9a-f]{62}")
_STAGED = re.compile(r"[0-9a-f]{62}#\d+")  # what an upload into a folder leaves when it is killed


class BlobStore:
    """Files under `sha256/...`: equal content is stored once. Safe to use from many threads.

    A key comes from `put_file` alone; anything else is refused, so no name that a user chose reaches the store.
    Everything here blocks: an event loop calls it through `calls`. All raise MissingPart while the store cannot be
    used.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects
        self.calls = objects.calls

    @classmethod
    def open(cls, url: str, **options: Any) -> "BlobStore":
        """The store at a URL. See `ObjectStore.open`."""
        return cls(ObjectStore.open(url, **options))

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return self.objects.shown

    def put_file(self, path: Path) -> str:
        """Store a file and return its key; what is there already is written again, which makes it young.

        The file is read in pieces, twice: for its hash and for the store. It must not change meanwhile.
        """
        try:
            digest = sha256_file(path)
        except OSError as err:
            raise InputError(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
        key = f"{_ROOT}/{digest[:2]}/{digest[2:]}"
        self.objects.put_file(key, path)
        return key

    def get_to(self, key: str, path: Path) -> None:
        """Write a stored file to `path`, all or nothing. Raises InputError for a key that is not there."""
        with replacing(path) as file:
            for piece in self.open_bytes(key):
                file.write(piece)

    def open_bytes(self, key: str) -> Iterator[bytes]:
        """The content in pieces of about 1 MiB. Raises InputError for a key that is not there, at once."""
        _check_key(key)
        return self.objects.pieces(key)

    def exists(self, key: str) -> bool:
        """Whether a key is there."""
        _check_key(key)
        return self.objects.exists(key)

    def delete(self, key: str) -> None:
        """Remove a stored file; nothing happens where there is none."""
        _check_key(key)
        self.objects.delete([key])

    def delete_older(self, seconds: float) -> int:
        """Remove what was stored more than `seconds` ago by the store's clock; returns how many files."""
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        found = self.objects.listed(f"{_ROOT}/")
        deleted = self.objects.delete(item.key for item in found if item.modified < limit and _KEY.fullmatch(item.key))
        for path in self.objects.staged(_ROOT):
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < limit.timestamp():
                path.unlink(missing_ok=True)
        return deleted

    def ping(self, timeout_s: float) -> None:
        """Return when the store answers and lets us in. Raises MissingPart that names it, within `timeout_s`."""
        self.objects.ping(timeout_s)

    async def answers(self, timeout_s: float) -> None:
        """`ping` for an event loop, which is not blocked."""
        await self.objects.answers(timeout_s)

    def close(self) -> None:
        """Takes no more calls; the object is not used after that."""
        self.objects.close()


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InputError(f"{key[:100]!r} is not a key of a stored file.")
