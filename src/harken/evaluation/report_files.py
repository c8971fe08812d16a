"""Reports on disk.

report.json               the figures, and under "files" the names of the report's other files
utterances.jsonl          every utterance: texts, counts, alignment
conditions/NAME/          the same two files for every further condition
"""

import json
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.files import replacing
from harken.evaluation.report import UTTERANCE_FILE, EvaluationReport
from harken.evaluation.report_folder import FILES, REPORT_FILE, is_report, replacing_report

CONDITIONS = "conditions"


def write_report(report: EvaluationReport, folder: Path) -> Path:
    """Write a report in the place of an earlier one, wholly or not at all; the path of `report.json`.

    Files of the earlier report that this one does not have are removed, such as its page and figures. Raises
    InputError where the folder cannot be written to, or a file is in the way that no report made.
    """
    folder = Path(folder)
    with replacing_report(folder) as new:
        write_files(report, new)
    return folder / REPORT_FILE


def write_files(report: EvaluationReport, folder: Path) -> None:
    """Write a report's own files to a folder, and list in `report.json` what is in the folder besides it."""
    for name, other in report.conditions.items():
        write_files(other, folder / CONDITIONS / name)
    with replacing(folder / UTTERANCE_FILE) as file:
        for row in report.rows:
            file.write(_json_bytes(row))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with replacing(folder / REPORT_FILE) as file:
        file.write(_json_bytes({**report.summary, FILES: files}, indent=2))


def read_report(path: Path) -> EvaluationReport:
    """The report in a folder, in a run's folder, or the one whose `report.json` is named.

    The list of files is left out: it is about the folder. Raises MissingPart when a file is absent, InputError when one
    is damaged.
    """
    file = _find(Path(path))
    (summary,) = _load(file)
    if not is_report(summary):
        raise InputError(f"{file} is not an evaluation report.", hint="Name the folder `harken evaluate` wrote.")
    summary.pop(FILES, None)
    folder = file.parent
    return EvaluationReport(
        summary=summary,
        rows=_load(folder / summary["utterance_file"], lines=True),
        conditions={name: read_report(folder / CONDITIONS / name) for name in list(summary["conditions"])[1:]},
    )


def _find(path: Path) -> Path:
    """`report.json` at a path, which may be that file, its folder, or a run's folder with the folder `report`."""
    if path.name == REPORT_FILE:
        return path
    for folder in (path, path / "report"):
        if (folder / REPORT_FILE).is_file():
            return folder / REPORT_FILE
    if path.is_file():
        raise InputError(f"{path} is not an evaluation report.", hint=f"Name its folder, or its {REPORT_FILE}.")
    raise MissingPart(
        f"{path} {'holds no ' + REPORT_FILE if path.is_dir() else 'does not exist'}.",
        hint="Make a report first: `harken evaluate ... --out FOLDER`.",
    )


def _json_bytes(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes \udXXX, which JSON reads back


def _load(path: Path, *, lines: bool = False) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        # Not splitlines(): texts may hold U+2028 and other line separators of Unicode, which JSON leaves as they are.
        values = [json.loads(line) for line in text.split("\n") if line] if lines else [json.loads(text)]
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="Run an evaluation first.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{path} cannot be read: {err}.") from err
    if not all(isinstance(value, dict) for value in values):
        raise InputError(f"{path} does not hold JSON objects.")
    return values
