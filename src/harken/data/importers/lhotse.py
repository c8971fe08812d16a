"""Lhotse manifests: recordings with supervisions, or cuts, as JSON Lines. Read as data; lhotse is not needed.

Lhotse lets a manifest hold shell commands and lazily applied effects. Commands are never run, and audio that only
exists after an effect is not the audio in the file, so both are rejected.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, measure_candidates
from harken.data.manifest import open_lines

_ENDINGS = (".jsonl", ".jsonl.gz")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifests:
    """Either a file of cuts, or one of recordings with the supervisions that belong to it (None: there are none)."""

    part: str
    cuts: Path | None = None
    recordings: Path | None = None
    supervisions: Path | None = None


def import_lhotse(
    source: Path,
    *,
    reject: RejectFunction,
    root: str | Path | None = None,
    probe: bool = True,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of a file of cuts, or of a folder with `*recordings*` and `*supervisions*` files (or `*cuts*` files).

    Each supervision gives one utterance; a recording or cut that has none gives one without text. Where a folder has
    both forms, the recordings and supervisions are read. Relative audio paths are taken from `root` (default: the
    manifest's folder). `tags` hold the part the file name gives (`mini_recordings_dev.jsonl.gz`: "mini_dev") and the
    gender; `custom` is kept. `probe=False` believes the durations. Rejected are recordings made by commands, in
    memory, remote, with effects, of several channels (the manifest of Harken has no channel), mixed and padded cuts,
    broken lines and unusable files. Raises InputError where there are no such manifests.
    """
    sets = _find(source)

    def candidates() -> Iterator[Candidate]:
        for manifests in sets:
            if manifests.cuts is not None:
                folder = Path(root).absolute() if root is not None else manifests.cuts.parent
                yield from _from_cuts(manifests.cuts, manifests.part, folder, reject)
            elif manifests.recordings is not None:
                folder = Path(root).absolute() if root is not None else manifests.recordings.parent
                yield from _from_recordings(manifests.recordings, manifests, folder, reject)

    yield from measure_candidates(candidates(), reject=reject, probe=probe, threads=threads)


def _from_recordings(path: Path, manifests: _Manifests, folder: Path, reject: RejectFunction) -> Iterator[Candidate]:
    recordings = {str(record["id"]): record for _, record in _records(path, ("id",), reject)}
    used: set[str] = set()
    if manifests.supervisions is not None:
        for item, supervision in _records(manifests.supervisions, ("id", "recording_id", "start", "duration"), reject):
            recording = recordings.get(str(supervision["recording_id"]))
            if recording is None:
                reject(item, f"{path.name} has no recording {supervision['recording_id']!r}")
                continue
            used.add(str(supervision["recording_id"]))
            yield from _candidate(item, supervision, recording, 0.0, manifests.part, folder, reject)
    for name, recording in recordings.items():
        if name not in used:
            yield from _candidate(name, {"id": name}, recording, 0.0, manifests.part, folder, reject)


def _from_cuts(path: Path, part: str, folder: Path, reject: RejectFunction) -> Iterator[Candidate]:
    for item, cut in _records(path, ("id",), reject):
        recording = cut.get("recording")
        if cut.get("type", "MonoCut") not in ("MonoCut", "MultiCut") or not isinstance(recording, dict):
            reject(item, f"it is a {cut.get('type', 'cut without a recording')}; only cuts of one recording are read")
            continue
        start_s = cut.get("start", 0.0)
        if not _is_number(start_s):
            reject(item, f"its start is {start_s!r}, not a number")
            continue
        supervisions = cut.get("supervisions") or []
        if not supervisions:
            whole = {"id": cut["id"], "start": 0.0, "duration": cut.get("duration")}
            yield from _candidate(item, whole, recording, start_s, part, folder, reject)
        for supervision in supervisions:
            yield from _candidate(item, supervision, recording, start_s, part, folder, reject)


