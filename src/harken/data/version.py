"""Versions of a data set: a lock file with hashes of its manifests and of every audio file.

The lock tells exactly what data was used and, later, what has changed. Paths inside the lock's folder are stored
relative to it, so that data and lock can move together.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harken.core import InputError, Utterance
from harken.core.files import md5_file, sha256_file, write_json
from harken.data.importers import Rejection
from harken.data.manifest import read_manifest
from harken.data.manifest_line import local_file, relative_audio, resolve_audio
from harken.data.threads import map_in_order

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestVersion:
    """One manifest of a version; `path` as in the lock, hashes of the file's bytes."""

    path: str
    md5: str
    sha256: str
    utterances: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """A lock file's content.

    `files` maps each audio file (a path as in the lock) to its SHA-256 and size. `audio_sha256` identifies the set of
    audio contents and `content_sha256` the set of utterances with their audio: neither depends on the order or on
    where the files lie. `remote` lists audio by URL, which is not hashed and counts by its name.
    """

    name: str
    version: str
    content_sha256: str
    audio_sha256: str
    manifests: Mapping[str, ManifestVersion]
    files: Mapping[str, Mapping[str, Any]]
    remote: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCheck:
    """What differs from a lock: audio files by path, manifests by name. `ok` when nothing does."""

    added: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    manifests: tuple[Rejection, ...]

    @property
    def ok(self) -> bool:
        return not (self.added or self.missing or self.changed or self.manifests)


def version_dataset(
    name: str,
    version: str,
    manifests: Mapping[str, str | Path],
    out: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> DatasetVersion:
    """Hash a data set given as part to manifest (`{"train": …, "val": …}`) and write the lock file `out`.

    Files are hashed in pieces by several threads. Raises InputError for no name, no version or no manifest, for a
    manifest that cannot be read, and for audio files that are absent (naming the first ones).
    """
    if not name or not version or not manifests:
        raise InputError("A version needs a name, a version and at least one manifest.", hint="Give all three.")
    out = Path(out)
    folder = os.path.abspath(out.parent)  # noqa: PTH100 - links stay
    parts = {part: (Path(path), read_manifest(path, allow_empty=True)) for part, path in manifests.items()}
    paths, remote = _audio_files(item for _, items in parts.values() for item in items)
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InputError(
            f"{len(absent)} audio files are missing, such as {', '.join(str(path) for path in absent[:3])}.",
            hint="Run `harken data validate` and leave them out.",
        )
    digests = dict(map_in_order(sha256_file, paths, threads=threads))
    record = DatasetVersion(
        name=name,
        version=version,
        content_sha256=_content_hash(parts, digests),
        audio_sha256=_set_hash(set(digests.values())),
        manifests={
            part: ManifestVersion(
                path=relative_audio(str(path), folder),
                md5=md5_file(path),
                sha256=sha256_file(path),
                utterances=len(items),
                duration_s=round(sum(item.duration_s for item in items), 3),
            )
            for part, (path, items) in parts.items()
        },
        files={
            relative_audio(str(path), folder): {"sha256": digest, "bytes": path.stat().st_size}
            for path, digest in digests.items()
        },
        remote=tuple(remote),
        metadata=dict(metadata or {}),
    )
    write_json(out, {"format": FORMAT, **asdict(record)})
    return record


def read_version(lock: str | Path) -> DatasetVersion:
    """The content of a lock file. Raises InputError where it is absent, broken or of a later format."""
    try:
        data = json.loads(Path(lock).read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise InputError(f"{lock} has format {data['format']}, not {FORMAT}.", hint="Use a newer Harken.")
        manifests = {part: ManifestVersion(**entry) for part, entry in data.pop("manifests").items()}
        return DatasetVersion(**{**data, "manifests": manifests, "remote": tuple(data["remote"])})
    except FileNotFoundError as err:
        raise InputError(f"{lock} does not exist.", hint="Check the path.") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(f"{lock} is not a lock file of a data set: {err}.", hint="Make it again.") from err


def verify_version(lock: str | Path, *, threads: int | None = None) -> VersionCheck:
    """Hash again what a lock file lists and tell what is added, missing or changed.

    "Added" are audio files the manifests name now and the lock does not. Raises InputError for a lock that cannot be
    read; a manifest that is gone or broken is reported, not raised.
    """
    record = read_version(lock)
    folder = os.path.abspath(Path(lock).parent)  # noqa: PTH100 - links stay
    manifests = []
    named: set[str] = set()
    for part, entry in record.manifests.items():
        path = Path(resolve_audio(entry.path, folder))
        if not path.is_file():
            manifests.append(Rejection(item=part, reason=f"{path} is missing"))
            continue
        if sha256_file(path) != entry.sha256:
            manifests.append(Rejection(item=part, reason=f"{path} has changed"))
        try:
            paths, _ = _audio_files(read_manifest(path, allow_empty=True))
        except InputError as err:
            manifests.append(Rejection(item=part, reason=err.message))
            continue
        named |= {relative_audio(str(path), folder) for path in paths}

    def digest(path: str) -> str:
        file = Path(resolve_audio(path, folder))
        return sha256_file(file) if file.is_file() else ""

    found = dict(map_in_order(digest, record.files, threads=threads))
    return VersionCheck(
        added=tuple(sorted(named - record.files.keys())),
        missing=tuple(path for path, value in found.items() if not value),
        changed=tuple(path for path, value in found.items() if value and value != record.files[path]["sha256"]),
        manifests=tuple(manifests),
    )


def _audio_files(utterances: Iterable[Utterance]) -> tuple[list[Path], list[str]]:
    """Sorted audio files on this machine, and sorted URLs that are not."""
    audio = {utterance.audio for utterance in utterances}
    local = {name: local_file(name) for name in audio}
    return sorted({path for path in local.values() if path}), sorted(name for name, path in local.items() if not path)


def _content_hash(parts: Mapping[str, tuple[Path, list[Utterance]]], digests: Mapping[Path, str]) -> str:
    lines = set()
    for part, (_, items) in parts.items():
        for item in items:
            path = local_file(item.audio)
            inside = item.audio.partition("!")[2] if item.audio.startswith("tar:") else ""
            audio = item.audio if path is None else digests[path] + inside
            lines.add(json.dumps([part, item.id, audio, item.offset_s, item.duration_s, item.text]))
    return _set_hash(lines)


def _set_hash(lines: set[str]) -> str:
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
