"""Jobs and results of files as the routes of batches write them."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from typing_extensions import TypedDict

from harken.serving.shapes.native import TranscriptionView
from harken.storage.job_views import JobView, WrittenResult

LONGEST_NAME = 200
BEGIN, BETWEEN, END = b'{"results":[', b",", b"]}"

State = Literal["queued", "running", "done", "failed", "cancelled"]


class JobSummary(TypedDict):
    """Where a job stands. Times are Unix seconds. `held_up` are those of the queued and running files that an outage
    has kept from being done.
    """

    id: str
    kind: str
    state: State
    items: int
    queued: int
    running: int
    held_up: int
    done: int
    failed: int
    cancelled: int
    created_s: float
    finished_s: float | None


class JobAnswer(TypedDict):
    job: JobSummary


class FileAnswer(TypedDict):
    """One file: its place in the request, what the client called it, and its result or its error."""

    index: int
    name: str
    state: State
    result: TranscriptionView | None
    error: dict[str, str] | None


class ResultsAnswer(TypedDict):
    results: list[FileAnswer]


def job_answer(job: JobView) -> JobAnswer:
    return {"job": job.summary()}  # type: ignore[typeddict-item]


def file_bytes(answer: FileAnswer) -> bytes:
    """The JSON of one file. Of hours of audio it takes a while: call it in a thread."""
    return _json(answer).encode()


def stored_bytes(item: WrittenResult) -> bytes:
    """The JSON of a file of a job, with its result as it was stored."""
    told = item.error if item.state == "failed" else None
    error = None if told is None else {name: str(value) for name, value in told.items()}
    fields = {
        "index": _json(item.position),
        "name": _json(str(item.payload.get("name", ""))),
        "state": _json(item.state),
        "result": item.result or "null",
        "error": _json(error),
    }
    return f"{{{','.join(f'{_json(name)}:{value}' for name, value in fields.items())}}}".encode()


def results_bytes(answers: Iterable[bytes]) -> bytes:
    """The JSON of a ResultsAnswer, from that of its files."""
    return BEGIN + BETWEEN.join(answers) + END


def shown_name(name: str) -> str:
    """What a client calls its file, to show it again: one line, never a path."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    return printable.replace("\\", "/").rpartition("/")[2].strip()[:LONGEST_NAME]


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
