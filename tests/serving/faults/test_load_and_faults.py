"""More work than there is room for, clients that leave, models that fail: cases 23, 24, 30, 31 and 32."""

import json
import shutil
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.serving.faults.conftest import Start
from tests.serving.faults.faulty_engine import SECRET, WORDS
from tests.serving.faults.live_client import opened, rest, say
from tests.serving.faults.raw_bodies import form, head
from tests.serving.faults.server_process import NATIVE, OPENAI, PATHS, ServerProcess, check_refusal, until
from tests.serving.faults.sounds import noise, recording
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


def test_sigterm_under_load(start: Start, models: list[dict[str, str | bool]]) -> None:
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
