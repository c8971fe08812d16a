"""Files on their way to a server: a multipart form that is read a piece at a time, and never held whole."""

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeAlias

from harken.core import InputError

Audio: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the bytes of a file, or a file opened in binary mode, which is sent from where it stands."""

_PIECE_BYTES = 256 * 1024


@dataclass(slots=True)
class Upload:
    """One file of a form. `size` is its length in bytes, None where only reading tells; `start` is where it begins in
    an open file that can go back, None in one that cannot.
    """

    name: str
    source: Path | bytes | BinaryIO
    size: int | None
    start: int | None = None

    @property
    def repeatable(self) -> bool:
        return isinstance(self.source, Path | bytes) or self.start is not None


def upload_of(audio: Audio) -> Upload:
    """`audio` ready to be sent. Raises InputError for a path that is no file, and for a file of text."""
    if isinstance(audio, str | os.PathLike):
        return _of_path(Path(audio))
    if isinstance(audio, bytes | bytearray | memoryview):
        data = bytes(audio)
        return Upload("audio", data, len(data))
    name = getattr(audio, "name", None)
    start = size = None
    if audio.seekable():
        start = audio.tell()
        size = audio.seek(0, os.SEEK_END) - start
        audio.seek(start)
    return Upload(PurePath(name).name if isinstance(name, str) else "audio", audio, size, start)


def _of_path(path: Path) -> Upload:
    try:
        status = path.stat()
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.", hint="Check the path.") from err
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        raise InputError(f"{path} cannot be read: {err}.") from err
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder.", hint="Name the files in it.")
    return Upload(path.name, path, status.st_size if stat.S_ISREG(status.st_mode) else None)


class Form:
    """A multipart form (RFC 7578) of text fields and files.

    `begun` says whether any of it was taken to be sent. `repeatable` says whether it can be sent once more.
    """

    def __init__(self, fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, Upload]]) -> None:
        self._boundary = secrets.token_hex(16)
        self._fields = b"".join(self._field(name, value) for name, value in fields)
        self._files = [(self._file_header(name, upload), upload) for name, upload in files]
        self._open: BinaryIO | None = None
        self.begun = False

    @property
    def repeatable(self) -> bool:
        return not self.begun or all(upload.repeatable for _, upload in self._files)

    @property
    def headers(self) -> dict[str, str]:
        sizes = [upload.size for _, upload in self._files]
        known = sum(size for size in sizes if size is not None) + sum(len(head) + 2 for head, _ in self._files)
        length = len(self._fields) + known + len(self._end)
        kind = {"Content-Type": f"multipart/form-data; boundary={self._boundary}"}
        return kind if None in sizes else kind | {"Content-Length": str(length)}

    def pieces(self) -> Iterator[bytes]:
        self.begun = True
        yield self._fields
        for head, upload in self._files:
            yield head
            yield from self._content(upload)
            yield b"\r\n"
        yield self._end

    async def apieces(self) -> AsyncIterator[bytes]:
        """The same, read by a thread, as a disk may keep one waiting."""
        pieces = self.pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def close(self) -> None:
        """Close the file that is being read, where sending ended before its end."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _content(self, upload: Upload) -> Iterator[bytes]:
        if isinstance(upload.source, bytes):
            yield upload.source
        elif isinstance(upload.source, Path):
            try:
                self._open = upload.source.open("rb")
            except OSError as err:
                raise InputError(f"{upload.source} cannot be read: {err.strerror}.") from err
            try:
                yield from _read(self._open, upload)
            finally:
                self.close()
        else:
            if upload.start is not None:
                upload.source.seek(upload.start)
            yield from _read(upload.source, upload)

    @property
    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()

    def _field(self, name: str, value: str) -> bytes:
        head = f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        return f"{head}{value}\r\n".encode()

    def _file_header(self, name: str, upload: Upload) -> bytes:
        disposition = f'form-data; name="{name}"; filename="{_quoted(upload.name)}"'
        lines = (f"--{self._boundary}", f"Content-Disposition: {disposition}", "Content-Type: application/octet-stream")
        return "\r\n".join((*lines, "", "")).encode()


def _read(file: BinaryIO, upload: Upload) -> Iterator[bytes]:
    """The pieces of a file, exactly as long as was announced: it may grow or shrink meanwhile."""
    left = upload.size
    while left is None or left > 0:
        piece: Any = file.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
        if isinstance(piece, str):
            raise InputError(f"{upload.name} is open as text.", hint="Open it in binary mode, 'rb'.")
        if not piece:
            break
        left = None if left is None else left - len(piece)
        yield piece
    if left:
        raise InputError(f"{upload.name} became shorter while it was sent.", hint="Send it again.")


def _quoted(name: str) -> str:
    """A file name within quotes, as browsers write it (HTML, 'multipart/form-data encoding algorithm')."""
    with suppress(UnicodeEncodeError):
        name.encode()
        return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    return _quoted(name.encode(errors="replace").decode())
