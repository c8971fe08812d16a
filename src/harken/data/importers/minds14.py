"""PolyAI's MInDS-14: `text/{locale}.csv` beside `audio/{locale}~{INTENT}/*.wav`, both unpacked from their archives."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, audio_files, comma_separated, measure_candidates, need_folder

_COLUMNS = 4  # file, transcript, English translation, intent; read by position, as the header's names changed


def import_minds14(
    source: Path, *, reject: RejectFunction, locales: str | Iterable[str] = (), threads: int | None = None
) -> Iterator[Utterance]:
    """Utterances of MInDS-14 in `source` (the folder with `audio` and `text`, or the one above), locale after locale.

    `locales` names some ("en-AU,ru-RU"); without it all that have a table. The language is the first part of the
    locale; `tags` hold the locale as `accent` and the `intent`; `extra` holds the English translation as `english`.
    The transcripts are partly made by a machine, says the data set's card; nobody's name is published, so there are no
    speakers. Rejected are rows of another length, without a transcript, without a usable file, given twice, and audio
    files without a row. Raises InputError where the layout is not MInDS-14's or a locale is absent.
    """
    need_folder(source, "minds14")
    folder = source / "MInDS-14" if (source / "MInDS-14").is_dir() else source
    tables = _tables(folder, comma_separated(locales))

    def candidates() -> Iterator[Candidate]:
        for table in tables:
            unused = {path for kind in sorted((folder / "audio").glob(f"{table.stem}~*")) for path in audio_files(kind)}
            for item, cells in _rows(table):
                if len(cells) != _COLUMNS:
                    reject(item, f"the row has {len(cells)} columns, not {_COLUMNS}")
                    continue
                name, text, english, intent = (cell.strip() for cell in cells)
                path = folder / "audio" / name
                if not name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
                    reject(item, f"the file's name {name!r} leads out of the folder audio")
                elif path.is_file() and path not in unused:
                    reject(item, f"{name} has a row already, or is of another locale")
                elif not text:
                    unused.discard(path)
                    reject(item, "the transcript is empty")
                else:
                    unused.discard(path)
                    yield _candidate(item, name, path, table.stem, text, english, intent)
            for path in sorted(unused):
                reject(path.relative_to(folder).as_posix(), f"{table.name} has no row for this file")

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


def _candidate(item: str, name: str, path: Path, locale: str, text: str, english: str, intent: str) -> Candidate:
    identifier = PurePosixPath(name).with_suffix("").as_posix()
    return Candidate(
        item=f"{item} {name}",
        id=identifier,
        audio=path,
        text=text,
        language=locale.partition("-")[0].lower(),
        recording=identifier,
        tags={"accent": locale, **({"intent": intent} if intent else {})},
        extra={"english": english} if english else {},
    )


def _tables(folder: Path, locales: list[str]) -> list[Path]:
    for name in ("text", "audio"):
        if not (folder / name).is_dir():
            packed = (folder / f"{name}.zip").is_file()
            raise InputError(
                f"{folder} has no folder {name!r}.",
                hint=f"Unpack {name}.zip into {name}/." if packed else "Give the unpacked folder MInDS-14.",
            )
    present = sorted(path.stem for path in (folder / "text").glob("*.csv"))
    if not present:
        raise InputError(f"{folder / 'text'} has no .csv files.", hint="Unpack text.zip of MInDS-14 into it.")
    for name in locales:
        if name not in present:
            raise InputError(f"{folder / 'text'} has no {name}.csv.", hint=f"It has: {', '.join(present)}.")
    return [folder / "text" / f"{name}.csv" for name in locales or present]


def _rows(table: Path) -> Iterator[tuple[str, list[str]]]:
    """(where, cells) of each row below the header; a quoted cell may hold line breaks."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            next(reader, None)
            for cells in reader:
                if cells:
                    yield f"{table.name}:{reader.line_num}", cells
    except (UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"{table} cannot be read as a table: {err}.", hint="Save it as UTF-8 CSV.") from err
