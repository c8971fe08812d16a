"""Tables of transcripts beside audio: CSV, TSV or JSON Lines with named columns, and LJ Speech's without."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.core import InputError, RejectFunction
from harken.data.importers.candidates import files_below, text_lines

TABLE_NAMES = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "transcripts.csv", "transcripts.tsv")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "audio", "audio_filepath", "wav")
TEXT_COLUMNS = ("text", "transcription", "transcript", "sentence")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
LANGUAGE_COLUMNS = ("language", "locale", "lang")
"""Names of columns that are understood; the first that a table has counts."""

_SUFFIXES_TO_TRY = (".wav", ".flac", ".mp3", ".ogg", ".opus")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """What a table says about one audio file; `text` is None where the table has no column of texts."""

    text: str | None
    speaker: str | None
    language: str | None
    tags: dict[str, str]


def read_tables(source: Path, files: set[Path], reject: RejectFunction) -> dict[Path, TableRow]:
    """Audio file to row, from every table (TABLE_NAMES) in `source` and below; file names count from the table.

    Columns are found by name, as FILE_COLUMNS, TEXT_COLUMNS, SPEAKER_COLUMNS and LANGUAGE_COLUMNS list; the others
    become tags. A CSV with `|` and no header is LJ Speech's: name without suffix, text, and maybe the text written
    out, of which the last counts; its audio lies in `wavs/`. Rows for files that are absent, elsewhere or described
    already are rejected. Raises InputError for a table that is not UTF-8 or names no files.
    """
    rows: dict[Path, TableRow] = {}
    for table in files_below(source, lambda name: name in TABLE_NAMES):
        where = table.relative_to(source)
        try:
            for number, name, row in _rows(table):
                item = f"{where}:{number}"
                path = _find(table.parent, name, files)
                if path is None:
                    reject(item, f"{name!r} is not an audio file below {table.parent}")
                elif path in rows:
                    reject(item, f"{name!r} has a row already")
                else:
                    rows[path] = row
        except UnicodeDecodeError as err:
            raise InputError(f"{table} is not UTF-8 text.", hint="Save it as UTF-8.") from err
        except csv.Error as err:
            raise InputError(f"{table} is not a table: {err}.") from err
    return rows


def _find(folder: Path, name: str, files: set[Path]) -> Path | None:
    path = Path(os.path.normpath(folder / name))
    if path in files:
        return path
    if path.suffix == "" or not name.lower().endswith(_SUFFIXES_TO_TRY):  # "LJ001-0001", "chapter.1"
        named = (path.with_name(path.name + suffix) for suffix in _SUFFIXES_TO_TRY)
        return next((candidate for candidate in named if candidate in files), None)
    return None


def _rows(table: Path) -> Iterator[tuple[int, str, TableRow]]:
    """(line, file name, row); the line is where the row ends, as a quoted text may hold line breaks."""
    if table.suffix == ".jsonl":
        yield from _json_rows(table)
        return
    with open(table, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        if "|" in first and "," not in first.partition("|")[0]:
            for number, line in enumerate(file, 1):
                name, *texts = line.rstrip("\r\n").split("|")
                if texts:
                    yield number, f"wavs/{name}", TableRow(text=texts[-1].strip(), speaker=None, language=None, tags={})
            return
        reader = csv.DictReader(file, delimiter="\t" if table.suffix == ".tsv" or "\t" in first else ",", restkey="")
        names = _columns(table, list(reader.fieldnames or []))
        for cells in reader:
            yield reader.line_num, cells[names["file"]] or "", _row(names, cells)


def _json_rows(table: Path) -> Iterator[tuple[int, str, TableRow]]:
    names: dict[str, str] = {}
    for number, line in text_lines(table):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as err:
            raise InputError(f"{table}, line {number}: not JSON: {err}.") from err
        if not isinstance(record, dict):
            raise InputError(f"{table}, line {number}: not a JSON object.")
        names = names or _columns(table, list(record))
        yield number, str(record.get(names["file"], "")), _row(names, record)


def _columns(table: Path, header: list[str]) -> dict[str, str]:
    """Role to the column that has it. Raises InputError where no column names the files."""
    roles = {"file": FILE_COLUMNS, "text": TEXT_COLUMNS, "speaker": SPEAKER_COLUMNS, "language": LANGUAGE_COLUMNS}
    found = {role: next((name for name in names if name in header), "") for role, names in roles.items()}
    if not found["file"]:
        raise InputError(
            f"{table} has no column that names the files; its columns: {', '.join(header) or 'none'}.",
            hint=f"Call it one of: {', '.join(FILE_COLUMNS)}.",
        )
    return {role: name for role, name in found.items() if name}


def _row(names: dict[str, str], cells: dict[str, Any]) -> TableRow:
    special = set(names.values())
    tags = {
        name: str(value) for name, value in cells.items() if name and name not in special and value not in ("", None)
    }
    text = cells.get(names["text"]) if "text" in names else None
    return TableRow(
        text=None if text is None else str(text).strip(),
        speaker=_cell(cells, names.get("speaker")),
        language=_cell(cells, names.get("language")),
        tags=tags,
    )


def _cell(cells: dict[str, Any], name: str | None) -> str | None:
    value = cells.get(name) if name else None
    return None if value in (None, "") else str(value)