def _candidate(
    item: str, supervision: Record, recording: Record, shift_s: float, part: str, folder: Path, reject: RejectFunction
) -> Iterator[Candidate]:
    """The candidate of a supervision whose times count from `shift_s` of the recording, or none after rejecting it."""
    item = f"{item} {supervision.get('id', '')}".strip()
    reason = _audio_problem(recording) or _time_problem(supervision)
    if reason:
        reject(item, reason)
        return
    duration_s = supervision.get("duration")
    start_s = float(supervision.get("start", 0.0)) + shift_s
    # Supervisions of a trimmed cut may begin a little before it, and before the file at a cut that starts at 0.
    offset_s = max(start_s, 0.0)
    tags = {"part": part} if part else {}
    if isinstance(supervision.get("gender"), str):
        tags["gender"] = supervision["gender"]
    yield Candidate(
        item=item,
        id=str(supervision["id"]),
        audio=folder / recording["sources"][0]["source"],
        text=_text_or_none(supervision.get("text")),
        offset_s=offset_s,
        duration_s=None if duration_s is None else float(duration_s) + min(start_s, 0.0),
        speaker=_text_or_none(supervision.get("speaker")),
        language=_text_or_none(supervision.get("language")),
        recording=_text_or_none(recording.get("id")),
        tags=tags,
        extra={"custom": supervision["custom"]} if supervision.get("custom") else {},
    )


def _audio_problem(recording: Record) -> str:
    """Why the audio of a recording cannot be used, or ""."""
    sources = recording.get("sources")
    if not isinstance(sources, list) or not sources or not all(isinstance(source, dict) for source in sources):
        return "its recording names no audio"
    kind, where = sources[0].get("type"), sources[0].get("source")
    if kind == "command":
        return "its audio comes from a command, and Harken never runs commands found in data"
    if kind != "file" or not isinstance(where, str) or not where or "://" in where:
        return f"its audio is of type {kind!r}, not a file on this machine"
    if recording.get("transforms"):
        return "its recording has effects applied while reading; save the audio with lhotse first"
    channels = [channel for source in sources for channel in source.get("channels") or [0]]
    if len(channels) > 1:
        return f"its recording has {len(channels)} channels; save each as a file of its own first"
    return ""


def _time_problem(supervision: Record) -> str:
    if not supervision.get("id"):
        return "it has no id"
    for key in ("start", "duration"):
        value = supervision.get(key, 0.0)
        if value is not None and not _is_number(value):
            return f"its {key} is {value!r}, not a number"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _records(path: Path, keys: tuple[str, ...], reject: RejectFunction) -> Iterator[tuple[str, Record]]:
    """(file:line, record) of each line that is an object with all `keys`; the others are rejected."""
    with open_lines(path) as file:
        for number, raw in enumerate(file, 1):
            item = f"{path.name}:{number}"
            try:
                record = json.loads(raw) if raw.strip() else None
            except (ValueError, RecursionError) as err:
                reject(item, f"not JSON: {err}")
                continue
            if isinstance(record, dict) and all(key in record for key in keys):
                yield item, record
            elif record is not None:
                reject(item, f"it is not an object with {', '.join(keys)}")


def _find(source: Path) -> list[_Manifests]:
    if source.is_file():
        if not source.name.endswith(_ENDINGS):
            raise InputError(f"{source} is not a .jsonl or .jsonl.gz file.", hint="Save the cuts with CutSet.to_file.")
        return [_Manifests(part="", cuts=source)]
    if not source.exists():
        raise InputError(f"{source} does not exist.", hint="Check the path.")
    files = sorted(path for path in source.iterdir() if path.name.endswith(_ENDINGS))
    found = [
        _Manifests(part=_part(path, "recordings"), recordings=path, supervisions=_partner(path, files))
        for path in files
        if "recordings" in path.name
    ]
    found = found or [_Manifests(part=_part(path, "cuts"), cuts=path) for path in files if "cuts" in path.name]
    if not found:
        raise InputError(
            f"{source} has no *recordings*.jsonl or *cuts*.jsonl files.",
            hint="Give the folder lhotse wrote its manifests to, or one file of cuts.",
        )
    return found


def _partner(recordings: Path, files: list[Path]) -> Path | None:
    """The supervisions of a recordings file: the same name but for that word, compressed or not."""
    wanted = _stem(recordings).replace("recordings", "supervisions")
    return next((path for path in files if _stem(path) == wanted), None)


def _part(path: Path, word: str) -> str:
    return "_".join(piece for piece in _stem(path).replace(word, "_").split("_") if piece.strip("-."))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")
