"""The last step of every importer: look at the audio, then make an utterance or a rejection that says why not."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.core import HarkenError, InputError, RejectFunction, Utterance
from harken.data.threads import map_in_order

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".webm", ".aif", ".aiff", ".au", ".amr",
     ".caf", ".w64", ".wma", ".sph")
)  # fmt: skip
"""Lower-case endings by which importers find audio in a folder; whether a file really is audio, decoding decides."""

END_TOLERANCE_S = 0.05
"""How far a segment may reach past the end of its file; segmenters round, and such a segment is cut at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An utterance to be, before its audio has been looked at.

    `item` is its name in a rejection. `duration_s` None means from `offset_s` to the end of the file.
    """

    item: str
    id: str
    audio: Path
    text: str | None = None
    offset_s: float = 0.0
    duration_s: float | None = None
    speaker: str | None = None
    language: str | None = None
    recording: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def measure_candidates(
    candidates: Iterable[Candidate], *, reject: RejectFunction, probe: bool = True, threads: int | None = None
) -> Iterator[Utterance]:
    """Utterances of the candidates whose audio is readable and long enough, in order; the others are rejected.

    Without `probe` a candidate that brings its own duration is taken at its word and its file is not opened.
    """

    def look(candidate: Candidate) -> float | str:
        if not probe and candidate.duration_s is not None:
            return candidate.duration_s
        return _usable_duration(candidate)

    for candidate, outcome in map_in_order(look, candidates, threads=threads):
        if isinstance(outcome, str):
            reject(candidate.item, outcome)
            continue
        try:
            utterance = _utterance(candidate, outcome)
        except ValueError as err:
            reject(candidate.item, str(err))
            continue
        yield utterance


def audio_files(folder: Path) -> list[Path]:
    """Every file below `folder` with an audio ending, sorted by path; see `files_below`."""
    return files_below(folder, lambda name: os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES)  # noqa: PTH122


def files_below(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Every file below `folder` whose name is `wanted`, sorted by path; links to folders are followed once.

    Folders whose name begins with a dot belong to tools (version control, caches), not to the corpus.
    """
    found = []
    visited: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if wanted(name)]
    return sorted(found)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line without its end) of a UTF-8 file, line by line; only a line feed ends a line.

    Raises InputError, naming the file and the line, for other encodings and a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                text = raw.decode()
                yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except UnicodeDecodeError as err:
        raise InputError(f"{path}, line {number}: not UTF-8 text.", hint="Save the file as UTF-8.") from err
    except OSError as err:
        raise InputError(f"{path} cannot be read: {err.strerror or err}.") from err


def need_folder(source: Path, kind: str) -> None:
    """Raise InputError unless `source` is a folder."""
    if not source.exists():
        raise InputError(f"{source} does not exist.", hint="Check the path.")
    if not source.is_dir():
        raise InputError(f"{source} is a file.", hint=f"The importer {kind!r} takes a folder.")


def comma_separated(value: str | Iterable[str]) -> list[str]:
    """Names from "a,b" (as typed on a command line) or from a list (as YAML gives it)."""
    parts = value.split(",") if isinstance(value, str) else value
    return [name for part in parts if (name := part.strip())]


def _usable_duration(candidate: Candidate) -> float | str:
    """Seconds of audio the candidate has, or why it cannot be used."""
    from harken.audio.decode import probe_audio

    try:
        if not candidate.audio.is_file():
            return f"{candidate.audio} is {'a folder' if candidate.audio.is_dir() else 'missing'}"
        file_s = probe_audio(candidate.audio).duration_s
    except HarkenError as err:
        return err.message
    except OSError as err:
        return f"{candidate.audio} cannot be read: {err.strerror or err}"
    available_s = file_s - candidate.offset_s
    if file_s <= 0:
        return f"{candidate.audio} holds no audio"
    if available_s <= 0:
        return f"it begins at {candidate.offset_s:.3f} s but {candidate.audio} ends at {file_s:.3f} s"
    if candidate.duration_s is None:
        return available_s
    if candidate.duration_s > available_s + END_TOLERANCE_S:
        end_s = candidate.offset_s + candidate.duration_s
        return f"it ends at {end_s:.3f} s but {candidate.audio} ends at {file_s:.3f} s"
    return min(candidate.duration_s, available_s)


def _utterance(candidate: Candidate, duration_s: float) -> Utterance:
    """Raises ValueError where the candidate cannot be an utterance."""
    for text in (candidate.id, str(candidate.audio)):
        try:
            text.encode()
        except UnicodeEncodeError as err:  # Python keeps such bytes of a file name as half surrogate pairs
            raise ValueError("its name is not UTF-8, which a manifest has to be; rename the file") from err
    return Utterance(
        id=candidate.id,
        audio=str(candidate.audio),
        duration_s=duration_s,
        text=candidate.text,
        offset_s=candidate.offset_s,
        speaker=candidate.speaker,
        language=candidate.language,
        recording=candidate.recording,
        tags=candidate.tags,
        extra=candidate.extra,
    )
