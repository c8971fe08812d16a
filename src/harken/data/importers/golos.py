"""Golos, and any corpus of tables (TSV, CSV, JSON Lines) with columns for file, text, duration and speaker."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, comma_separated, measure_candidates, text_lines

ROLES = {
    "path": ("audio_filepath", "path", "audio", "file", "file_name", "wav"),
    "text": ("text", "sentence", "transcription", "transcript"),
    "duration": ("duration", "duration_s"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "id": ("id", "utt_id"),
}
"""Names a column may have, by what it holds; the first that is there counts."""

SUFFIXES = (".jsonl", ".tsv", ".csv")
DOMAINS = ("crowd", "farfield")


def import_golos(
    source: Path,
    *,
    reject: RejectFunction,
    tables: str | Iterable[str] = ("manifest",),
    language: str | None = "ru",
    probe: bool = True,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of one table, or of every table below the folder `source` that is called like one of `tables`.

    Golos' own tables are `train/manifest.jsonl` and `test/{crowd,farfield}/manifest.jsonl`, and its smaller training
    sets `100hours`, `10hours`, `1hour`, `10min`. Paths are relative to the table. `tags` hold the table's other columns
    of plain values, the `domain` where a folder's name begins with crowd or farfield, and the `split` where one begins
    with train, dev or test; folders above `source` do not count. `probe=False` takes durations as given. Rejected are
    rows of another length, that are no JSON, without a file's name, without text, and unusable files. Raises InputError
    where there is no such table, or it has no column for the file or the text.
    """
    found = _tables(source, comma_separated(tables))

    def candidates() -> Iterator[Candidate]:
        for table in found:
            place = "" if table == source else table.parent.relative_to(source).as_posix() + "/"
            for number, row in _rows(table):
                item = f"{place}{table.name}:{number}"
                if isinstance(row, str):
                    reject(item, row)
                elif not _cell(row, "path"):
                    reject(item, "it names no file")
                elif not _cell(row, "text"):
                    reject(item, "the text is empty")
                else:
                    yield _candidate(item, place, table, row, language)

    yield from measure_candidates(candidates(), reject=reject, probe=probe, threads=threads)


def _candidate(item: str, place: str, table: Path, row: dict[str, Any], language: str | None) -> Candidate:
    name = _cell(row, "path")
    # A domain or split may be said by a folder of the corpus, or by one in the path the table gives.
    folders = [*place.split("/"), table.stem, *Path(name).parent.parts]
    special = {column for columns in ROLES.values() for column in columns}
    tags = {
        key: str(value)
        for key, value in row.items()
        if key not in special and isinstance(value, str | int | float) and value != ""
    }
    for tag, kinds in (("domain", DOMAINS), ("split", ("train", "dev", "test"))):
        said = next((kind for folder in folders for kind in kinds if folder.lower().startswith(kind)), None)
        if said is not None:
            tags.setdefault(tag, said)
    path = Path(name)
    identifier = _cell(row, "id") or f"{place}{path.with_suffix('').as_posix()}".lstrip("/")
    return Candidate(
        item=f"{item} {name}",
        id=identifier,
        audio=table.parent / path,
        text=_cell(row, "text"),
        duration_s=_seconds(_cell(row, "duration")),
        speaker=_cell(row, "speaker") or None,
        language=language,
        recording=identifier,
        tags=tags,
    )


def _tables(source: Path, names: list[str]) -> list[Path]:
    if not source.exists():
        raise InputError(f"{source} does not exist.", hint="Check the path.")
    if source.is_file():
        if source.suffix not in SUFFIXES:
            raise InputError(f"{source} is no table.", hint=f"Use a file that ends in {', '.join(SUFFIXES)}.")
        return [source]
    present = sorted(path for suffix in SUFFIXES for path in source.rglob(f"*{suffix}"))
    found = [path for path in present if path.stem in names]
    if not found:
        listed = ", ".join(sorted({path.stem for path in present})) or "none"
        raise InputError(
            f"{source} has no table called {' or '.join(names) or 'anything'}.",
            hint=f"Name some with the option tables; there are: {listed}.",
        )
    return found


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line, row, or what is wrong with it)."""
    checked = False
    for number, row in _json_rows(table) if table.suffix == ".jsonl" else _cell_rows(table):
        if not checked and isinstance(row, dict):
            _check_columns(table, row)
            checked = True
        yield number, row


def _json_rows(table: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in text_lines(table):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as err:
            yield number, f"not JSON: {err}"
            continue
        yield number, row if isinstance(row, dict) else "not a JSON object"


def _cell_rows(table: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Tabs separate without quoting, so that a quotation mark in a sentence is one; commas with."""
    lines = (line for _, line in text_lines(table))
    cells = (line.split("\t") for line in lines) if table.suffix == ".tsv" else csv.reader(lines)
    header = [name.strip() for name in next(iter(cells), [])]
    _check_columns(table, dict.fromkeys(header))
    for number, row in enumerate(cells, 2):
        if row in ([], [""]):
            continue
        if len(row) != len(header):
            yield number, f"the row has {len(row)} columns, the header {len(header)}"
        else:
            yield number, dict(zip(header, row, strict=True))


def _check_columns(table: Path, row: dict[str, Any]) -> None:
    for role in ("path", "text"):
        if not any(name in row for name in ROLES[role]):
            raise InputError(
                f"{table} has no column for the {role}; its columns: {', '.join(row) or 'none'}.",
                hint=f"Call it one of: {', '.join(ROLES[role])}.",
            )


def _cell(row: dict[str, Any], role: str) -> str:
    value = next((row[name] for name in ROLES[role] if name in row), None)
    return "" if value is None else str(value).strip()


def _seconds(text: str) -> float | None:
    try:
        return float(text) if float(text) > 0 else None
    except ValueError:
        return None
