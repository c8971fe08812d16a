"""What a manifest or a list says about its utterances, read in one light pass: lengths of audio and text, no more.

A row is an utterance of any source. Its audio is looked at only where somebody asks for it (`look_at_audio`).
"""

import json
import math
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance
from harken.data.manifest import ManifestError, Problem, open_lines
from harken.data.manifest_line import decode_line

_BOM = b"\xef\xbb\xbf"
_MOST_S = float(np.finfo(np.float32).max)  # a profile keeps durations in single precision
_decode = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """What one file of audio says about itself: its size, its length and its rate."""

    size_bytes: int
    duration_s: float
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row, named. `where` says where it stands, for messages.

    `audio` is a path, a URL, the bytes of a file, what is known of a file already, or None where the row has none.
    """

    id: str
    where: str
    audio: str | bytes | AudioFacts | None = None
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The rows of a source, in order.

    `durations_s` (rows,) is NaN where the source does not say; `characters` (rows,) is 0 where there is no text.
    `utterances` is more than there are rows where only the first of a stream were taken. `entries` gives the rows at
    ascending positions, one at a time.
    """

    source: str
    utterances: int
    durations_s: npt.NDArray[np.float64]
    characters: npt.NDArray[np.int32]
    entries: Callable[[Sequence[int]], Iterator[Entry]]


def read_manifest_rows(path: str | Path) -> Rows:
    """Rows of a manifest. Raises ManifestError for a file or a line that cannot be used; a length may be missing.

    Only lengths and texts are checked here: what else a line holds is the business of `read_manifest`.
    """
    durations_s, characters = array("d"), array("i")
    for line, raw in _lines(path):
        try:
            duration_s, count = _light(_decode(raw.decode()))
        except (ValueError, TypeError, AttributeError, RecursionError) as err:
            raise _line_error(path, line, raw) from err
        durations_s.append(duration_s)
        characters.append(count)
    return Rows(
        source=str(path),
        utterances=len(durations_s),
        durations_s=np.array(durations_s, dtype=np.float64),
        characters=np.array(characters, dtype=np.int32),
        entries=lambda positions: _manifest_entries(path, positions),
    )


def read_item_rows(items: Sequence[Any] | npt.NDArray[Any]) -> Rows:
    """Rows of a list of utterances, of manifest lines (mappings) or of durations in seconds; positions are from 0.

    Raises InputError naming the item for any other type, and for lengths and texts that cannot be used.
    """
    durations_s, characters = array("d"), array("i")
    for position, item in enumerate(items):
        try:
            duration_s, count = _light_item(item)
        except (ValueError, TypeError) as err:
            raise InputError(f"Item {position} of the list: {err}.", hint="Correct it, or leave it out.") from err
        durations_s.append(duration_s)
        characters.append(count)
    return Rows(
        source="a list",
        utterances=len(durations_s),
        durations_s=np.array(durations_s, dtype=np.float64),
        characters=np.array(characters, dtype=np.int32),
        entries=lambda positions: (_item_entry(items[position], position) for position in positions),
    )


def count_characters(text: object) -> int:
    """Length of a text without the space around it, 0 for None. Raises TypeError for what is not text."""
    if text is None:
        return 0
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}; use text, or leave it out")
    return len(text.strip())


def checked_seconds(value: object) -> float:
    """A duration as a float, NaN for None. Raises ValueError or TypeError for what is not a length above 0."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"duration_s is {value!r}; use seconds, a number above 0")
    if not 0 < value <= _MOST_S:
        raise ValueError(f"duration_s is {value}; use seconds, a number above 0")
    return float(value)


def look_at_audio(audio: str | bytes | AudioFacts) -> AudioFacts:
    """Size, length and rate of a file of audio from its header. Raises as `harken.audio.probe_audio` does."""
    if isinstance(audio, AudioFacts):
        return audio
    from harken.audio import DecodeLimits, probe_audio
    from harken.audio.source import open_source

    info = probe_audio(audio)
    with open_source(audio, DecodeLimits()) as opened:
        size_bytes = opened.size
    return AudioFacts(size_bytes=size_bytes, duration_s=info.duration_s, sample_rate_hz=info.sample_rate_hz)


def _light(record: Mapping[str, Any]) -> tuple[float, int]:
    """Length and characters of a manifest line. The checks are inline: a million lines come through here."""
    value = record.get("duration_s")
    other = record.get("duration")
    if value is None:
        value = other
    elif other is not None:
        raise ValueError("the duration is given twice, as 'duration_s' and as 'duration'; keep one")
    text = record.get("text")
    duration_s = value if type(value) is float and 0.0 < value <= _MOST_S else checked_seconds(value)
    return duration_s, len(text.strip()) if type(text) is str else count_characters(text)


def _light_item(item: Any) -> tuple[float, int]:
    if isinstance(item, Utterance):
        return item.duration_s, count_characters(item.text)
    if isinstance(item, Mapping):
        return _light(item)
    if item is None or isinstance(item, bool) or not isinstance(item, int | float | np.integer | np.floating):
        kind = type(item).__name__
        raise TypeError(f"it is of the type {kind}; use an utterance, a manifest line or a duration in seconds")
    return checked_seconds(item), 0


def _item_entry(item: Any, position: int) -> Entry:
    where, name = f"item {position} of the list", f"item {position}"
    if isinstance(item, Utterance):
        return Entry(id=item.id, where=where, audio=item.audio, offset_s=item.offset_s)
    if isinstance(item, Mapping):
        utterance = _utterance(item, os.getcwd())  # noqa: PTH109 - `decode_line` takes text
        if utterance is not None:
            return Entry(id=utterance.id, where=where, audio=utterance.audio, offset_s=utterance.offset_s)
        name = str(item.get("id") or name)  # a mapping of a length and a text is enough to plan with
    return Entry(id=name, where=where)


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, without blank ones and the byte-order mark."""
    with open_lines(Path(path)) as file:
        for line, raw in enumerate(file, 1):
            if line == 1:
                raw = raw.removeprefix(_BOM)
            if raw and not raw.isspace():
                yield line, raw


def _manifest_entries(path: str | Path, positions: Sequence[int]) -> Iterator[Entry]:
    wanted = set(positions)
    folder = _folder(path)
    for position, (line, raw) in enumerate(_lines(path)):
        if position not in wanted:
            continue
        utterance = _utterance(_decode(raw.decode()), folder)
        if utterance is None:
            raise _line_error(path, line, raw)
        where = f"{path}, line {line}"
        yield Entry(id=utterance.id, where=where, audio=utterance.audio, offset_s=utterance.offset_s)
        wanted.remove(position)
        if not wanted:
            return


def _utterance(record: Mapping[str, Any], folder: str) -> Utterance | None:
    """The utterance of a line, but for its length, which it may lack; None where the line is wrong."""
    rest = {key: value for key, value in record.items() if key not in ("duration_s", "duration")}
    return decode_line(json.dumps({**rest, "duration_s": 1.0}, default=str).encode(), folder)[0]


def _line_error(path: str | Path, line: int, raw: bytes) -> ManifestError:
    """The error `read_manifest` raises for a line, except that a missing length is the last thing to complain about."""
    _, complaints = decode_line(raw, _folder(path))
    key, message = min(complaints, key=lambda complaint: complaint[0] == "duration_s")
    return ManifestError(
        f"{Problem(file=str(path), line=line, key=key, message=message)}.",
        file=path,
        line=line,
        key=key,
        hint="`harken data validate` lists every bad line.",
    )


def _folder(path: str | Path) -> str:
    return os.path.abspath(Path(path).parent)  # noqa: PTH100 - links stay
