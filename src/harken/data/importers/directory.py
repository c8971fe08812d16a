"""A folder of audio files with their texts beside them: in one small file each, or in a table."""

from collections.abc import Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import AUDIO_SUFFIXES, Candidate, audio_files, measure_candidates, need_folder
from harken.data.importers.tables import read_tables

SIDECAR_SUFFIXES = (".txt", ".lab")


def import_directory(
    source: Path,
    *,
    reject: RejectFunction,
    language: str | None = None,
    speaker_from: str = "none",
    require_text: bool = True,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of the audio files below `source`, sorted by path; the id is the path in the folder without suffix.

    The text of `a.wav` is looked for in a table (TABLE_NAMES, in any folder; its file names count from that folder),
    then in `a.txt` or `a.lab`; `importers.tables` says which tables. Other columns of a table become tags.
    `speaker_from="folder"` takes the first folder of the path as the speaker where no table names one;
    `require_text=False` keeps audio without any text.

    Rejected are files without text, unreadable ones, table rows whose file is absent or outside the folder, and files
    that differ only in suffix from an earlier one. Raises InputError for no audio at all and for a broken table.
    """
    need_folder(source, "dir")
    if speaker_from not in ("none", "folder"):
        raise InputError(f"speaker_from is {speaker_from!r}.", hint="Use 'none' or 'folder'.")
    files = audio_files(source)
    if not files:
        raise InputError(
            f"{source} has no audio files.", hint=f"Looked for {', '.join(sorted(AUDIO_SUFFIXES))} in all its folders."
        )
    rows = read_tables(source, set(files), reject)

    def candidates() -> Iterator[Candidate]:
        taken: dict[str, Path] = {}
        for path in files:
            inside = path.relative_to(source)
            identifier = inside.with_suffix("").as_posix()
            row = rows.get(path)
            text, problem = (row.text, "") if row and row.text is not None else _sidecar(path)
            if taken.setdefault(identifier, path) != path:
                problem = f"{taken[identifier].name} has the same name but for the suffix; keep one"
            elif text is None and require_text and not problem:
                problem = "no table row, .txt or .lab gives its text (require_text=False keeps it)"
            if problem:
                reject(str(inside), problem)
                continue
            folder = inside.parts[0] if speaker_from == "folder" and len(inside.parts) > 1 else None
            yield Candidate(
                item=str(inside),
                id=identifier,
                audio=path,
                text=text,
                speaker=(row.speaker if row else None) or folder,
                language=(row.language if row else None) or language,
                tags=row.tags if row else {},
            )

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


def _sidecar(path: Path) -> tuple[str | None, str]:
    """(text beside the audio or None, what is wrong with it or ""); lines are joined by spaces."""
    for suffix in SIDECAR_SUFFIXES:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            try:
                return " ".join(beside.read_text(encoding="utf-8-sig").split()), ""
            except UnicodeDecodeError as err:
                return None, f"{beside.name} is not UTF-8 text (byte {err.start + 1})"
            except OSError as err:
                return None, f"{beside.name} cannot be read: {err.strerror or err}"
    return None, ""
