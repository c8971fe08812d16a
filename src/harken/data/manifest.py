"""Manifests: JSON Lines files of utterances, the only form in which data enters training and evaluation.

A line is `{"id", "audio", "duration_s", "text", "offset_s"?, "speaker"?, "language"?, "recording"?, "tags"?: {…}}`.
NeMo's names (`audio_filepath`, `duration`, `offset`) are accepted on reading, and such a line may lack an id: it gets
the audio path as written, without its suffix, and `@offset` where the offset is not 0. Whole-number ids and speakers
become text. Keys Harken does not know are kept and written back.

`audio` is a path relative to the manifest's folder, an absolute path, or a URL (`s3://…`, `tar:shard.tar!name`; the
shard of a `tar:` URL is a path like any other). Reading makes paths absolute; writing makes those inside the
manifest's folder relative again, so that a folder can be moved as a whole. `..` is resolved by name, without looking
at links. Files whose name ends in `.gz` are read and written compressed.
"""

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from harken.core import InputError, Utterance
from harken.core.files import replacing
from harken.data.manifest_line import Complaint, decode_line, encode_line

_BOM = b"\xef\xbb\xbf"


class ManifestError(InputError):
    """A manifest that cannot be used. `file`, `line` (from 1, None for the whole file) and `key` say where."""

    def __init__(
        self, message: str, *, file: str | Path, line: int | None = None, key: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = str(file)
        self.line = line
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one manifest line; `key` is "" where the line as a whole is wrong."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.key + ': ' if self.key else ''}{self.message}"


def read_manifest(path: str | Path, *, allow_empty: bool = False) -> list[Utterance]:
    """Every utterance of a manifest, in order, with absolute audio paths.

    Raises ManifestError for a missing or unreadable file, the first bad line (naming file, line and key), an id used
    twice (naming both lines), and, unless `allow_empty`, a manifest without utterances. Audio files are not opened:
    that is validation.
    """
    utterances = []
    lines_by_id: dict[str, int] = {}
    for line, utterance, complaints in scan_manifest(path):
        if utterance is None:
            raise _error(path, line, complaints[0])
        first = lines_by_id.setdefault(utterance.id, line)
        if first != line:
            raise _error(path, line, _duplicate(utterance.id, first))
        utterances.append(utterance)
    if not utterances and not allow_empty:
        raise ManifestError(f"{path} holds no utterances.", file=path, hint="Import or select some data first.")
    return utterances


def iterate_manifest(path: str | Path) -> Iterator[Utterance]:
    """Utterances one by one in constant memory, which is why an id used twice is not noticed here.

    Raises ManifestError like `read_manifest` otherwise; an empty manifest yields nothing.
    """
    for line, utterance, complaints in scan_manifest(path):
        if utterance is None:
            raise _error(path, line, complaints[0])
        yield utterance


def check_manifest(path: str | Path) -> list[Problem]:
    """Everything wrong with the lines of a manifest, in order; an empty list means `read_manifest` takes them all.

    Raises ManifestError only when the file itself cannot be read.
    """
    problems = []
    lines_by_id: dict[str, int] = {}
    for line, utterance, complaints in scan_manifest(path):
        found = list(complaints)
        if utterance is not None:
            first = lines_by_id.setdefault(utterance.id, line)
            if first != line:
                found.append(_duplicate(utterance.id, first))
        problems += [Problem(file=str(path), line=line, key=key, message=message) for key, message in found]
    return problems


def scan_manifest(path: str | Path) -> Iterator[tuple[int, Utterance | None, Sequence[Complaint]]]:
    """Lines as (number, utterance, complaints): an utterance and no complaints, or None and at least one.

    Blank lines are passed over; a byte-order mark and Windows line ends are accepted. Raises ManifestError when the
    file cannot be read.
    """
    folder = os.path.abspath(Path(path).parent)  # noqa: PTH100 - links stay
    with open_lines(Path(path)) as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                raw = raw.removeprefix(_BOM)
            if raw.isspace() or not raw:
                continue
            yield number, *decode_line(raw, folder)


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write utterances as a manifest, all or nothing; returns how many.

    Keys come in a fixed order (unknown ones sorted, at the end) and keys at their default are left out, so equal
    utterances give equal bytes. Raises ManifestError for an id used twice or an extra key that shadows a known one.
    """
    path = Path(path)
    folder = os.path.abspath(path.parent)  # noqa: PTH100 - links stay
    lines_by_id: dict[str, int] = {}
    with replacing(path) as file, _compressor(path, file) as out:
        for line, utterance in enumerate(utterances, 1):
            first = lines_by_id.setdefault(utterance.id, line)
            if first != line:
                raise _error(path, line, _duplicate(utterance.id, first))
            try:
                out.write(encode_line(utterance, folder))
            except (TypeError, ValueError) as err:
                raise ManifestError(
                    f"{utterance.id!r} cannot be written to {path}: {err}.", file=path, line=line
                ) from err
    return len(lines_by_id)


@contextmanager
def open_lines(path: Path) -> Iterator[IO[bytes]]:
    """A file of lines opened for reading, decompressed if it ends in `.gz`; failures become ManifestError."""
    try:
        file = cast(IO[bytes], gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb"))  # noqa: SIM115
    except FileNotFoundError as err:
        raise ManifestError(f"{path} does not exist.", file=path, hint="Check the path.") from err
    except IsADirectoryError as err:
        raise ManifestError(f"{path} is a folder.", file=path, hint="Name the .jsonl file inside it.") from err
    except OSError as err:
        raise ManifestError(f"{path} cannot be opened: {err.strerror or err}.", file=path) from err
    try:
        with file:
            yield file
    except (OSError, EOFError) as err:  # a damaged or truncated .gz, a disk that fails
        raise ManifestError(f"{path} cannot be read: {err}.", file=path) from err


@contextmanager
def _compressor(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:  # no name or time: stable bytes
        yield cast(IO[bytes], packed)


def _duplicate(identifier: str, first: int) -> Complaint:
    return "id", f"{identifier!r} is used already in line {first}; every utterance needs a name of its own"


def _error(path: str | Path, line: int, complaint: Complaint) -> ManifestError:
    key, message = complaint
    return ManifestError(
        f"{Problem(file=str(path), line=line, key=key, message=message)}.",
        file=path,
        line=line,
        key=key,
        hint="`harken data validate` lists every bad line.",
    )
