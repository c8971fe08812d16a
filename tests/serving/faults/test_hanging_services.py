"""PostgreSQL, Redis and S3 that take connections and never answer: a stopped process, as a full disk or a host that
swaps makes one.
"""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.service_processes import Service
from tests.services import create_bucket, create_database, running_postgres, running_redis, running_s3, s3_environment
from tests.serving.faults.conftest import Start
from tests.serving.faults.server_process import NATIVE, ServerProcess, check_refusal, until
from tests.serving.faults.sounds import recording
from tests.serving.faults.test_services import REMEMBERED_S, failed

from harken.http.keys import DatabaseKeys
from harken.storage.database import Database

pytestmark = [pytest.mark.service, pytest.mark.slow]

SLACK_S = 0.5


@contextmanager
def hanging(service: Service) -> Iterator[None]:
    """The service and all its processes stand still within the context."""
    assert service.process is not None
    main = psutil.Process(service.process.pid)
    stopped = [main, *main.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            try:
                process.resume()
            except psutil.NoSuchProcess:
                continue


def took_s(ask: Callable[[], httpx.Response], status: int = 200) -> float:
    began_s = time.monotonic()
    answer = ask()
    assert answer.status_code == status, answer.text
    return time.monotonic() - began_s


def usual_s(ask: Callable[[], httpx.Response]) -> float:
    """The longest of some, so that other programs on this machine count for both sides."""
    return max(took_s(ask) for _ in range(5))


def check_synchronous_path(ask: Callable[[], httpx.Response], usual: float, *, for_s: float) -> None:
    """Every answer within half as long again, and half a second, for some seconds."""
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        assert took_s(ask) < 1.5 * usual + SLACK_S
        time.sleep(0.1)


def rows(url: str) -> int:
    database = Database.open(url)
    with database.read() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM requests").scalar_one()
    database.close()
    return int(count)


def test_a_database_that_hangs_holds_up_no_known_key(start: Start) -> None:
    with running_postgres() as service:
        url = create_database(service.url)
        database = Database.open(url)
        keys = DatabaseKeys(database)
        scopes = ("transcribe", "batch", "metrics")
        key, stranger = (keys.create(name, scopes=scopes, now_s=time.time())[1] for name in ("known", "new"))
        database.close()
        server = start(STORAGE__DATABASE=url, STORAGE__CACHE_BYTES=0, JOBS__POLL_S=0.2)
        server.wait_ready()
        seeds = iter(range(10_000))

        def ask(credential: str = key, path: str = NATIVE) -> httpx.Response:
            return server.post(
                path, recording(0.5, next(seeds)), model="faulty", headers={"Authorization": f"Bearer {credential}"}
            )

        usual = usual_s(ask)
        until(lambda: rows(url) == 5, within_s=5)
        with hanging(service):
            began_s = time.monotonic()
            until(lambda: failed(server) == {"database"}, within_s=5, what=server.ready)
            assert time.monotonic() - began_s < 5
            check_synchronous_path(ask, usual, for_s=REMEMBERED_S + 3)
            for _ in range(3):
                assert took_s(lambda: ask(stranger), 503) < 2
            check_refusal(ask(stranger), NATIVE, 503, "unavailable")
            headers = {"Authorization": f"Bearer {key}"}
            began_s = time.monotonic()
            job = httpx.get(f"{server.url}/jobs/abc", headers=headers, timeout=60)
            check_refusal(job, NATIVE, 503, "missing_part")
            assert time.monotonic() - began_s < 45
            assert "127.0.0.1" not in job.text
            check_synchronous_path(ask, usual, for_s=1)
        until(lambda: server.ready()["status"] == "ready", within_s=20, what=server.ready)
        until(lambda: ask(stranger).status_code == 200, within_s=10)
        asked = next(seeds)  # this and every request before was answered, but for those of the stranger
        until(lambda: rows(url) >= asked - 20, within_s=20, what=lambda: (rows(url), asked))
        metrics = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {key}"}, timeout=10).text
        assert "asr_audit_rows_lost_total 0.0" in metrics
        assert not server.left_over()


def test_a_database_that_hangs_does_not_hold_up_the_end(start: Start) -> None:
    with running_postgres() as service:
        url = create_database(service.url)
        server = start(STORAGE__DATABASE=url, DRAIN_S=2)
        server.wait_ready()
        with hanging(service):
            assert server.post(NATIVE, recording(0.5), model="faulty").status_code == 200
            time.sleep(0.5)
            began_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            try:
                server.process.wait(25)
            except subprocess.TimeoutExpired:
                pytest.fail(server.log()[-3000:])
            assert time.monotonic() - began_s < 20
    assert "audit rows are lost" in server.log()


def test_a_redis_that_hangs_holds_up_nobody(start: Start) -> None:
    with running_redis() as service:
        server = start(STORAGE__REDIS=service.url, STORAGE__CACHE_BYTES=1 << 20, LIMITS__RATE="10000/minute")
        server.wait_ready()
        seeds = iter(range(10_000))

        def ask() -> httpx.Response:
            return server.post(NATIVE, recording(0.5, next(seeds)), model="faulty")

        usual = usual_s(ask)
        with hanging(service):
            check_synchronous_path(ask, usual, for_s=8)
            until(lambda: failed(server) == {"cache", "limits"}, within_s=5, what=server.ready)
        until(lambda: server.ready()["status"] == "ready", within_s=15, what=server.ready)
        check_synchronous_path(ask, usual, for_s=1)


def test_a_bucket_that_hangs_holds_up_jobs_alone(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(running_s3())
        for name, value in s3_environment(service.url).items():
            monkeypatch.setenv(name, value)
        bucket = create_bucket(service.url)
        server = start(STORAGE__BLOBS=bucket, STORAGE__CACHE_BYTES=0, JOBS__POLL_S=0.2)
        server.wait_ready()
        seeds = iter(range(10_000))

        def ask() -> httpx.Response:
            return server.post(NATIVE, recording(0.5, next(seeds)), model="faulty")

        usual = usual_s(ask)
        with server.switch("hold"):
            job = batch(server)
        with hanging(service):
            until(lambda: failed(server) == {"blobs"}, within_s=5, what=server.ready)
            check_synchronous_path(ask, usual, for_s=3)
            refused = httpx.post(
                f"{server.url}/transcribe/batch", files=[("files", ("a.wav", recording(0.5)))],
                data={"mode": "job", "model": "faulty"}, timeout=120,
            )  # fmt: skip
            check_refusal(refused, NATIVE, 503, "missing_part")
            assert bucket not in refused.text
            assert "127.0.0.1" not in refused.text
        until(lambda: server.ready()["status"] == "ready", within_s=20, what=server.ready)
        until(lambda: state(server, job) == "done", within_s=30)


def test_jobs_outlive_a_store_that_is_away_for_longer_than_their_attempts(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(running_s3())
        for name, value in s3_environment(service.url).items():
            monkeypatch.setenv(name, value)
        bucket = create_bucket(service.url)
        server = start(STORAGE__BLOBS=bucket, STORAGE__CACHE_BYTES=0, JOBS__POLL_S=0.2, STORAGE__JOB_ATTEMPTS=1)
        server.wait_ready()
        assert service.process is not None
        stand_still = psutil.Process(service.process.pid)
        with server.switch("hold"):
            first = batch(server)  # keeps the only worker busy
            second = batch(server)
            os.kill(stand_still.pid, signal.SIGSTOP)
        try:
            until(lambda: state(server, first) == "done", within_s=60)
            until(lambda: view(server, second)["held_up"] == 1, within_s=90, what=lambda: view(server, second))
            assert server.metric("asr_job_hold_ups_total") >= 1
        finally:
            os.kill(stand_still.pid, signal.SIGCONT)
        until(lambda: state(server, second) == "done", within_s=60, what=lambda: view(server, second))
        with closing(sqlite3.connect(server.home / "harken.db", timeout=10)) as connection:
            found = connection.execute("SELECT attempts, held_up_s FROM job_items WHERE job_id = ?", (second,))
            assert found.fetchall() == [(1, None)]


def batch(server: ServerProcess) -> str:
    files = [("files", ("a.wav", recording(0.5)))]
    data = {"mode": "job", "model": "faulty"}
    answer = httpx.post(f"{server.url}/transcribe/batch", files=files, data=data, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"]["id"])


def view(server: ServerProcess, job: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/jobs/{job}", timeout=10).json()["job"]
    return found


def state(server: ServerProcess, job: str) -> str:
    return str(view(server, job)["state"])
