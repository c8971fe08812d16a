"""The folder of a run: who it is, how it ended, and every number it logged.

`run.json` is replaced atomically; `metrics.jsonl` and `events.jsonl` only grow, one whole line per write, so that a
process killed at any moment leaves at most one torn line at the end, which the next opening removes. Between a kill
and the checkpoint a resume starts from, steps were logged that will be run again: an event of kind "resumed" says
which lines no longer count, and `read_metrics` leaves them out.
"""

import json
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, Self, SupportsFloat

from harken.core import InputError, RunFailed
from harken.core.files import write_json
from harken.tracking.jsonl import append_line, read_lines, repair_tail
from harken.tracking.lock import LOCK_NAME, FolderLock, is_locked

STATUSES = ("running", "finished", "failed", "interrupted")
FORMAT = 1

_log = logging.getLogger(__name__)

_RECORD, _METRICS, _EVENTS, _LOG = "run.json", "metrics.jsonl", "events.jsonl", "training.log"


def new_run_id(name: str, *, now: datetime | None = None) -> str:
    """A run's id: readable, sortable by time among runs of one name, unique: `digits-20261121-142530-a1b2`."""
    stem = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-") or "run"
    moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    return f"{stem}-{moment}-{secrets.token_hex(2)}"


class RunFolder:
    """A run being written. Make one with `create` or `open`, and use it in a `with` block.

    It holds an exclusive lock until it is closed or its process ends, however that happens. Leaving the block sets the
    status: "finished", or "interrupted" after Ctrl-C, or "failed" after another exception, with its text. Methods may
    be called from several threads.
    """

    def __init__(self, path: Path, record: dict[str, Any], lock: FolderLock, clock: Callable[[], float]) -> None:
        self.path = path
        self._record = record
        self._lock = lock
        self._clock = clock
        self._writing = threading.RLock()

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        provenance: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "RunFolder":
        """Begin a run in `path`, which must be new or empty. `run_id` is the folder's name unless given.

        Provenance can be added later with `update(provenance=...)`, so that run.json is there from the first moment.
        Raises InputError when the folder has contents, RunBusyError when another process is at the same.
        """
        _require_empty(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock.take(path)
        except OSError as err:
            raise InputError(
                f"{path} cannot be used for a run: {err.strerror or err}.", hint="Choose another place with --out."
            ) from err
        try:
            _require_empty(path)  # again, now that nobody else can begin here
            moment = _iso(clock())
            record = {
                "format": FORMAT,
                "id": run_id or path.resolve().name,
                "name": name,
                "kind": kind,
                "status": "running",
                "created_at": moment,
                "updated_at": moment,
                "finished_at": None,
                "error": None,
                "settings": plain(settings),
                "provenance": plain(provenance or {}),
            }
            run = cls(path, record, lock, clock)
            run._write_record()
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> "RunFolder":
        """Go on with the run in `path`: takes the lock, removes a torn last line, sets the status to "running".

        Say from which step with `resumed`. Raises InputError when `path` is not a run folder, RunBusyError when the
        run is still going.
        """
        _load_record(path)  # before a lock file is written into a folder that is something else
        try:
            lock = FolderLock.take(path)
        except OSError as err:
            raise InputError(
                f"{path} cannot be written: {err.strerror or err}.", hint="Check its permissions."
            ) from err
        try:
            run = cls(path, _load_record(path), lock, clock)
            for name in (_METRICS, _EVENTS):
                removed = repair_tail(path / name)
                if removed:
                    run.log_event("repaired", file=name, removed_bytes=removed)
            run.log_event("reopened", previous_status=run._record["status"], previous_error=run._record["error"])
            run.update(status="running", error=None)
        except BaseException:
            lock.release()
            raise
        return run

    @property
    def id(self) -> str:
        return str(self._record["id"])

    @property
    def record(self) -> dict[str, Any]:
        """A copy of what run.json holds."""
        with self._writing:
            copy: dict[str, Any] = json.loads(json.dumps(self._record))
        return copy

    def update(self, *, status: str | None = None, **fields: Any) -> None:
        """Change fields of run.json, all of them or none. Values may be anything `plain` understands.

        A status other than "running" sets `finished_at` too.
        """
        if status is not None and status not in STATUSES:
            raise ValueError(f"status is {status!r}; use one of {', '.join(STATUSES)}")
        moment = _iso(self._clock())
        changes = plain(fields)
        if status is not None:
            changes |= {"status": status, "finished_at": None if status == "running" else moment}
        with self._writing:
            before = dict(self._record)
            self._record.update(changes, updated_at=moment)
            try:
                self._write_record()
            except BaseException:
                self._record = before
                raise

    def log_metrics(self, step: int, epoch: float, **numbers: SupportsFloat) -> None:
        """Append numbers of one step to metrics.jsonl. What is not finite is written as null.

        Raises RunFailed when the line cannot be written (a full disk), and then leaves no part of it behind.
        """
        line = {"step": int(step), "epoch": round(float(epoch), 6), "time": round(self._clock(), 3)}
        self._append(_METRICS, _joined(line, {name: _number(value) for name, value in numbers.items()}))

    def log_event(self, kind: str, *, step: int | None = None, **fields: Any) -> None:
        """Append something that happened to events.jsonl: an OOM split, a skipped update, a rejected utterance, ..."""
        line = {"event": kind, "step": None if step is None else int(step), "time": round(self._clock(), 3)}
        self._append(_EVENTS, _joined(line, plain(fields)))

    def resumed(self, from_step: int) -> None:
        """Record that the run goes on after `from_step`: metrics of later steps logged so far stop counting."""
        metrics = self.path / _METRICS
        size = metrics.stat().st_size if metrics.exists() else 0
        self.log_event("resumed", step=from_step, from_step=from_step, metrics_bytes=size)

    @contextmanager
    def capture_log(self, logger: str = "harken", level: int = logging.INFO) -> Iterator[Path]:
        """Copy what `logger` and those below it say, from `level` up, to training.log inside the folder."""
        target = logging.getLogger(logger)
        handler = logging.FileHandler(self.path / _LOG, encoding="utf-8")
        handler.setLevel(level)
        formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        before = target.level
        if target.getEffectiveLevel() > level:
            target.setLevel(level)
        target.addHandler(handler)
        try:
            yield self.path / _LOG
        finally:
            target.removeHandler(handler)
            target.setLevel(before)
            handler.close()

    def close(self) -> None:
        """Give the lock back. The status stays as it is."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None or (isinstance(error, SystemExit) and not error.code):
                status, text = "finished", None
            else:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                text = f"{type(error).__name__}: {error}".rstrip(": ")
            if self._record["status"] == "running":  # unless the caller has said already how it ended
                self.update(status=status, error=text)
        except (OSError, RunFailed) as problem:
            if error is None:
                raise
            # The exception under way says why the run ended; that its folder is full must not hide it.
            _log.error("%s: the status could not be written: %s", self.path, problem)
        finally:
            self.close()

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with self._writing:
            try:
                append_line(self.path / name, line)
            except OSError as err:
                raise RunFailed(
                    f"{self.path / name} cannot be written: {err.strerror or err}.",
                    hint="Free some room on the disk, then resume the run.",
                ) from err

    def _write_record(self) -> None:
        try:
            write_json(self.path / _RECORD, self._record)
        except OSError as err:
            raise RunFailed(
                f"{self.path / _RECORD} cannot be written: {err.strerror or err}.",
                hint="Free some room on the disk, then resume the run.",
            ) from err


def read_record(path: Path) -> dict[str, Any]:
    """run.json of a run, whoever is writing it.

    A run that says "running" and is locked by nobody ended without a word (kill -9, power cut): its status is given
    as "interrupted". Raises InputError when `path` is not a run folder.
    """
    record = _load_record(path)
    if record["status"] == "running" and not is_locked(path):
        record = _load_record(path)  # it may have ended properly between the two looks
        if record["status"] == "running":
            record |= {"status": "interrupted", "error": "The process ended without saying why (it was killed)."}
    return record


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """What a run logged with `log_metrics`, in the order of steps; null where a number was not finite.

    Lines that a resume has made void are left out. Of several lines with the same step and the same names, the last
    counts. Raises InputError when `path` is not a run folder or a line in the middle of the file is broken.
    """
    resumes = [
        (int(event["metrics_bytes"]), int(event["from_step"]))
        for event in read_events(path)
        if event["event"] == "resumed"
    ]
    kept: dict[tuple[int, frozenset[str]], dict[str, Any]] = {}
    for offset, line in read_lines(path / _METRICS):
        if not any(offset < size and line["step"] > from_step for size, from_step in resumes):
            kept[line["step"], frozenset(line)] = line
    return sorted(kept.values(), key=lambda line: int(line["step"]))


def read_events(path: Path) -> list[dict[str, Any]]:
    """What happened in a run, in the order it was logged, resumes and what came before them included.

    Raises as `read_metrics` does.
    """
    _load_record(path)
    return [line for _, line in read_lines(path / _EVENTS)]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: paths and numbers that are not finite as text, NumPy's as Python's, sets sorted.

    Raises TypeError, naming the type, for what has no such form.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy and torch
        return plain(value.tolist())
    if isinstance(value, SupportsFloat):
        return float(value) if math.isfinite(value) else str(float(value))
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: {value!r}")


def _number(value: SupportsFloat) -> int | float | None:
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _joined(line: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    taken = sorted(set(line) & set(more))
    if taken:
        raise ValueError(f"{taken[0]} is a name every line has already; use another one")
    return {**line, **more}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _require_empty(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a folder for a run.", hint="Choose another place with --out.")
    if not path.exists():
        return
    contents = sorted(
        entry.name
        for entry in os.scandir(path)
        # A process killed while it wrote its first file leaves a temporary one, and nothing else.
        if entry.name != LOCK_NAME and not (entry.name.startswith(".") and entry.name.endswith(".tmp"))
    )
    if _RECORD in contents:
        raise InputError(
            f"{path} holds a run already.", hint=f"Go on with it with --resume {path}, or choose another --out."
        )
    if contents:
        raise InputError(
            f"{path} is not empty (it holds {contents[0]}); a run needs a folder of its own.",
            hint="Choose another --out.",
        )


def _load_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise InputError(f"{path} is not a run folder: it has no {_RECORD}.", hint="Check the path.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{path / _RECORD} cannot be read: {err}.") from err
    if not isinstance(record, dict) or record.get("format") != FORMAT or record.get("status") not in STATUSES:
        raise InputError(f"{path / _RECORD} is not the record of a run (format {FORMAT}).")
    return record
