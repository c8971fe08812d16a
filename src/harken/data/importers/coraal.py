"""CORAAL, the Corpus of Regional African American Language: long interviews, tab-separated transcripts with times."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import (
    Candidate,
    audio_files,
    files_below,
    measure_candidates,
    need_folder,
    text_lines,
)
from harken.data.importers.coraal_text import clean_line, is_pause

_COLUMNS = ("Line", "Spkr", "StTime", "Content", "EnTime")
_TAGS = {"Gender": "gender", "Age": "age", "Age.Group": "age_group", "CORAAL.Sub": "component"}
_OVERLAP_S = 0.005
"""Lines of two people that share less than this touch; the times in the transcripts are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of a transcript with words in it, times in seconds."""

    number: str
    speaker: str
    start_s: float
    end_s: float
    text: str


def import_coraal(
    source: Path,
    *,
    reject: RejectFunction,
    speakers: Literal["interviewees", "all"] = "all",
    overlaps: bool = False,
    max_pause_s: float = 0.5,
    max_segment_s: float = 20.0,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Segments of the interviews below `source`, file after file, in the order of time.

    Consecutive lines of one speaker become one segment while the pause between them is at most `max_pause_s` and the
    whole at most `max_segment_s` (0: a segment for every line); lines that are only a pause are no items. `speakers`
    can leave out interviewers. A line that meets another person's in time is rejected, or with `overlaps` kept as a
    segment of its own, since both voices are in the one recording. The text follows `coraal_text.clean_line`.

    `recording` is the file; `tags` hold `accent: AAL`, the role, and from the metadata table the component (DCB, ...),
    gender, age and age group. Rejected are lines of another length, without usable times, with words that were not
    understood or were taken out, without words, of other speakers, and lines of files without audio. Raises InputError
    where there is no transcript.
    """
    need_folder(source, "coraal")
    if speakers not in ("interviewees", "all"):
        raise InputError(f"speakers is {speakers!r}.", hint="Use interviewees or all.")
    for name, value in (("max_pause_s", max_pause_s), ("max_segment_s", max_segment_s)):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} is {value}.", hint="Use seconds, 0 or more.")
    tables = files_below(source, lambda name: name.endswith(".txt"))
    transcripts = [path for path in tables if "metadata" not in path.name.lower() and _header(path) == _COLUMNS]
    if not transcripts:
        raise InputError(
            f"{source} has no transcripts with the columns {', '.join(_COLUMNS)}.",
            hint="Give the folder of a CORAAL component with its unpacked transcripts and audio.",
        )
    about = _metadata([path for path in tables if "metadata" in path.name.lower()])
    audio = {path.stem: path for path in audio_files(source)}

    def candidates() -> Iterator[Candidate]:
        for path in transcripts:
            lines = _speech(path, audio, speakers, overlaps, reject)
            for segment in _segments(lines, max_pause_s, max_segment_s):
                yield _candidate(segment, path, audio[path.stem], about)

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


def _candidate(
    segment: list[_Line], path: Path, audio: Path, about: dict[tuple[str, str], dict[str, str]]
) -> Candidate:
    first, last = segment[0], segment[-1]
    tags = {"accent": "AAL", "role": "interviewee" if path.stem.startswith(first.speaker) else "interviewer"}
    return Candidate(
        item=f"{path.name}:{first.number}",
        id=f"{path.stem}-{round(first.start_s * 1000):08d}-{first.speaker}",
        audio=audio,
        text=" ".join(line.text for line in segment),
        offset_s=first.start_s,
        duration_s=last.end_s - first.start_s,
        speaker=first.speaker,
        language="en",
        recording=path.stem,
        tags={**tags, **about.get((path.stem, first.speaker), {})},
    )


def _speech(
    path: Path, audio: dict[str, Path], speakers: str, overlaps: bool, reject: RejectFunction
) -> list[list[_Line]]:
    """Lines with words, in the order of time, in groups that may be joined: what is rejected parts two groups."""
    spoken: list[tuple[_Line, str]] = []
    for item, line, problem in _parsed(path):
        if line is None:
            reject(item, problem)
        else:
            spoken.append((line, problem))
    spoken.sort(key=lambda pair: (pair[0].start_s, pair[0].end_s))
    together = _meeting([line for line, _ in spoken])
    groups: list[list[_Line]] = [[]]
    for (line, problem), meets in zip(spoken, together, strict=True):
        if not problem and path.stem not in audio:
            problem = f"there is no audio file called {path.stem}"
        if not problem and speakers == "interviewees" and not path.stem.startswith(line.speaker):
            problem = f"{line.speaker} is not the interviewee"
        if not problem and meets and not overlaps:
            problem = "another person speaks at the same time"
        if problem:
            reject(f"{path.name}:{line.number}", problem)
            groups.append([])
        elif meets:
            groups += [[line], []]
        else:
            groups[-1].append(line)
    return [group for group in groups if group]


def _parsed(path: Path) -> Iterator[tuple[str, _Line | None, str]]:
    """(where, line, what is wrong with its words); without a line what is wrong is its form. Pauses are left out."""
    for number, text in text_lines(path):
        cells = text.split("\t")
        item = f"{path.name}:{number}"
        if number == 1 or cells == [""]:
            continue
        if len(cells) != len(_COLUMNS):
            yield item, None, f"the row has {len(cells)} columns, not {len(_COLUMNS)}"
            continue
        _, speaker, start, content, end = (cell.strip() for cell in cells)
        if is_pause(content):
            continue
        try:
            start_s, end_s = float(start), float(end)
        except ValueError:
            start_s = end_s = math.nan
        if not (0 <= start_s < end_s < math.inf and speaker):
            yield item, None, f"it has no speaker or no usable times ({speaker!r}, {start!r} to {end!r})"
            continue
        words, problem = clean_line(content)
        yield item, _Line(number=str(number), speaker=speaker, start_s=start_s, end_s=end_s, text=words), problem


def _meeting(lines: list[_Line]) -> list[bool]:
    """Whether each line (sorted by start) shares time with a line of another speaker."""
    meets = [False] * len(lines)
    active: list[int] = []
    for index, line in enumerate(lines):
        active = [other for other in active if lines[other].end_s - line.start_s > _OVERLAP_S]
        for other in active:
            if lines[other].speaker != line.speaker:
                meets[other] = meets[index] = True
        active.append(index)
    return meets


def _segments(groups: list[list[_Line]], max_pause_s: float, max_segment_s: float) -> Iterator[list[_Line]]:
    for group in groups:
        segment = group[:1]
        for line in group[1:]:
            last = segment[-1]
            fits = line.end_s - segment[0].start_s <= max_segment_s
            if line.speaker == last.speaker and 0 <= line.start_s - last.end_s <= max_pause_s and fits:
                segment.append(line)
            else:
                yield segment
                segment = [line]
        yield segment


def _header(path: Path) -> tuple[str, ...]:
    return tuple(next(text_lines(path), (1, ""))[1].split("\t"))


def _metadata(tables: list[Path]) -> dict[tuple[str, str], dict[str, str]]:
    """(file, speaker) to tags."""
    about = {}
    for path in tables:
        lines = text_lines(path)
        header = next(lines, (1, ""))[1].split("\t")
        for _, text in lines:
            row = dict(zip(header, text.split("\t"), strict=False))
            tags = {tag: row[column].strip() for column, tag in _TAGS.items() if row.get(column, "").strip()}
            about[row.get("CORAAL.File", ""), row.get("CORAAL.Spkr", "")] = tags
    return about
