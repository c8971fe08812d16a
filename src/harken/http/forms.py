"""Forms of requests, read piece by piece: text in memory, files on disk, and bounds on all forms together.

However many files a form has, one of them is open at a time, and what waits to be written is a few hundred KiB.
"""

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from harken.core import InputError
from harken.core.units import format_bytes
from harken.http.bodies import BodySettings
from harken.http.errors import Overloaded, Unavailable

LONGEST_FILENAME = 255
_KIND = "multipart/form-data"
_RETRY_S = 5.0
_PENDING_BYTES = 256 * 1024
_PENDING_PIECES = 1024

log = logging.getLogger(__name__)


class TooManyForms(Overloaded):
    """The forms that are being read or used take all the room there is for them (503)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLimits:
    """What one form may have: so many files, so many text fields, so many bytes in one and in all of these."""

    files: int = 1
    fields: int = 256
    field_bytes: int = 64 * 1024
    text_bytes: int = 256 * 1024


@dataclass(slots=True, kw_only=True, eq=False)
class FormFile:
    """A file part on disk, under a random name. `filename` is what the client calls it: the end of it, to be shown."""

    filename: str
    path: Path
    size: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """The values of each name, in order."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[FormFile]] = field(default_factory=dict)


class FormRoom:
    """What all forms of a server take at a moment: their number, and the bytes of their files on disk."""

    def __init__(self, settings: BodySettings) -> None:
        self._most_forms, self._most_bytes = settings.forms, settings.form_bytes
        self.forms = 0
        self.bytes = 0

    @contextmanager
    def share(self) -> Iterator["FormShare"]:
        """The part of one form. Raises TooManyForms where there is no room for another."""
        if self.forms >= self._most_forms:
            raise TooManyForms("Too many uploads are under way.", hint="Send it again later.", retry_after_s=_RETRY_S)
        share = FormShare(self)
        self.forms += 1
        try:
            yield share
        finally:
            self.forms -= 1
            self.bytes -= share.bytes

    def take(self, size: int) -> None:
        if self.bytes + size > self._most_bytes:
            raise TooManyForms(
                "The uploads under way fill the room for them.", hint="Send it again later.", retry_after_s=_RETRY_S
            )
        self.bytes += size


class FormShare:
    """What one form takes of the room, until its context ends."""

    def __init__(self, room: FormRoom) -> None:
        self._room = room
        self.bytes = 0

    def take(self, size: int) -> None:
        """Raises TooManyForms where so many bytes more do not fit."""
        self._room.take(size)
        self.bytes += size


@asynccontextmanager
async def read_form(request: Request, folder: Path, limits: FormLimits) -> AsyncIterator[Form]:
    """The form a request carries. Its files are in `folder`, for as long as the context lasts.

    Raises InputError for what is no form, is damaged, or has more than it may; TooManyForms, and Unavailable where the
    disk takes no more. The app's state holds the FormRoom.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    room: FormRoom = request.app.state.forms
    with room.share() as share:
        files = _Files(folder)
        reader = _Reader(limits, files, share)
        try:
            await reader.read(request, boundary)
            yield reader.form
        finally:
            # A second cancel ends the waiting, not the removing.
            removal = asyncio.get_running_loop().run_in_executor(None, files.remove)
            with anyio.CancelScope(shield=True):
                await asyncio.shield(removal)


class _Files:
    """Files of a form on disk. Written in threads, removed in another, which may have to wait for the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._removed = False
        self._names: list[str] = []

    def new(self, filename: str) -> FormFile:
        self._names.append(secrets.token_hex(16))
        return FormFile(filename=filename[-LONGEST_FILENAME:], path=self._folder / self._names[-1])

    def write(self, pieces: list[tuple[FormFile, bytes]]) -> None:
        with self._lock:
            if self._removed:
                return
            try:
                for file, parts in groupby(pieces, key=itemgetter(0)):
                    with open(file.path, "ab", opener=_private) as target:
                        target.writelines(part for _, part in parts)
            except OSError as err:
                log.error("an upload cannot be written to %s: %s", self._folder, err)
                raise Unavailable("There is no room for uploads.", hint="Come again later.", retry_after_s=60) from err

    def remove(self) -> None:
        with self._lock:
            self._removed = True
            for name in self._names:
                (self._folder / name).unlink(missing_ok=True)


