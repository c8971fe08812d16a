"""Tar shards: the audio of many utterances in a few large files, with a manifest and an index.

A folder of shards holds `shard-000000.tar`, ... (USTAR, uncompressed, members in the order of the manifest, no times,
no owners, so that equal input gives equal bytes), beside each an index `shard-000000.tar.json` with the position of
every member, `manifest.jsonl` whose `audio` is `tar:shard-000000.tar!00000000.flac`, and `shards.json` with the SHA-256
of every shard. Everything that reads audio reads such a manifest; `harken.data.shard_stream` reads it in sequence.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

from harken.core import HarkenError, InputError, MissingPart, Utterance
from harken.core.files import replacing, sha256_file, write_json, write_text
from harken.core.units import samples_to_seconds
from harken.data.importers import Rejection
from harken.data.manifest import iterate_manifest, write_manifest
from harken.data.manifest_line import local_file
from harken.data.shard_index import LAYOUT, index_path, member_table, read_index, scan_members
from harken.data.threads import map_in_order

ShardFormat = Literal["keep", "flac"]

LISTING = "shards.json"
MANIFEST = "manifest.jsonl"
_SHARDS = "shard-" + 6 * "[0-9]" + ".tar"
_MEMBER = re.compile(r"\d{8}\.[a-z0-9]+")
_BLOCK = 512  # bytes of a tar header, and the unit members are padded to


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSet:
    """What was written: utterances of the new manifest, what could not be used, how many shards were there already."""

    utterances: tuple[Utterance, ...]
    rejected: tuple[Rejection, ...]
    shards: int
    reused: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """The audio of one utterance, ready for a shard; `duration_s` and `offset_s` are those in the new manifest."""

    suffix: str
    data: bytes
    offset_s: float
    duration_s: float


def write_shards(
    utterances: Sequence[Utterance],
    out: str | Path,
    *,
    shard_bytes: int = 500_000_000,
    encoding: ShardFormat = "keep",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ShardSet:
    """Write shards of about `shard_bytes` (the last member may lead over it) with manifest and index into `out`.

    "keep" copies each file as it is; an utterance that is a part of a long recording brings the whole recording, stored
    once a shard. "flac" cuts parts out and stores 16-bit FLAC of one channel at the file's own rate.

    A shard appears under its name when it is whole. Run again after an interruption: shards whose utterances, sources
    (name, size, time of change) and settings are the same are kept, others are written anew. Raises InputError without
    utterances and where none can be used, for a folder with files of these names that are not Harken's, and where the
    shards there hold audio whose source is gone. `out` is as it was then.
    """
    if shard_bytes < 1:
        raise InputError(f"shard_bytes is {shard_bytes}.", hint="Use 1 or more.")
    if encoding not in ("keep", "flac"):
        raise InputError(f"encoding is {encoding!r}.", hint="Use keep or flac.")
    if not utterances:
        raise InputError("There are no utterances to write into shards.", hint="Import or select some first.")
    if len({utterance.id for utterance in utterances}) < len(utterances):
        raise InputError("Two utterances have the same id.", hint="Give every utterance an id of its own.")
    out = Path(out)
    _prepare(out, utterances)
    reports: list[dict[str, Any]] = []
    reused = position = 0
    while position < len(utterances):
        path = out / f"shard-{len(reports):06d}.tar"
        report = _finished(path, utterances, position, shard_bytes, encoding)
        if report is None:
            report = _write_shard(path, utterances, position, shard_bytes, encoding, threads)
        else:
            reused += 1
        reports.append(report)
        position = report["last"] + 1
        if progress:
            progress(position, len(utterances))
    return _finish(out, utterances, reports, reused, shard_bytes, encoding)


def verify_shards(folder: str | Path) -> list[str]:
    """What is wrong with a folder of shards, each a sentence; an empty list means every byte is as it was written.

    Raises InputError where there is no shards.json.
    """
    folder = Path(folder)
    listing = read_listing(folder)
    problems = []
    for shard in listing["shards"]:
        path = folder / shard["name"]
        if not path.is_file():
            problems.append(f"{shard['name']} is missing")
        elif path.stat().st_size != shard["bytes"]:
            problems.append(f"{shard['name']} has {path.stat().st_size:,} bytes, not {shard['bytes']:,}")
        elif sha256_file(path) != shard["sha256"]:
            problems.append(f"{shard['name']} has changed: its SHA-256 is another one")
        elif (index := read_index(path)) is None or index["bytes"] != shard["bytes"]:
            problems.append(f"{index_path(path).name} is missing or damaged")
        elif member_table(path) != scan_members(path):
            problems.append(f"{index_path(path).name} does not fit {shard['name']}")
    manifest = folder / MANIFEST
    if not manifest.is_file() or sha256_file(manifest) != listing["manifest_sha256"]:
        problems.append(f"{MANIFEST} is missing or has changed")
    return problems


def read_listing(folder: Path) -> dict[str, Any]:
    """The content of a folder's shards.json. Raises InputError where there is none, or one of something else."""
    if not folder.is_dir():
        wrong = "is a file, not a folder of shards" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {wrong}.", hint="Name a folder that `harken data shard` has written.")
    hint = "Write it with `harken data shard`."
    try:
        listing = json.loads((folder / LISTING).read_bytes())
    except OSError as err:
        raise InputError(f"{folder} has no readable {LISTING}: {(err.strerror or '').lower()}.", hint=hint) from err
    except ValueError as err:
        raise InputError(f"{folder} has no readable {LISTING}: it is not JSON.", hint=hint) from err
    if not (isinstance(listing, dict) and listing.get("layout") == LAYOUT and _is_whole(listing)):
        raise InputError(f"{folder / LISTING} is damaged, or of another layout.", hint="Write the shards again.")
    return listing


