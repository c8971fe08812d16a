"""JSON Lines files that grow: whole lines or nothing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harken.core import InputError


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one line with a single write that reaches the operating system before this returns.

    A process killed afterwards loses nothing. On an error (OSError, a full disk) the part that was written is taken
    back, so that the next line does not continue it.
    """
    line = (json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(handle).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(handle, line[written:])
        except BaseException:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset of the line in bytes, its object) for each line; a torn last line is left out, no file is no lines.

    Raises InputError that names file and line for one in the middle that is not a JSON object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    offset = 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        whole = line.endswith(b"\n")
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"it holds {type(value).__name__}, not an object")
        except ValueError as err:
            if not whole:
                return
            raise InputError(f"{path}:{number}: not a line this program wrote: {err}.") from err
        yield offset, value
        offset += len(line)


def repair_tail(path: Path) -> int:
    """Remove what a killed process left of a line at the end of the file. Returns the number of bytes removed.

    A last line that lacks only its line end gets it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    end = data.rfind(b"\n") + 1
    tail = data[end:]
    if not tail:
        return 0
    with open(path, "r+b") as file:
        if _is_object(tail):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
            return 0
        file.truncate(end)
    return len(tail)


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False
