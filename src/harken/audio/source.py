"""Where audio comes from: a path, bytes in memory, a URL, or a member of a tar shard, behind one small face."""

import io
import os
import stat
import tarfile
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from harken.audio.limits import AudioDecodeError, DecodeLimits, check_size
from harken.core.units import format_bytes

_REMOTE_SCHEMES = ("http", "https", "s3", "gs", "az")
# O_NONBLOCK: opening a named pipe must not wait for somebody to write into it. O_BINARY exists on Windows only.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class AudioSource:
    """Bytes of one audio file, readable at any position; a context manager.

    Either an open file (`handle`) or bytes in memory. The file is opened once, so what was examined is what gets
    decoded even when somebody replaces the file meanwhile.
    """

    __slots__ = ("_data", "handle", "name", "size")

    def __init__(self, name: str, *, data: bytes | None = None, handle: int | None = None, size: int) -> None:
        self.name = name
        self.size = size
        self.handle = handle
        self._data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer at the end of the file."""
        if self._data is not None:
            return self._data[offset : offset + count]
        assert self.handle is not None
        try:
            return _read_at(self.handle, offset, count)
        except OSError as err:
            raise AudioDecodeError(
                f"{self.name} cannot be read at byte {offset:,}: {err.strerror}.", hint="Check the disk or the mount."
            ) from err

    def open_file(self) -> BinaryIO:
        """A seekable file object at position 0, for libraries that want one. Do not use two at a time."""
        if self._data is not None:
            return io.BytesIO(self._data)
        assert self.handle is not None
        file = open(self.handle, "rb", closefd=False)  # noqa: SIM115 - the caller closes it
        file.seek(0)
        return file


def open_source(source: str | Path | bytes, limits: DecodeLimits) -> AudioSource:
    """Open a path, bytes, `file://`, `http(s)://`, `s3://`, `gs://`, `az://` or `tar:shard.tar!member`.

    Raises AudioDecodeError for what is missing, unreadable, not a file, empty, or over `limits.max_bytes`, and
    MissingPart when a remote store cannot be reached.
    """
    if isinstance(source, bytes):
        check_size("audio in memory", len(source), limits)
        return AudioSource(f"audio in memory ({format_bytes(len(source))})", data=source, size=len(source))
    text = os.fspath(source)
    if isinstance(source, str):
        if text.startswith("tar:"):
            return _open_tar_member(text, limits)
        if "://" in text:
            return _open_url(text, limits)
    return _open_path(text, limits)


def printable(name: str) -> str:
    """A name as it may appear in a message or a log line: control characters become escapes."""
    return name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode("ascii")


def _open_path(path: str, limits: DecodeLimits) -> AudioSource:
    name = printable(path)
    try:
        handle = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError as err:
        raise AudioDecodeError(f"{name or 'An empty path'} does not exist.", hint="Check the path.") from err
    except PermissionError as err:
        raise AudioDecodeError(
            f"{name} may not be read by this user ({err.strerror}).", hint="Change its permissions."
        ) from err
    except (OSError, ValueError) as err:  # ValueError: a NUL byte in the path
        reason = err.strerror if isinstance(err, OSError) else err
        raise AudioDecodeError(f"{name} cannot be opened: {reason}.", hint="Check the path.") from err
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise AudioDecodeError(f"{name} is a folder, not an audio file.", hint="Name a file inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise AudioDecodeError(
                f"{name} is a device or a pipe, not a regular file.", hint="Save the audio to a file first."
            )
        check_size(name, status.st_size, limits)
    except BaseException:
        os.close(handle)
        raise
    return AudioSource(name, handle=handle, size=status.st_size)


def _open_url(url: str, limits: DecodeLimits) -> AudioSource:
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise AudioDecodeError(f"{printable(url)} is not a URL: {err}.") from err
    scheme = parts.scheme.lower()
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise AudioDecodeError(
                f"{printable(url)} names the host {printable(parts.netloc)!r}.",
                hint="Write file:///absolute/path for a file on this machine.",
            )
        return _open_path(url2pathname(parts.path), limits)
    if scheme not in _REMOTE_SCHEMES:
        raise AudioDecodeError(
            f"{printable(url)} has the scheme {scheme!r}.",
            hint=f"Use a path or one of: file, {', '.join(_REMOTE_SCHEMES)}, tar:shard.tar!member.",
        )
    from harken.audio.remote import fetch, public_name  # only here: local files need no network code

    name = public_name(url)
    content = fetch(url, limits)
    if isinstance(content, bytes):
        check_size(name, len(content), limits)
        return AudioSource(name, data=content, size=len(content))
    size = os.fstat(content).st_size
    return AudioSource(name, handle=content, size=size)


def _open_tar_member(text: str, limits: DecodeLimits) -> AudioSource:
    name = printable(text)
    shard, mark, member = text.removeprefix("tar:").rpartition("!")
    if not (mark and shard and member) or "://" in shard:
        raise AudioDecodeError(f"{name} does not name a member of a local shard.", hint="Write tar:shard.tar!member.")
    unlimited = DecodeLimits(max_bytes=2**62)  # a shard may be large; its member is what counts
    with _open_path(shard, unlimited) as archive:
        assert archive.handle is not None
        status = os.fstat(archive.handle)
        members = _tar_index(shard, status.st_mtime_ns, status.st_size)
        found = members.get(member) or members.get(f"./{member}")
        if found is None:
            raise AudioDecodeError(
                f"{name}: the shard has {len(members):,} members, none of that name.", hint="Check the name after '!'."
            )
        offset, size = found
        check_size(name, size, limits)
        data = archive.read_at(offset, size)
    if len(data) < size:
        raise AudioDecodeError(
            f"{name} is cut off: {len(data):,} of {size:,} bytes are in the shard.", hint="Copy the shard again."
        )
    return AudioSource(name, data=data, size=size)


@lru_cache(maxsize=32)
def _tar_index(shard: str, modified_ns: int, size: int) -> dict[str, tuple[int, int]]:
    """Member name -> (offset of its bytes, their number); the arguments after the path make a changed shard new."""
    index = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isreg() and member.sparse is None:
                    index[member.name] = (member.offset_data, member.size)
    except tarfile.ReadError as err:
        raise AudioDecodeError(
            f"{printable(shard)} is not an uncompressed tar file: {err}.",
            hint="Write shards without compression; audio inside them is compressed already.",
        ) from err
    return index


def _read_at(handle: int, offset: int, count: int) -> bytes:
    data = os.pread(handle, count, offset)
    if len(data) == count or not data:
        return data
    pieces = [data]  # one call reads at most 2 GiB on Linux, and network mounts may return less
    while (missing := count - sum(map(len, pieces))) > 0 and (
        more := os.pread(handle, missing, offset + count - missing)
    ):
        pieces.append(more)
    return b"".join(pieces)
