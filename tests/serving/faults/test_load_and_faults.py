"""More work than there is room for, clients and processes that die, models that fail: cases 23, 24, and 30 to 34."""

import json
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.serving.faults.conftest import SMALL, Start
from tests.serving.faults.faulty_engine import SECRET, WORDS
from tests.serving.faults.live_client import opened, rest, say
from tests.serving.faults.server_process import NATIVE, OPENAI, PATHS, ServerProcess, check_refusal, serving, until
from tests.serving.faults.sounds import noise, recording
from tests.serving.faults.test_bodies import form, head
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

DEPTH = 'asr_queue_depth{model="faulty"}'


class Pass:
    """Requests that are under way, the first of them in the hands of the model, which holds it."""

    def __init__(self, server: ServerProcess, *, waiting: int = 0, path: str = NATIVE) -> None:
        self.server, self.path = server, path
        self.passes = server.noted("passes")
        self.pool = ThreadPoolExecutor(waiting + 1)
        server.switch("hold").on()
        self.answers: list[Future[httpx.Response]] = [self.send(0)]
        until(lambda: server.noted("passes") > self.passes, within_s=20)
        self.answers += [self.send(seed) for seed in range(1, waiting + 1)]
        until(lambda: server.metric(DEPTH) == waiting, within_s=20)

    def send(self, seed: int) -> "Future[httpx.Response]":
        return self.pool.submit(self.server.post, self.path, recording(0.5, seed + 100), model="faulty")

    def __enter__(self) -> "Pass":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.switch("hold").off()
        self.pool.shutdown()


@pytest.mark.parametrize("path", PATHS)
def test_a_full_queue_refuses_at_once(server: ServerProcess, path: str) -> None:
    """Four may wait behind the one that is heard. Nobody who was let in is turned away."""
    counted = server.metric('asr_rejects_total{reason="queue_full"}')
    with Pass(server, waiting=4, path=path) as under_way:
        took_s = []
        for _ in range(6):
            with closing(socket.create_connection(server.address, timeout=10)) as connection:
                body = form(path, recording(0.5), "a.wav").replace(b"whisper-1", b"faulty")
                if path == NATIVE:
                    body = body.replace(b"--limit--", b'--limit\r\nContent-Disposition: form-data; name="model"'
                                        b"\r\n\r\nfaulty\r\n--limit--")  # fmt: skip
                request = head(path, f"Content-Length: {len(body)}") + body
                began_s = time.monotonic()
                connection.sendall(request)
                assert connection.recv(12) == b"HTTP/1.1 503"
                took_s.append(time.monotonic() - began_s)
        refused = server.post(path, recording(0.5), model="faulty")
        assert min(took_s) < 0.05, took_s
        check_refusal(refused, path, 503, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert server.audit(refused.headers["x-request-id"])["details"]["error"] == "queue_full"
        assert server.metric('asr_rejects_total{reason="queue_full"}') == counted + 7
        assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
        server.switch("hold").off()
        assert [answer.result().status_code for answer in under_way.answers] == [200] * 5
    assert server.post(path, recording(0.5), model="faulty").status_code == 200
    assert server.metric(DEPTH) == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_client_who_leaves_gives_its_work_up_within_a_second(server: ServerProcess, path: str) -> None:
    server.switch("hold").on()
    stopped, passes = server.noted("stopped"), server.noted("passes")
    request_id = f"left-{'native' if path == NATIVE else 'openai'}-{time.time_ns()}"
    body = form(OPENAI, recording(0.5, 7), "a.wav").replace(b"whisper-1", b"faulty")  # with its model, for both paths
    with closing(socket.create_connection(server.address)) as connection:
        connection.sendall(head(path, f"Content-Length: {len(body)}", f"X-Request-ID: {request_id}") + body)
        until(lambda: server.noted("passes") == passes + 1, within_s=20)
    left_s = time.monotonic()
    until(lambda: server.noted("stopped") == stopped + 1, within_s=5)
    assert time.monotonic() - left_s < 1.0
    until(lambda: not server.left_over(), within_s=1)
    server.switch("hold").off()
    row = server.audit(request_id)
    assert (row["status"], row["details"]["error"]) == (499, "client_left")
    began_s = time.monotonic()
    assert server.post(path, recording(0.5, 7), model="faulty").status_code == 200
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("path", PATHS)
def test_an_exception_inside_the_engine(server: ServerProcess, path: str) -> None:
    logged = len(server.log())
    with server.switch("fail"):
        answer = server.post(path, recording(0.5), model="faulty")
    check_refusal(answer, path, 500, "run_failed")
    assert SECRET not in answer.text
    assert "RuntimeError" not in answer.text
    log = server.log()[logged:]
    assert f"RuntimeError: {SECRET}" in log, "the operator reads the cause"
    assert any(answer.headers["x-request-id"] in line and "request failed" in line for line in log.splitlines())
    assert server.audit(answer.headers["x-request-id"])["status"] == 500
    assert server.post(path, recording(0.5), model="faulty").status_code == 200, "the worker lives"


def test_an_exception_inside_a_stream(start: Start) -> None:
    server = start(LIVE__STREAMING__POLICY="fixed", OPEN_METRICS="true")
    with server.switch("fail"), opened(server, model="faulty") as stream:
        stream.send(noise(5.0))
        heard, code = rest(stream)
    assert (code, heard[-1]["error"]["code"]) == (1011, "run_failed")
    assert SECRET not in json.dumps(heard)
    with opened(server, model="faulty") as stream:
        stream.send(noise(3.0))
        say(stream, type="finish")
        heard, code = rest(stream)
    assert (code, heard[-1]["type"]) == (1000, "final")
    assert heard[-1]["text"]


@pytest.fixture(scope="module")
def restless(models: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
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


def test_sigterm_under_load(start: Start, models: list[dict[str, str]]) -> None:
    """New work is refused; files that were let in are finished; streams say their last words and close with 1012."""
    server = start(MODELS__MODELS=models, SOCKETS__IDLE_S=30, DRAIN_S=20)
    server.wait_ready()
    with (
        Pass(server, waiting=2) as under_way,
        opened(server) as native,
        connect(f"{server.ws}/v1/listen?encoding=linear16&sample_rate=16000") as deepgram,
    ):
        native.send(noise(2.0))
        deepgram.send(noise(2.0))
        began_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ready()["status"] == "not_ready", within_s=2)
        answer = httpx.get(f"{server.url}/ready", timeout=5)
        assert (answer.status_code, answer.json()["checks"]["server"]["ok"]) == (503, False)
        assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
        for path in PATHS:
            refused = server.post(path, recording(0.5), model="faulty")
            check_refusal(refused, path, 503, "draining")
            assert int(refused.headers["retry-after"]) >= 1
        with pytest.raises(InvalidStatus) as caught:
            connect(f"{server.ws}/ws/transcribe", legacy=True)
        assert caught.value.response.status_code == 503
        heard, code = rest(native)
        assert (code, heard[-1]["type"], heard[-1]["duration_s"]) == (1012, "final", pytest.approx(2.0))
        heard, code = rest(deepgram)
        assert (code, heard[-1]["type"]) == (1012, "Metadata")
        assert [found.done() for found in under_way.answers] == [False] * 3
        server.switch("hold").off()
        answers = [found.result(20) for found in under_way.answers]
    assert [found.status_code for found in answers] == [200] * 3
    assert {found.json()["text"] for found in answers} == {" ".join(WORDS)}
    assert server.process.wait(20) == 0
    assert time.monotonic() - began_s < 20
    assert not server.left_over()
    assert "cut off" not in server.log()
    for found in answers:
        assert server.audit(found.headers["x-request-id"])["status"] == 200


def test_a_second_sigterm_ends_it_now(start: Start) -> None:
    server = start(DRAIN_S=60)
    server.wait_ready()
    with Pass(server):
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ready()["status"] == "not_ready", within_s=2)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)


