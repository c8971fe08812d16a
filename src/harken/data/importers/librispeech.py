"""LibriSpeech and corpora laid out like it: `{subset}/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt`."""

from collections.abc import Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, audio_files, measure_candidates, need_folder, text_lines


def import_librispeech(
    source: Path, *, reject: RejectFunction, language: str = "en", threads: int | None = None
) -> Iterator[Utterance]:
    """Utterances below `source`: the corpus, a subset, a speaker or a chapter; sorted by chapter, then by line.

    The text is kept as published (capitals, no punctuation). `tags` hold the subset ("train-clean-100") and, where
    SPEAKERS.TXT is found beside the subsets, the speaker's gender. Rejected are lines without audio, audio files
    without a line, and lines without text. Raises InputError where there is no `.trans.txt`.
    """
    need_folder(source, "librispeech")
    audio = {path.with_suffix(""): path for path in audio_files(source)}
    chapters = sorted({path.parent for path in audio} | {path.parent for path in source.rglob("*.trans.txt")})
    in_folder: dict[Path, set[Path]] = {}
    for stem in audio:
        in_folder.setdefault(stem.parent, set()).add(stem)
    transcripts = {folder: sorted(folder.glob("*.trans.txt")) for folder in chapters}
    if not any(transcripts.values()):
        raise InputError(
            f"{source} has no .trans.txt files.", hint="Give the folder of an unpacked LibriSpeech subset."
        )
    genders = _genders(source)

    def candidates() -> Iterator[Candidate]:
        for folder in chapters:
            unused = set(in_folder.get(folder, ()))
            for path in transcripts[folder]:
                for item, name, text in _lines(path):
                    stem = folder / name
                    if stem not in audio:
                        reject(item, f"there is no audio file called {name} beside it")
                    elif not text:
                        unused.discard(stem)
                        reject(item, "the line has a name but no text")
                    elif stem not in unused:
                        reject(item, f"{name} has a transcript already")
                    else:
                        unused.discard(stem)
                        yield _candidate(item, audio[stem], text, language, genders)
            for stem in sorted(unused):
                reject(str(audio[stem].relative_to(source)), "no .trans.txt beside it has a line for this file")

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


def _candidate(item: str, audio: Path, text: str, language: str, genders: dict[str, str]) -> Candidate:
    speaker, _, rest = audio.stem.partition("-")
    chapter = rest.rpartition("-")[0] or rest
    tags = {"subset": audio.parents[2].name} if audio.parents[1].name == speaker else {}
    if speaker in genders:
        tags["gender"] = genders[speaker]
    return Candidate(
        item=item,
        id=audio.stem,
        audio=audio,
        text=text,
        speaker=speaker,
        language=language,
        recording=f"{speaker}-{chapter}",
        tags=tags,
    )


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(where, name, text) of each line of a transcript file."""
    for number, line in text_lines(path):
        if line.strip():
            name, *words = line.split(maxsplit=1)
            yield f"{path.name}:{number}", name, words[0].strip() if words else ""


def _genders(source: Path) -> dict[str, str]:
    """Speaker to "F" or "M" from the nearest SPEAKERS.TXT: `ID | SEX | SUBSET | MINUTES | NAME`, `;` for comments."""
    found = [folder / "SPEAKERS.TXT" for folder in (source, *list(source.parents)[:3])]
    table = next((path for path in found if path.is_file()), None)
    if table is None:
        return {}
    rows = (line.split("|") for _, line in text_lines(table) if not line.startswith(";"))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 2}