def _is_whole(listing: Mapping[str, Any]) -> bool:
    shards = listing.get("shards")
    return (
        isinstance(listing.get("manifest_sha256"), str)
        and isinstance(shards, list)
        and all(isinstance(shard, dict) and {"name", "bytes", "sha256"} <= shard.keys() for shard in shards)
    )


def _prepare(out: Path, utterances: Sequence[Utterance]) -> None:
    """Make the folder ready, and refuse one where something of the user's would be lost."""
    folder = Path(os.path.abspath(out))  # noqa: PTH100 - links stay
    if "!" in str(folder):
        raise InputError(f"{folder} has a '!' in its name, which ends the shard in a tar: URL.", hint="Rename it.")
    _refuse_strangers(out)
    packed = {utterance.id for utterance in iterate_manifest(out / MANIFEST)} if (out / MANIFEST).exists() else set()
    for utterance in utterances:
        file = local_file(utterance.audio)
        if file is None:
            continue
        if utterance.audio.startswith("tar:") and file.parent == folder:
            raise InputError(f"{utterance.id!r} is in a shard of {out} itself.", hint="Choose another folder.")
        if utterance.id in packed and not file.exists():
            raise InputError(
                f"{file} is gone, and the shards in {out} hold the audio of {utterance.id!r}.",
                hint="Choose another folder, or use the shards as they are.",
            )
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob(".shard-*.tar.*.tmp"):  # of a process that was killed
        path.unlink()


def _refuse_strangers(out: Path) -> None:
    """Refuse files that would be overwritten and that Harken did not write."""
    ours = False
    if (out / LISTING).exists():
        try:
            ours = bool(read_listing(out))
        except InputError as err:
            raise InputError(
                f"{out} has a {LISTING} that is damaged or not Harken's.", hint="Choose another folder, or remove it."
            ) from err
    for path in sorted(out.glob(_SHARDS)):
        if read_index(path) is None and not _is_ours(path):
            raise InputError(f"{path} is no shard of Harken's.", hint="Choose another folder, or remove it.")
        ours = True
    if (out / MANIFEST).exists() and not ours:
        raise InputError(f"{out} has a {MANIFEST} that is not of shards.", hint="Choose another folder.")


