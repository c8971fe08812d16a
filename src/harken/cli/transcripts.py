"""Transcripts of `harken transcribe`: which files they are of, where they go, how they are written."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harken.core import Transcript, Word


def tidied(transcript: "Transcript") -> "Transcript":
    """The transcript as people write: capitals at the start of sentences, no space before a stop."""
    from dataclasses import replace

    from harken.text import tidy_transcript

    tidy = partial(tidy_transcript, capitalize=True)
    segments = tuple(
        replace(segment, text=tidy(segment.text), words=_tidied_words(segment.words, tidy))
        for segment in transcript.segments
    )
    return replace(transcript, text=tidy(transcript.text), segments=segments)


def _tidied_words(words: Sequence["Word"], written_as: Callable[[str], str]) -> tuple["Word", ...]:
    """Words as they are written in the tidied text; a stop that was a word of its own joins the word before it."""
    from dataclasses import replace

    text = " ".join(word.text for word in words)
    tidy = written_as(text)
    closed = _gaps(text) - _gaps(tidy)
    # Tidying changes letters one for one, and otherwise spaces only.
    letters = [index for index, letter in enumerate(tidy) if not letter.isspace()]
    found: list[Word] = []
    place = 0
    for word in words:
        length = len("".join(word.text.split()))
        written = tidy[letters[place] : letters[place + length - 1] + 1] if length else ""
        if place in closed:
            found[-1] = replace(found[-1], text=found[-1].text + written, end_s=max(found[-1].end_s, word.end_s))
        else:
            found.append(replace(word, text=written))
        place += length
    return tuple(found)


def _gaps(text: str) -> set[int]:
    """How many letters stand before the end of each word."""
    return set(accumulate(map(len, text.split())))


def audio_files_of(file: str) -> list[tuple[str, Path]]:
    """The file itself, or the audio files anywhere below a folder, in the order of their names. With each, what its
    transcript is called but for the ending: the file's name, within a folder its path from there.
    """
    from harken.core import InputError

    folder = Path(file)
    if not folder.is_dir():
        return [(file, Path(Path(file).stem))]
    from harken.data.importers.candidates import audio_files

    found = [(str(path), path.relative_to(folder).with_suffix("")) for path in audio_files(folder)]
    if not found:
        raise InputError(f"{file} holds no audio files.", hint="Name the files, or another folder.")
    return found


def targets(named: Sequence[tuple[str, Path]], out: Path | None, style: str) -> list[Path | None]:
    """A transcript file for each input, None without `out`; refused where two inputs would share one."""
    from harken.core import InputError

    if out is None:
        return [None] * len(named)
    firsts: dict[Path, str] = {}
    for file, name in named:
        target = out / name.with_name(f"{name.name}.{style}")
        if target in firsts:
            raise InputError(
                f"{firsts[target]} and {file} would both be written to {target}.",
                hint="Transcribe one of them by itself, with another folder for --out.",
            )
        firsts[target] = file
    return list(firsts)


def with_name(path: str, text: str, style: str, language: str | None) -> str:
    """A transcript among several: it names its file, and its language where that was to be detected."""
    if style == "txt":
        return f"{path}\t{text}" if language is None else f"{path}\t{language}\t{text}"
    if style == "json":
        import json

        return json.dumps({"file": path, **json.loads(text)}, ensure_ascii=False) + "\n"
    return f"# {path}\n{text}\n"
