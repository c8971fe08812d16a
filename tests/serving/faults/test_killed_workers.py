"""Decoding workers and batch workers that are killed: cases 33 and 34."""

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.serving.faults.conftest import SMALL, Start
from tests.serving.faults.faulty_engine import WORDS
from tests.serving.faults.server_process import NATIVE, PATHS, ServerProcess, check_refusal, serving, until
from tests.serving.faults.sounds import recording


@pytest.fixture(scope="module")
def restless(models: list[dict[str, str | bool]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose decoding workers are killed."""
    folder = tmp_path_factory.mktemp("restless")
    with serving(folder, {"MODELS__MODELS": models[1:], **SMALL, "DECODE__WORKERS": 1}) as server:
        server.wait_ready()
        yield server


@pytest.mark.parametrize("path", PATHS)
def test_a_file_whose_decoder_is_killed_is_decoded_by_the_next(restless: ServerProcess, path: str) -> None:
    until(lambda: len(restless.decode_workers()) == 1, within_s=20)
    worker = restless.decode_workers()[0]
    worker.suspend()  # so that the file is in its hands, and stays there
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(restless.post, path, recording(0.5), model="faulty")
        until(lambda: [name for name in restless.left_over() if "samples" not in name], within_s=10)
        time.sleep(0.3)
        assert not answer.done()
        worker.send_signal(signal.SIGKILL)
        assert answer.result(60).status_code == 200
    until(lambda: [found.pid for found in restless.decode_workers()] not in ([], [worker.pid]), within_s=20)
    assert not restless.left_over()


def test_decoders_that_are_killed_again_and_again(restless: ServerProcess) -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.02):
            for worker in restless.decode_workers():
                with suppress(psutil.NoSuchProcess):
                    worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        time.sleep(0.2)
        answer = restless.post(NATIVE, recording(0.5), model="faulty")
    finally:
        over.set()
        killer.join()
    check_refusal(answer, NATIVE, 500, answer.json()["error"]["code"])
    assert answer.json()["error"]["code"] in ("run_failed", "decoding_failed")
    assert not restless.left_over()
    restless.wait_ready()
    assert restless.post(NATIVE, recording(0.5), model="faulty").status_code == 200


def test_a_batch_whose_worker_is_killed_goes_on(start: Start, tmp_path: Path) -> None:
    """The whole server is killed with a file in its hands; the next one on the same home finishes the job."""
    settings = {"JOBS__LEASE_S": 2, "JOBS__POLL_S": 0.1, "OPEN_METRICS": "true"}
    first = start(folder=tmp_path / "jobs", **settings)
    first.wait_ready()
    files = [("files", (f"{seed}.wav", recording(0.5, seed))) for seed in range(6)]
    first.switch("hold").on()
    made = httpx.post(f"{first.url}/transcribe/batch", files=files, data={"mode": "job", "model": "faulty"}, timeout=30)
    assert made.status_code == 202
    job_id = made.json()["job"]["id"]
    until(lambda: first.noted("passes") == 1, within_s=20)
    first.process.kill()
    first.process.wait()
    first.switch("hold").off()

    second = start(folder=tmp_path / "jobs", **settings)

    def state() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{second.url}/jobs/{job_id}", timeout=10).json()["job"]
        return found

    until(lambda: state()["state"] == "done", within_s=30, what=state)
    assert {name: state()[name] for name in ("items", "done", "failed", "queued", "running")} == {
        "items": 6, "done": 6, "failed": 0, "queued": 0, "running": 0,
    }  # fmt: skip
    results = httpx.get(f"{second.url}/jobs/{job_id}/results", timeout=10).json()["results"]
    assert [(found["index"], found["name"], found["state"]) for found in results] == [
        (seed, f"{seed}.wav", "done") for seed in range(6)
    ]
    assert {found["result"]["text"] for found in results} == {" ".join(WORDS)}
    assert second.noted("passes") == 7, "the one that was killed is heard twice, the others once"
    assert sorted(counted(second, "SELECT attempts FROM job_items")) == [1, 1, 1, 1, 1, 2]
    heard = "SELECT COUNT(*) FROM requests WHERE status = 200 AND model = 'faulty'"
    until(lambda: counted(second, heard) == [6], within_s=5, what=lambda: counted(second, heard))
    until(lambda: not second.left_over(), within_s=5, what=second.left_over)


def counted(server: ServerProcess, query: str) -> list[int]:
    with closing(sqlite3.connect(server.home / "harken.db", timeout=10)) as connection:
        return [row[0] for row in connection.execute(query)]