def test_a_model_that_is_missing(start: Start, tmp_path: Path, tiny_model: Path) -> None:
    """The server lives and says so; the model is found once it is there."""
    folder = tmp_path / "later"
    server = start(MODELS__MODELS=[{"path": str(folder), "name": "later", "engine": "faulty"}])
    not_there(server, "later")
    shutil.copytree(tiny_model, folder)
    until(lambda: server.post(NATIVE, recording(0.5)).status_code == 200, within_s=10)
    until(lambda: server.ready()["checks"]["models"]["ok"], within_s=5)


def test_a_model_that_does_not_fit_into_memory(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    (folder / "switches").mkdir(parents=True)
    (folder / "switches" / "oom").touch()
    server = start(folder=folder)
    not_there(server, "faulty")
    server.switch("oom").off()
    until(lambda: server.post(NATIVE, recording(0.5)).status_code == 200, within_s=10)
    until(lambda: server.ready()["checks"]["models"]["ok"], within_s=5)


def not_there(server: ServerProcess, model: str) -> None:
    """Live and not ready, with the reason; nothing is tried again and again."""
    until(lambda: not server.ready()["checks"]["models"]["ok"], within_s=10)
    pid = server.process.pid
    for _ in range(3):
        assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
        ready = httpx.get(f"{server.url}/ready", timeout=10)
        assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
        assert model in ready.json()["checks"]["models"]["detail"]
    for path in PATHS:
        answer = server.post(path, recording(0.5), model=model)
        check_refusal(answer, path, 503, "missing_part")
        assert str(server.folder) not in answer.text
    with connect(f"{server.ws}/ws/transcribe") as stream:
        say(stream, type="start", model=model)
        heard, _ = rest(stream)
        assert heard[-1]["error"]["code"] == "missing_part"
    assert (server.process.pid, server.process.poll()) == (pid, None)
    assert not server.left_over()