def _is_ours(shard: Path) -> bool:
    """Whether a tar file without index is a shard whose writing was broken off before the index."""
    try:
        return all(_MEMBER.fullmatch(name) for name in scan_members(shard))
    except (InputError, OSError):
        return False


def _outdate(out: Path) -> None:
    """Take away what speaks for the whole folder, before the shards in it change."""
    for name in (LISTING, MANIFEST):
        (out / name).unlink(missing_ok=True)


def _write_shard(
    path: Path, utterances: Sequence[Utterance], first: int, shard_bytes: int, encoding: str, threads: int | None
) -> dict[str, Any]:
    """Write one shard and its index; the index comes last and says that the shard is whole."""
    rows: list[dict[str, Any]] = []
    members: list[tuple[str, int, int]] = []
    rejected: list[tuple[str, str]] = []
    stored: dict[str, str] = {}
    last, full, sources = first, False, hashlib.sha256()
    with (
        replacing(path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for number, member in _members(utterances, first, encoding, stored, threads):
            utterance = utterances[number]
            sources.update(_fingerprint(utterance))
            last = number
            if isinstance(member, str):
                rejected.append((utterance.id, member))
                continue
            name = stored.get(utterance.audio) or f"{number:08d}{member.suffix}"
            if utterance.audio not in stored:
                members.append((name, archive.offset + _BLOCK, len(member.data)))
                _add(archive, name, member.data)
                if encoding == "keep":
                    stored[utterance.audio] = name
            rows.append({"position": number, "name": name, "offset_s": member.offset_s, "seconds": member.duration_s})
            if full := archive.offset >= shard_bytes:
                break
        if first == 0 and not rows:  # and so the end: only members fill a shard
            raise InputError(
                f"None of the {len(utterances)} utterances could be used; {rejected[0][0]}: {rejected[0][1]}",
                hint="Nothing was written.",
            )
        _outdate(path.parent)
        index_path(path).unlink(missing_ok=True)
    report = {
        "layout": LAYOUT,
        "encoding": encoding,
        "shard_bytes": shard_bytes,
        "first": first,
        "last": last,
        "full": full,
        "sources_sha256": sources.hexdigest(),
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        "members": members,
        "utterances": rows,
        "rejected": rejected,
    }
    # One line: it is for programs, and a shard may have ten thousand members.
    write_text(index_path(path), json.dumps(report, ensure_ascii=False, separators=(",", ":")) + "\n")
    return report


def _members(
    utterances: Sequence[Utterance], first: int, encoding: str, stored: Mapping[str, str], threads: int | None
) -> Iterator[tuple[int, _Member | str]]:
    """(position, member or why there is none), from `first` on."""

    def load(number: int) -> _Member | str:
        utterance = utterances[number]
        try:
            return _as_flac(utterance) if encoding == "flac" else _as_it_is(utterance, stored)
        except MissingPart:
            raise
        except (HarkenError, OSError) as err:
            return str(err)

    # Copies are made one by one: a recording must not be read again for each of its parts, nor ten of them be held.
    yield from map_in_order(load, range(first, len(utterances)), threads=threads if encoding == "flac" else 1)


def _as_it_is(utterance: Utterance, stored: Mapping[str, str]) -> _Member:
    from harken.audio.decode import probe_audio
    from harken.audio.limits import DEFAULT_LIMITS
    from harken.audio.source import open_source

    place = {"offset_s": utterance.offset_s, "duration_s": utterance.duration_s}
    if utterance.audio in stored:
        return _Member(suffix="", data=b"", **place)
    with open_source(utterance.audio, DEFAULT_LIMITS) as source:
        data = source.read_at(0, source.size)
    # What is no audio shall not hide in a shard.
    probe_audio(data if local_file(utterance.audio) is None else utterance.audio)
    suffix = PurePath(utterance.audio.rpartition("!")[2]).suffix.lower()
    plain = suffix.isascii() and suffix[1:].isalnum() and len(suffix) < 10
    return _Member(suffix=suffix if plain else ".audio", data=data, **place)


def _as_flac(utterance: Utterance) -> _Member:
    import numpy as np
    import soundfile

    from harken.audio.decode import decode_native

    samples, rate = decode_native(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    waveform = samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)
    # Scaled here because libsndfile's own scaling of floats does not give back the 16-bit samples they came from.
    whole = np.clip(np.rint(waveform * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
    packed = io.BytesIO()
    soundfile.write(packed, whole, rate, format="FLAC", subtype="PCM_16")
    seconds = samples_to_seconds(len(whole), sample_rate_hz=rate)
    return _Member(suffix=".flac", data=packed.getvalue(), offset_s=0.0, duration_s=seconds)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)  # its time, owner and group are 0 and empty by default
    header.size = len(data)
    header.mode = 0o644
    archive.addfile(header, io.BytesIO(data))


def _fingerprint(utterance: Utterance) -> bytes:
    """What decides the bytes of an utterance's member, without reading it."""
    facts: list[Any] = [utterance.id, utterance.audio, utterance.offset_s, utterance.duration_s]
    path = local_file(utterance.audio)
    if path is not None and path.is_file():
        status = path.stat()
        facts += [status.st_size, status.st_mtime_ns]
    return (json.dumps(facts) + "\n").encode()


def _finished(
    path: Path, utterances: Sequence[Utterance], first: int, shard_bytes: int, encoding: str
) -> dict[str, Any] | None:
    """The report of a shard that is whole and made of these utterances, else None."""
    report = read_index(path)
    try:
        if report is None or path.stat().st_size != report["bytes"]:
            return None
        if (report["encoding"], report["shard_bytes"], report["first"]) != (encoding, shard_bytes, first):
            return None
        sources = hashlib.sha256()
        for utterance in utterances[first : report["last"] + 1]:
            sources.update(_fingerprint(utterance))
        ended = report["full"] or report["last"] == len(utterances) - 1
        return report if ended and sources.hexdigest() == report["sources_sha256"] else None
    except (OSError, KeyError, TypeError):
        return None


def _finish(
    out: Path,
    utterances: Sequence[Utterance],
    reports: Sequence[dict[str, Any]],
    reused: int,
    shard_bytes: int,
    encoding: str,
) -> ShardSet:
    """Write the manifest and shards.json, and take away shards of an earlier, longer set."""
    _outdate(out)
    kept: list[Utterance] = []
    shards = []
    for number, report in enumerate(reports):
        path = Path(os.path.abspath(out)) / f"shard-{number:06d}.tar"  # noqa: PTH100 - links stay
        kept += [
            replace(
                utterances[row["position"]],
                audio=f"tar:{path}!{row['name']}",
                offset_s=row["offset_s"],
                duration_s=row["seconds"],
            )
            for row in report["utterances"]
        ]
        facts = {"name": path.name, "bytes": report["bytes"], "sha256": report["sha256"]}
        shards.append({**facts, "members": len(report["members"]), "utterances": len(report["utterances"])})
    for path in sorted(out.glob("shard-*.tar"))[len(reports) :]:
        if read_index(path) is not None:
            path.unlink()
            index_path(path).unlink()
    write_manifest(out / MANIFEST, kept)
    listing = {"layout": LAYOUT, "encoding": encoding, "shard_bytes": shard_bytes, "utterances": len(kept)}
    write_json(
        out / LISTING,
        {
            **listing,
            "seconds": round(sum(utterance.duration_s for utterance in kept), 3),
            "manifest_sha256": sha256_file(out / MANIFEST),
            "shards": shards,
        },
    )
    rejected = tuple(Rejection(item=name, reason=why) for report in reports for name, why in report["rejected"])
    return ShardSet(
        utterances=tuple(kept),
        rejected=rejected,
        shards=len(shards),
        reused=reused,
        total_bytes=sum(shard["bytes"] for shard in shards),
    )
