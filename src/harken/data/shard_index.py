"""Where the members of a tar shard are: its index, and reading one member without looking at the others."""

import json
import os
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from harken.core import InputError

LAYOUT = 1
"""Of the index and of shards.json; another number is another meaning."""


def index_path(shard: Path) -> Path:
    """Where the index of a shard is."""
    return shard.with_name(f"{shard.name}.json")


def member_table(shard: Path) -> dict[str, tuple[int, int]]:
    """Member name to (offset of its bytes, their number): from the shard's index, or by reading all headers.

    Raises InputError for a shard that is missing or is no uncompressed tar file.
    """
    try:
        status = shard.stat()
    except OSError as err:
        raise InputError(f"{shard} cannot be read: {err.strerror or err}.", hint="Check the path.") from err
    return _member_table(str(shard), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _member_table(shard: str, size: int, changed_ns: int) -> dict[str, tuple[int, int]]:
    index = read_index(Path(shard))
    if index is None or index["bytes"] != size:
        return scan_members(Path(shard))
    return {name: (offset, count) for name, offset, count in index["members"]}


def scan_members(shard: Path) -> dict[str, tuple[int, int]]:
    """`member_table` without the index: one small read for every member."""
    try:
        with tarfile.open(shard, "r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive if member.isreg()}
    except tarfile.ReadError as err:
        raise InputError(f"{shard} is not an uncompressed tar file: {err}.", hint="Copy or unpack it again.") from err


def read_member(audio: str) -> bytes:
    """The bytes of `tar:/path/shard.tar!name`, read where the index says, without looking at other members.

    Raises InputError for another kind of name, a shard or member that is missing, and a shard that is cut off.
    """
    shard, name = split_tar_name(audio)
    table = member_table(shard)
    if name not in table:
        raise InputError(f"{shard} has no member {name!r}.", hint="Check the name after '!'.")
    with open(shard, "rb") as file:
        return read_at(file, table[name], audio)


def read_at(file: IO[bytes], place: tuple[int, int], name: str) -> bytes:
    """The bytes at (offset, number) of an open shard. Raises InputError, with `name`, where it is cut off."""
    offset, count = place
    data = os.pread(file.fileno(), count, offset)
    while 0 < len(data) < count and (more := os.pread(file.fileno(), count - len(data), offset + len(data))):
        data += more
    if len(data) < count:
        raise InputError(f"{name} is cut off: {len(data):,} of {count:,} bytes are there.", hint="Copy it again.")
    return data


def split_tar_name(audio: str) -> tuple[Path, str]:
    """(shard, member) of `tar:shard.tar!member`. Raises InputError for anything else."""
    shard, mark, name = audio.removeprefix("tar:").rpartition("!")
    if not (audio.startswith("tar:") and mark and shard and name):
        raise InputError(f"{audio} is not a member of a shard.", hint="Shards are written by `harken data shard`.")
    return Path(shard), name


def read_index(shard: Path) -> dict[str, Any] | None:
    """The index of a shard, or None where there is none that can be read."""
    try:
        index = json.loads(index_path(shard).read_bytes())
    except (OSError, ValueError):
        return None
    known = isinstance(index, dict) and index.get("layout") == LAYOUT
    whole = known and isinstance(index.get("bytes"), int) and isinstance(index.get("members"), list)
    return index if whole else None
