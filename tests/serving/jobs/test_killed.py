"""Workers and servers killed at work: no file is lost, none has two results. On SQLite and on PostgreSQL."""

import random
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from tests.serving.server_processes import Process, Processes, until

from harken.http.auth import Principal
from harken.serving.contract import TranscribeOptions
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.deliveries import DeliveryQueue
from harken.storage.jobs import JobQueue

JOBS, FILES = 4, 50
WORKERS, KILLS = 2, 6
DEADLINE_S = 120.0
ME = Principal(
    id="ann", name="ann", kind="key", scopes=frozenset(["batch"]), rate=None, audio_s_per_day=None, streams=None
)
# What the database itself saw: a row for every time that a file was given a result.
SQLITE_WITNESS = """CREATE TRIGGER witness AFTER UPDATE OF state ON job_items WHEN NEW.state = 'done'
BEGIN INSERT INTO witnessed VALUES (NEW.job_id, NEW.position); END"""
POSTGRES_WITNESS = """CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO witnessed VALUES (NEW.job_id, NEW.position); RETURN NEW; END $$;
CREATE TRIGGER witness AFTER UPDATE OF state ON job_items
FOR EACH ROW WHEN (NEW.state = 'done') EXECUTE FUNCTION witness()"""


def witness(database: Database, url: str) -> None:
    with database.write() as connection:
        connection.execute(text("CREATE TABLE witnessed (job_id VARCHAR(32), position INTEGER)"))
        connection.execute(text(SQLITE_WITNESS if url.startswith("sqlite") else POSTGRES_WITNESS))


def witnessed(database: Database) -> Counter[tuple[str, int]]:
    with database.read() as connection:
        rows = connection.execute(text("SELECT job_id, position FROM witnessed"))
        return Counter((job_id, position) for job_id, position in rows)


def queue_up(database: Database, home: Path, recordings: list[Path]) -> list[str]:
    """Jobs of recordings in turn, as the server would have queued them."""
    blobs = BlobStore.open((home / "store").as_uri())
    keys = [blobs.put_file(path) for path in recordings]
    queue = JobQueue(database)
    payload = job_payload(TranscribeOptions(), word_times=False, principal=ME)
    items = [item_payload(keys[n % len(keys)], f"{n}.wav") for n in range(FILES)]
    return [
        queue.create(KIND, payload, items, owner="ann", webhook=f"https://example.org/{job}") for job in range(JOBS)
    ]


def killed_at_work(processes: Processes, queue: JobQueue, jobs: list[str]) -> int:
    """Lets workers work, killing one whenever another share of the files is done; returns how many died at work."""
    draw = random.Random(11)
    workers: list[Process] = [processes.start("worker")[0] for _ in range(WORKERS)]
    deadline, kills = time.monotonic() + DEADLINE_S, 0
    while True:
        views = [queue.view(job) for job in jobs]
        done = sum(view.done + view.failed for view in views if view)
        if all(view and view.finished_s is not None for view in views):
            return kills
        assert time.monotonic() < deadline, views
        assert [worker.poll() for worker in workers] == [None] * WORKERS
        if kills < KILLS and queue.depth().running and done >= kills * JOBS * FILES // (KILLS + 1):
            time.sleep(draw.uniform(0, 0.03))
            number = draw.randrange(WORKERS)
            workers[number].kill()
            workers[number].wait()
            kills += 1
            workers[number] = processes.start("worker")[0]
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_workers_lose_no_file_and_transcribe_none_twice(
    database_url: str, onnx_model: Path, recordings: list[Path], texts: list[str], processes: Processes
) -> None:
    database = Database.open(database_url)
    witness(database, database_url)
    jobs = queue_up(database, processes.home, recordings)
    processes.set(
        models__models=f"[{{path: {onnx_model}, engine: onnx}}]",
        storage__database=database_url,
        storage__job_attempts=100,
        jobs__workers=2,
        jobs__lease_s=1.5,
        jobs__poll_s=0.1,
    )
    queue = JobQueue(database)
    kills = killed_at_work(processes, queue, jobs)
    assert kills == KILLS
    attempts = 0
    for job in jobs:
        view = queue.view(job)
        assert view is not None
        assert (view.state, view.items, view.done, view.failed) == ("done", FILES, FILES, 0)
        results = queue.results(job, 0, FILES)
        assert [found.position for found in results] == list(range(FILES))
        said = [found.result["text"] for found in results if found.result is not None]
        assert said == [texts[n % len(texts)] for n in range(FILES)]
        attempts += sum(found.attempts for found in results)
        assert [view.url for view in DeliveryQueue(database).of_job(job)] == [f"https://example.org/{jobs.index(job)}"]
    assert witnessed(database) == Counter({(job, position): 1 for job in jobs for position in range(FILES)})
    assert attempts > JOBS * FILES  # some were begun by one that died, and begun again
    database.close()


@pytest.mark.slow
def test_a_killed_server_goes_on_with_its_jobs_and_clears_what_it_left(
    onnx_model: Path, recordings: list[Path], texts: list[str], processes: Processes
) -> None:
    processes.set(jobs__lease_s=1.5, jobs__poll_s=0.1, storage__job_attempts=20)
    process, url, _ = processes.serve(onnx_model)
    spool = processes.home / "spool"
    files = [("files", (path.name, path.read_bytes())) for path in recordings * 10]
    job = httpx.post(f"{url}/transcribe/batch", files=files, data={"mode": "job"}, timeout=30).json()["job"]
    until(lambda: httpx.get(f"{url}/jobs/{job['id']}").json()["job"]["done"] > 2)
    process.kill()
    process.wait()
    [left] = spool.iterdir()
    (left / "upload").write_bytes(b"half a file")

    again, url, log = processes.serve(onnx_model)
    assert len(list(spool.iterdir())) == 1  # its own
    assert not left.exists()
    assert str(left) in log.read_text()
    until(lambda: httpx.get(f"{url}/jobs/{job['id']}").json()["job"]["state"] == "done", log=log, process=again)
    found = httpx.get(f"{url}/jobs/{job['id']}/results").json()["results"]
    assert [item["result"]["text"] for item in found] == texts * 10
    again.terminate()
    assert again.wait(30) == 0
    assert list(spool.iterdir()) == []
