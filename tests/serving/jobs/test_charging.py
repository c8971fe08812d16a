"""Audio is taken off a quota once for each file of a job, whoever is killed. On SQLite and on PostgreSQL."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harken.http.auth import Principal
from harken.serving.contract import TranscribeOptions
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue

FILES, KILLS, WORKERS = 60, 5, 2
ROOT = Path(__file__).resolve().parents[3]
ME = Principal(id="ann", name="ann", kind="key", scopes=frozenset(["batch"]))


def queued(queue: JobQueue, folder: Path, files: int) -> str:
    (folder / "upload").write_bytes(b"sound")
    blob = BlobStore.open((folder / "store").as_uri()).put_file(folder / "upload")
    payload = job_payload(TranscribeOptions(), word_times=False, principal=ME)
    return queue.create(KIND, payload, [item_payload(blob, str(n)) for n in range(files)], owner="ann")


@pytest.mark.slow
def test_no_kill_charges_a_file_twice_and_each_loses_what_it_held_at_most(database_url: str, tmp_path: Path) -> None:
    database, charges = Database.open(database_url), tmp_path / "charges"
    queue = JobQueue(database)
    job = queued(queue, tmp_path, FILES)
    (tmp_path / "spool").mkdir()
    module = "tests.serving.jobs.charging_worker"
    store, spool = (tmp_path / "store").as_uri(), tmp_path / "spool"
    deadline = time.monotonic() + 120

    def done() -> int:
        view = queue.view(job)
        assert view is not None
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
        return view.done

    for kill in range(KILLS + 1):
        process = subprocess.Popen([sys.executable, "-m", module, database_url, store, spool, charges], cwd=ROOT)
        share = FILES if kill == KILLS else FILES * (kill + 1) // (KILLS + 2)
        while done() < share:
            assert process.poll() is None
        process.kill()
        process.wait()
    charged = Counter(charges.read_text().split())
    assert set(charged.values()) == {1}
    assert FILES - KILLS * WORKERS <= len(charged) <= FILES
    assert sum(item.attempts for item in queue.results(job)) > FILES  # some were begun by one that died
    database.close()


def test_an_item_is_paid_once_by_whoever_holds_it(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/jobs.db")
    now_s = 1000.0
    queue = JobQueue(database, clock=lambda: now_s)
    queued(queue, tmp_path, 2)
    first = queue.claim("a", [KIND], lease_s=10)
    assert first is not None
    now_s += 11
    second = queue.claim("b", [KIND], lease_s=10)
    assert second is not None
    assert second.position == first.position
    assert not queue.pay(first)  # its lease is another's
    assert queue.pay(second)
    assert not queue.pay(second)
    assert queue.give_back(second)
    third = queue.claim("c", [KIND], lease_s=10)
    assert third is not None
    assert (third.position, queue.pay(third)) == (first.position, False)
    assert queue.complete(third, {})
    assert not queue.pay(third)
    other = queue.claim("c", [KIND], lease_s=10)
    assert other is not None
    assert queue.pay(other)
    database.close()
