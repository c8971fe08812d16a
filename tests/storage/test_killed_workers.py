"""Workers killed at random: no item is lost, none has two results. On SQLite and on PostgreSQL."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harken.storage.database import Database
from harken.storage.deliveries import DeliveryQueue
from harken.storage.jobs import JobQueue

WORKERS = 4
ITEMS = 200
KILLS = 12
DEADLINE_S = 120.0


def start_worker(url: str, name: str, folder: Path) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name("queue_worker.py")
    with open(folder / "log", "ab") as log:
        return subprocess.Popen([sys.executable, script, url, name, folder / "notes"], stdout=log, stderr=log)


@pytest.mark.slow
def test_killed_workers_lose_nothing_and_write_nothing_twice(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    queue = JobQueue(database)
    job_id = queue.create(
        "squares", {}, [{"n": n} for n in range(ITEMS)], owner="ann", webhook="https://example.org/hook"
    )
    draw = random.Random(7)
    workers = [start_worker(database_url, f"w{number}", tmp_path) for number in range(WORKERS)]
    kills = 0
    deadline = time.monotonic() + DEADLINE_S
    try:
        while True:
            view = queue.view(job_id)
            assert view is not None
            if view.finished_s is not None:
                break
            assert time.monotonic() < deadline, view
            assert [worker.poll() for worker in workers] == [None] * WORKERS, (tmp_path / "log").read_text()
            # Spread over the work: the next one dies when its share of the items is done.
            if kills < KILLS and view.done >= kills * ITEMS // (KILLS + 1):
                time.sleep(draw.uniform(0, 0.02))
                number = draw.randrange(WORKERS)
                workers[number].kill()
                workers[number].wait()
                kills += 1
                workers[number] = start_worker(database_url, f"w{number}.{kills}", tmp_path)
            time.sleep(0.01)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert kills == KILLS
    assert (view.state, view.done, view.failed) == ("done", ITEMS, 0)
    results = queue.results(job_id, 0, ITEMS)
    assert [found.result["square"] for found in results if found.result is not None] == [n * n for n in range(ITEMS)]
    # A worker may die between the result and its note, so a note may be missing; two would be two results.
    notes = Counter((tmp_path / "notes").read_text().split())
    assert max(notes.values()) == 1
    assert len(notes) >= ITEMS - KILLS
    assert any(found.attempts > 1 for found in results)  # some died at work
    assert len(DeliveryQueue(database).of_job(job_id)) == 1
