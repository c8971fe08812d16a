"""From a multipart form to text fields and a file on disk, both gone when the request ends."""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from starlette.datastructures import UploadFile
from starlette.requests import Request

from harken.http.bodies import read_form
from harken.serving.routes.fields import BadParameter, Fields, MissingParameter

MOST_FILES = 1
MOST_FIELDS = 256
MOST_FIELD_BYTES = 64 * 1024

_CHUNK_BYTES = 1 << 20


@asynccontextmanager
async def received_form(
    request: Request, spool: Path, *, most_files: int = MOST_FILES
) -> AsyncIterator["ReceivedForm"]:
    """The form of a request. Files saved from it and its own temporary files are removed when the context ends.

    Raises what `read_form` raises.
    """
    limits = {"max_files": most_files, "max_fields": MOST_FIELDS, "max_field_bytes": MOST_FIELD_BYTES}
    async with read_form(request, **limits) as data:
        texts: dict[str, list[str]] = {}
        files: dict[str, list[UploadFile]] = {}
        for name, value in data.multi_items():
            if isinstance(value, UploadFile):
                files.setdefault(name, []).append(value)
            else:
                texts.setdefault(name, []).append(value)
        form = ReceivedForm(fields=Fields(texts), files=files, spool=spool)
        try:
            yield form
        finally:
            await form.discard()


@dataclass(slots=True, kw_only=True)
class ReceivedForm:
    """A form that was read whole. No path comes from what the client calls its files."""

    fields: Fields
    files: dict[str, list[UploadFile]]
    spool: Path
    _copies: list["_Copy"] = field(default_factory=list)

    def only(self, texts: tuple[str, ...], file: str, *, most: int = 1) -> None:
        """Raises BadParameter where the form holds anything but the text fields `texts` and up to `most` files of the
        name `file`, or none of those.
        """
        self.fields.only((*texts, file))
        for name in self.files:
            if name in texts or name.removesuffix("[]") in texts:
                raise BadParameter(name, f"{name} is a file.", hint="Send it as a text field.")
            Fields({name: [""]}).only((*texts, file))
        if self.fields.given(file):
            raise BadParameter(file, f"{file} is a text field.", hint="Send the audio itself as a file part.")
        if not self.count(file):
            raise MissingParameter(file, hint="Send the audio as a file part of a multipart/form-data body.")
        if self.count(file) > most:
            raise BadParameter(file, f"{file} is given {self.count(file)} times.", hint=f"Send at most {most}.")

    def count(self, file: str) -> int:
        return len(self._named(file))

    def size(self, file: str) -> int:
        """Bytes of all files of this name."""
        return sum(upload.size or 0 for upload in self._named(file))

    def name(self, file: str, index: int) -> str:
        """What the client calls a file: for people to read, as it is, and for nothing else."""
        return self._named(file)[index].filename or ""

    async def save(self, file: str, index: int = 0) -> Path:
        """A file on disk, under a random name without an extension. The event loop goes on meanwhile."""
        copy = _Copy(source=self._named(file)[index].file, path=self.spool / secrets.token_hex(16))
        self._copies.append(copy)
        # Shielded: a thread cannot be cancelled, and what removes the file has to know when it is done with it.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, copy.run))
        return copy.path

    def _named(self, file: str) -> list[UploadFile]:
        return [*self.files.get(file, ()), *self.files.get(f"{file}[]", ())]

    async def discard(self) -> None:
        """Remove what was saved, however the request ended: a second cancel ends the waiting, not the removing."""
        removal = asyncio.get_running_loop().run_in_executor(None, self._remove)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(removal)

    def _remove(self) -> None:
        for copy in self._copies:
            copy.remove()


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A copy that is made in one thread and stopped and removed by another."""

    source: BinaryIO
    path: Path
    _stop: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self.source.seek(0)
            with open(self.path, "xb", opener=_private) as target:
                while not self._stop.is_set() and (chunk := self.source.read(_CHUNK_BYTES)):
                    target.write(chunk)
        finally:
            self._over.set()

    def remove(self) -> None:
        self._stop.set()
        self._over.wait()  # the executor started the copy before this, so it ends
        self.path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