class _Reader:
    """Takes what the parser finds, and hands files on to the disk."""

    def __init__(self, limits: FormLimits, files: _Files, share: FormShare) -> None:
        self.form = Form()
        self._limits, self._files, self._share = limits, files, share
        self._header = self._value = self._disposition = b""
        self._name = ""
        self._text: bytearray | None = None
        self._file: FormFile | None = None
        self._is_open = False
        self._fields = self._file_count = self._text_bytes = 0
        self._pending: list[tuple[FormFile, bytes]] = []
        self._pending_bytes = 0

    async def read(self, request: Request, boundary: bytes) -> None:
        try:
            parser = self._parser(boundary)
            async for chunk in request.stream():
                parser.write(chunk)
                if self._pending_bytes >= _PENDING_BYTES or len(self._pending) >= _PENDING_PIECES:
                    await self._flush()
        except FormParserError as err:
            raise InputError("The form cannot be read.", hint="Check the boundaries of its parts.") from err
        if self._is_open:
            raise InputError("The form ends within a part.", hint="Send all of it, with its last boundary.")
        await self._flush()

    async def _flush(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        if pieces:
            await asyncio.to_thread(self._files.write, pieces)

    def _parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    def _begin(self) -> None:
        self._is_open = True
        self._header = self._value = self._disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InputError("A part of the form has no name.", hint="Give each a Content-Disposition with a name.")
        self._name = _decoded(options[b"name"])
        if b"filename" in options:
            self._file_count += 1
            _at_most(self._limits.files, self._file_count, "files")
            self._text, self._file = None, self._files.new(options[b"filename"].decode(errors="replace"))
            self._pending.append((self._file, b""))  # an empty file is one, too
        else:
            self._fields += 1
            _at_most(self._limits.fields, self._fields, "fields")
            self._text, self._file = bytearray(), None
            self._count_text(len(self._name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._file is not None:
            self._share.take(size)
            self._file.size += size
            self._pending.append((self._file, data[start:end]))
            self._pending_bytes += size
        elif self._text is not None:
            self._count_text(size)
            if len(self._text) + size > self._limits.field_bytes:
                problem = f"A text field has more than {format_bytes(self._limits.field_bytes)}."
                raise InputError(problem, hint="Send less, or audio as a file part.")
            self._text += data[start:end]

    def _end(self) -> None:
        self._is_open = False
        if self._file is not None:
            self.form.files.setdefault(self._name, []).append(self._file)
        elif self._text is not None:
            self.form.texts.setdefault(self._name, []).append(_decoded(bytes(self._text)))

    def _count_text(self, size: int) -> None:
        self._text_bytes += size
        if self._text_bytes > self._limits.text_bytes:
            problem = f"The text fields have more than {format_bytes(self._limits.text_bytes)} together."
            raise InputError(problem, hint="Send less, or audio as a file part.")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind.lower() != _KIND.encode():
        shown = content_type.partition(";")[0].strip()[:100]
        raise InputError(f"The Content-Type is {shown!r}.", hint=f"Send {_KIND}.")
    if not options.get(b"boundary"):
        raise InputError("The Content-Type names no boundary.", hint=f"Send {_KIND}; boundary=...")
    return options[b"boundary"]


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as err:
        raise InputError("A text field is not UTF-8.", hint="Send UTF-8.") from err


def _at_most(most: int, count: int, what: str) -> None:
    if count > most:
        raise InputError(f"Too many {what}: the form has more than {most}.", hint="Send fewer at once.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
