"""The folder of a report: a new report takes the place of an earlier one, wholly or not at all.

`report.json` lists the other files of its report under "files". Those, and nothing else, may be replaced and removed.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harken.core import InputError, Utterance

REPORT_FILE = "report.json"
FILES = "files"

_NAMES = (
    REPORT_FILE,
    "utterances.jsonl",
    "report.html",
    "hardest.jsonl",
    "audio/[0-9][0-9][0-9][0-9].flac",
    "conditions/*/report.json",
    "conditions/*/utterances.jsonl",
)
"""What a report may bring along, besides figures: looked for before hours of work end at a file in the way."""

_FIGURES = tuple(f"figures/{name}.{kind}" for name in ("conditions", "errors", "speakers") for kind in ("png", "svg"))
_FIGURES += ("figures/wer-by-*.*", "figures/phonemes-*.*")


def is_report(summary: Any) -> bool:
    """Whether the content of a JSON file is that of a `report.json`."""
    return isinstance(summary, dict) and "utterance_file" in summary and "conditions" in summary


def check_report_folder(folder: Path, utterances: Sequence[Utterance] = ()) -> None:
    """Make sure that a report on `utterances` can be written to `folder`, and leave no trace there.

    Raises InputError where the folder cannot be made or written to, where a file in it would be overwritten that no
    earlier report made, and where the audio of `utterances` belongs to the report that would be replaced.
    """
    folder = Path(folder)
    earlier = _earlier_files(folder)
    _refuse_strangers(folder, _present(folder, _NAMES) - earlier)
    inside = {Path(name).name: (folder / name).resolve() for name in earlier}
    for utterance in utterances:
        same = inside.get(utterance.audio.rpartition("/")[2])
        if same is not None and same == Path(utterance.audio).resolve():
            raise InputError(
                f"{utterance.audio} is part of the test set and of the report in {folder}.",
                hint="Name another folder for the new report.",
            )
    with _staging(folder):
        pass


@contextmanager
def replacing_report(folder: Path) -> Iterator[Path]:
    """A temporary folder to write a report into; on success its files take the place of the report in `folder`.

    Files of the earlier report that the new one does not have are removed. On failure the folder stays as it was.
    Raises InputError as `check_report_folder` does.
    """
    folder = Path(folder)
    check_report_folder(folder)
    with _staging(folder) as staging:
        yield staging
        earlier = _earlier_files(folder)
        new = {path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()}
        _refuse_strangers(folder, {name for name in new - earlier if (folder / name).exists()})
        for name in sorted(new - {REPORT_FILE}):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
        for name in sorted(earlier - new):
            _remove(folder, name)
        if REPORT_FILE in new:  # last: whoever finds it finds everything it names
            (staging / REPORT_FILE).replace(folder / REPORT_FILE)


def _earlier_files(folder: Path) -> set[str]:
    """The files of the report in a folder, `report.json` included; none where there is none."""
    try:
        summary = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except (OSError, ValueError):
        summary = None
    if not is_report(summary):
        return set()
    listed = summary.get(FILES)
    if not isinstance(listed, list):  # from a version that kept no list
        return _present(folder, (*_NAMES, *_FIGURES))
    names = {REPORT_FILE, *(name for name in listed if isinstance(name, str))}
    return {name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}


def _present(folder: Path, patterns: Sequence[str]) -> set[str]:
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern)}


def _refuse_strangers(folder: Path, names: set[str]) -> None:
    if names:
        raise InputError(
            f"{folder / min(names)} is in the way, and no earlier report made it.",
            hint="Name another folder for the report, or move the file.",
        )


def _remove(folder: Path, name: str) -> None:
    """Remove a file, and the folders inside `folder` that it leaves empty."""
    path = folder / name
    path.unlink(missing_ok=True)
    with suppress(OSError):
        for parent in path.parents:
            if parent == folder:
                return
            parent.rmdir()


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, gone afterwards, like every folder above it that had to be made and is empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    staging = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".report-", suffix=".tmp", dir=folder))
        except OSError as err:
            raise InputError(
                f"No report can be written to {folder}: {(err.strerror or str(err)).lower()}.",
                hint="Name a folder, new or your own.",
            ) from err
        yield staging
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
