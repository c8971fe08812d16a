"""Large results: made beside the event loop, sent piece by piece."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, update
from tests.serving import route_server
from tests.serving.jobs.job_stand import ANN, Answers, JobStand, Keys

from harken.core import MissingPart
from harken.serving.jobs.work import KIND
from harken.storage.jobs import MAX_PAGE
from harken.storage.tables import job_items

FILES, WORDS = 2000, 150
LAG_S = 0.02
WORD = {"text": "spoken", "start_s": 12.345678, "end_s": 12.987654, "confidence": 0.87654321}


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStand]:
    """A server that is asked without a connection, in the loop of the test."""
    monkeypatch.setattr(route_server, "OneKey", Keys)
    (tmp_path / "spool").mkdir()
    stand = JobStand(spool=tmp_path / "spool", service=Answers())
    stand.asgi = stand.app()  # type: ignore[attr-defined]
    stand.drain.ready()
    yield stand
    stand.database.close()


def finished_job(stand: JobStand) -> str:
    """A job of a minute of speech in each file, with the words' times."""
    words = [WORD] * WORDS
    segment = {"text": "spoken " * WORDS, "start_s": 0.0, "end_s": 150.0, "language": "en", "words": words}
    result = {"text": "spoken " * WORDS, "segments": [segment], "words": words}
    job = stand.queue.create(KIND, {}, [{"name": f"{number}.wav"} for number in range(FILES)], owner="key:ann")
    done = (
        update(job_items).where(job_items.c.position == bindparam("at")).values(state="done", result=bindparam("told"))
    )
    with stand.database.write() as connection:
        connection.execute(done, [{"at": at, "told": {**result, "duration_s": at}} for at in range(FILES)])
    return job


@dataclass
class Answer:
    status: int = 0
    kind: str = ""
    pieces: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(b"".join(self.pieces))


async def answered(stand: JobStand, path: str) -> Answer:
    """A request without a connection, whose client takes what comes."""
    answer, plain, query = Answer(), *path.partition("?")[::2]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "path": plain, "raw_path": plain.encode(), "query_string": query.encode(), "scheme": "http", "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in ANN.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await asyncio.sleep(3600)
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.kind = dict(message["headers"])[b"content-type"].decode()
        answer.pieces.append(message.get("body", b""))

    await stand.asgi(scope, receive, send)  # type: ignore[attr-defined]
    return answer


async def asked(stand: JobStand, *paths: str) -> tuple[list[Answer], float]:
    """The answers to requests at the same time, and for how long they held up the event loop at worst.

    In CPU seconds of this process, which other programs of a busy machine do not add to.
    """
    worst_s, over = 0.0, False

    async def watch() -> None:
        nonlocal worst_s
        while not over:
            began_s = time.process_time()
            await asyncio.sleep(0.001)
            worst_s = max(worst_s, time.process_time() - began_s)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(*(answered(stand, path) for path in paths))
    over = True
    await watching
    return answers, worst_s


@pytest.mark.slow
def test_thousands_of_results_do_not_hold_up_the_loop(quiet: JobStand) -> None:
    job = finished_job(quiet)
    paths = [f"/jobs/{job}/results?offset={offset}&limit={MAX_PAGE}" for offset in range(0, FILES, MAX_PAGE)]
    asyncio.run(asked(quiet, *(f"/jobs/{job}/results?limit=1" for _ in paths)))  # what a first request imports
    answers, lag_s = asyncio.run(asked(quiet, *paths))
    found = [item for answer in answers for item in answer.json()["results"]]
    assert [(item["index"], item["name"], item["result"]["duration_s"]) for item in found] == [
        (number, f"{number}.wav", number) for number in range(FILES)
    ]
    assert sum(len(piece) for answer in answers for piece in answer.pieces) > 40_000_000
    assert lag_s < LAG_S


@pytest.mark.parametrize(
    ("offset", "limit", "indexes"), [(0, 25, 25), (20, 100, 5), (24, 1, 1), (25, 10, 0), (0, 10, 10)]
)
def test_the_pieces_are_one_answer(quiet: JobStand, offset: int, limit: int, indexes: int) -> None:
    job = quiet.queue.create(KIND, {}, [{"name": 'a"\u20ac.wav'}] * 25, owner="key:ann")
    [answer], _ = asyncio.run(asked(quiet, f"/jobs/{job}/results?offset={offset}&limit={limit}"))
    assert answer.kind == "application/json"
    assert [item["index"] for item in answer.json()["results"]] == [*range(offset, offset + indexes)]
    assert {item["name"] for item in answer.json()["results"]} <= {'a"\u20ac.wav'}


def test_a_database_that_fails_at_once_is_a_status(quiet: JobStand, monkeypatch: pytest.MonkeyPatch) -> None:
    job = quiet.queue.create(KIND, {}, [{}], owner="key:ann")

    def down(*_: Any) -> None:
        raise MissingPart("The database is down.")

    monkeypatch.setattr(quiet.queue, "written_results", down)
    [answer], _ = asyncio.run(asked(quiet, f"/jobs/{job}/results"))
    assert (answer.status, answer.json()["error"]["code"]) == (503, "missing_part")
