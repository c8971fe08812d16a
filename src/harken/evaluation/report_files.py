"""Reports on disk.

report.json               the figures
utterances.jsonl          every utterance: texts, counts, alignment
conditions/NAME/          the same two files for every further condition
"""

import json
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.files import replacing
from harken.evaluation.report import UTTERANCE_FILE, EvaluationReport

REPORT_FILE = "report.json"
CONDITIONS = "conditions"


def write_report(report: EvaluationReport, folder: Path) -> Path:
    """Write a report, each file wholly or not at all; the path of `report.json`, which is written last."""
    folder = Path(folder)
    for name, other in report.conditions.items():
        write_report(other, folder / CONDITIONS / name)
    with replacing(folder / UTTERANCE_FILE) as file:
        for row in report.rows:
            file.write(_json_bytes(row))
    with replacing(folder / REPORT_FILE) as file:
        file.write(_json_bytes(report.summary, indent=2))
    return folder / REPORT_FILE


def read_report(path: Path) -> EvaluationReport:
    """The report in a folder, or the one whose `report.json` is named.

    Raises MissingPart when a file is absent, InputError when one is damaged.
    """
    path = Path(path)
    file = path if path.name == REPORT_FILE else path / REPORT_FILE
    summaries = _load(file)
    if len(summaries) != 1 or "utterance_file" not in summaries[0] or "conditions" not in summaries[0]:
        raise InputError(f"{file} is not an evaluation report.", hint="Name the folder `harken evaluate` wrote.")
    summary, folder = summaries[0], file.parent
    return EvaluationReport(
        summary=summary,
        rows=_load(folder / summary["utterance_file"], lines=True),
        conditions={name: read_report(folder / CONDITIONS / name) for name in list(summary["conditions"])[1:]},
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
