"""What to drop and why: a table with one row for each utterance, for a spreadsheet or a program."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harken.core import InputError, Utterance
from harken.core.files import replacing
from harken.data.validate import Finding, ValidationReport

if TYPE_CHECKING:
    from harken.audio.quality import AudioQuality

Decision = Literal["drop", "look", "keep"]

TABLE_ENDINGS = (".tsv", ".csv", ".jsonl")

_DIGITS = {
    "sample_rate_hz": 0,
    "loudness_lufs": 1,
    "peak_db": 1,
    "rms_db": 1,
    "snr_db": 1,
    "bandwidth_hz": 0,
    "clipped_share": 5,
    "silence_share": 3,
    "leading_silence_s": 2,
    "trailing_silence_s": 2,
    "dc_offset": 5,
}
"""The measures of a row, in order, and the decimals they are given with."""


def quality_rows(
    utterances: Sequence[Utterance], report: ValidationReport, *, every: bool = False
) -> list[dict[str, Any]]:
    """A row for each utterance with a finding (with `every`, for each one), in the order of `utterances`.

    The decision is "drop" for what the report rejects, "look" where there is a warning, else "keep". `reasons` is a
    list of "check: message". What could not be measured is None. `duration_s` and `text` are the manifest's.
    """
    findings: dict[str, list[Finding]] = {}
    for finding in report.findings:
        findings.setdefault(finding.utterance, []).append(finding)
    rejected = {rejection.item for rejection in report.rejected}
    rows = []
    for item in utterances:
        found = findings.get(item.id, [])
        if not found and not every:
            continue
        rows.append(
            {
                "id": item.id,
                "decision": _decide(found, rejected=item.id in rejected),
                "reasons": [f"{finding.check}: {finding.message}" for finding in found],
                "audio": item.audio,
                "offset_s": item.offset_s,
                "duration_s": round(item.duration_s, 3),
                "speaker": item.speaker,
                "language": item.language,
                "text": item.text,
                "characters_per_s": _rate(item),
                **_measures(report.quality.get(item.id)),
            }
        )
    return rows


def write_quality_table(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a .tsv, .csv or .jsonl file, all or nothing; returns how many.

    In .tsv and .csv the reasons are joined by "; " and what is None is empty. Raises InputError for another ending.
    """
    path, lines = Path(path), list(rows)
    check_table_path(path)
    with replacing(path, "w") as file:
        if path.suffix.lower() == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in lines)
        else:
            dialect = "excel-tab" if path.suffix.lower() == ".tsv" else "excel"
            table = csv.writer(file, dialect=dialect, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows([_cell(row[column]) for column in COLUMNS] for row in lines)
    return len(lines)


def check_table_path(path: Path) -> None:
    """Raise InputError unless `path` ends as a table does."""
    if path.suffix.lower() not in TABLE_ENDINGS:
        raise InputError(f"The table is to be {path}.", hint=f"Use a name that ends in {', '.join(TABLE_ENDINGS)}.")


COLUMNS = (
    "id", "decision", "reasons", "audio", "offset_s", "duration_s", "speaker", "language", "text", "characters_per_s",
    *_DIGITS,
)  # fmt: skip


def _decide(found: Sequence[Finding], *, rejected: bool) -> Decision:
    if rejected:
        return "drop"
    return "look" if any(finding.severity == "warning" for finding in found) else "keep"


def _rate(item: Utterance) -> float | None:
    return None if item.text is None else round(len("".join(item.text.split())) / item.duration_s, 2)


def _measures(quality: "AudioQuality | None") -> dict[str, float | None]:
    values = {} if quality is None else asdict(quality)
    return {name: _rounded(values.get(name), digits) for name, digits in _DIGITS.items()}


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits) if digits else round(value)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(value)
    return "" if value is None else value
