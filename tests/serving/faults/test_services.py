"""Redis, PostgreSQL or the S3 server stopped under a running server, and webhooks that lead inside: cases 38 and 40."""

import http.server
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.services import create_bucket, create_database, running_postgres, running_redis, running_s3, s3_environment
from tests.serving.faults.conftest import Start
from tests.serving.faults.live_client import opened, rest, say
from tests.serving.faults.server_process import NATIVE, PATHS, ServerProcess, check_refusal, until
from tests.serving.faults.sounds import noise, recording

SECRET = "0123456789abcdef0123456789abcdef"
REMEMBERED_S = 5.5  # somewhat longer than the server believes that there is no key without asking again
RESOLVING = (sys.executable, "-m", "tests.serving.faults.resolving")


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "postgres", "s3"])
def test_a_service_that_is_stopped_holds_up_no_file(start: Start, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are transcribed meanwhile, and streams heard; /ready names what is missing, until it is back."""
    with ExitStack() as services:
        settings: dict[str, Any] = {"STORAGE__CACHE_BYTES": 1 << 20}
        if kind == "redis":
            service = services.enter_context(running_redis())
            settings["STORAGE__REDIS"] = service.url
            checks = {"cache", "limits"}
            settings["LIMITS__RATE"] = "1000/minute"
        elif kind == "postgres":
            service = services.enter_context(running_postgres())
            settings["STORAGE__DATABASE"] = create_database(service.url)
            checks = {"database"}
        else:
            service = services.enter_context(running_s3())
            for name, value in s3_environment(service.url).items():
                monkeypatch.setenv(name, value)
            settings["STORAGE__BLOBS"] = create_bucket(service.url)
            checks = {"blobs"}
        server = start(**settings)
        server.wait_ready()
        assert server.ready()["status"] == "ready"
        assert server.post(NATIVE, recording(0.5), model="faulty").status_code == 200
        service.stop()
        if kind == "postgres":
            time.sleep(REMEMBERED_S)
        for seed in range(3):
            for path in PATHS:
                answer = server.post(path, recording(0.5, seed + 1), model="faulty")
                assert answer.status_code == 200, answer.text
        until(lambda: failed(server) == checks, within_s=15, what=server.ready)
        ready = httpx.get(f"{server.url}/ready", timeout=10)
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        with opened(server, model="faulty") as stream:
            stream.send(noise(1.0))
            say(stream, type="finish")
            assert rest(stream)[1] == 1000
        if kind == "s3":
            files = [("files", ("a.wav", recording(0.5)))]
            job = httpx.post(f"{server.url}/transcribe/batch", files=files, data={"mode": "job"}, timeout=60)
            assert job.status_code in (500, 503), "a job cannot be taken, and that is said"
            check_refusal(job, NATIVE, job.status_code, job.json()["error"]["code"])
        assert "secret" not in ready.text
        service.start()
        if kind == "s3":  # which keeps nothing
            create_bucket(service.url, name=settings["STORAGE__BLOBS"].removeprefix("s3://"))
        until(lambda: server.ready()["status"] == "ready", within_s=20, what=server.ready)
        assert server.post(NATIVE, recording(0.5, 9), model="faulty").status_code == 200
        assert not server.left_over()


def failed(server: ServerProcess) -> set[str]:
    return {name for name, check in server.ready()["checks"].items() if not check["ok"]}


@contextmanager
def listening(address: str, location: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server on a loopback address, and the paths it was asked for; `location` is where it sends whoever comes."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            self.send_response(200 if location is None else 307)
            if location is not None:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(http.server.ThreadingHTTPServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            if location is None:
                seen.append("connected")
            return True

    with Listener((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1], seen
        finally:
            server.shutdown()
            thread.join()


def job_with(server: ServerProcess, webhook: str) -> httpx.Response:
    files = [("files", ("a.wav", recording(0.5)))]
    data = {"mode": "job", "model": "faulty", "webhook": webhook}
    return httpx.post(f"{server.url}/transcribe/batch", files=files, data=data, timeout=30)


def delivery(server: ServerProcess, job: str) -> dict[str, Any]:
    with closing(sqlite3.connect(server.home / "harken.db", timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM deliveries WHERE job_id = ?", (job,)).fetchone()
    return {} if row is None else dict(row)


def test_webhooks_never_reach_inside(start: Start, tmp_path: Path) -> None:
    """127.0.0.2 stands for the public internet; everything else inside is as private as ever."""
    names = tmp_path / "names.json"
    server = start(
        folder=tmp_path / "hooks",
        command=(*RESOLVING, str(names)),
        WEBHOOKS__SECRET=SECRET,
        WEBHOOKS__OUTBOUND__PRIVATE_NETWORKS=["127.0.0.2/32"],
        WEBHOOKS__OUTBOUND__PLAIN_HTTP="true",
        JOBS__POLL_S=0.1,
    )
    server.wait_ready()
    with listening("127.0.0.1") as (port, seen):
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"):
            check_refusal(job_with(server, f"http://{host}:{port}/"), NATIVE, 400, "refused_address")
        for url in (
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "http://a:b@c/",
        ):
            check_refusal(job_with(server, url), NATIVE, 400, "refused_address")

        with listening("127.0.0.2", f"http://127.0.0.1:{port}/inside") as (outside, asked):
            made = job_with(server, f"http://127.0.0.2:{outside}/hook")
            assert made.status_code == 202
            job = made.json()["job"]["id"]
            until(lambda: asked == ["/hook"], within_s=20)
            until(lambda: delivery(server, job).get("error"), within_s=10)
            told = delivery(server, job)
            assert "answered 307" in told["error"]
            assert told["state"] != "done"

            # The name means the address outside when the job is taken, and one inside when it is told.
            names.write_text(json.dumps(["127.0.0.2", "127.0.0.1"]))
            made = job_with(server, f"http://rebind.test:{port}/hook")
            assert made.status_code == 202, made.text
            job = made.json()["job"]["id"]
            until(lambda: delivery(server, job).get("error"), within_s=20)
            told = delivery(server, job)
            assert "leads to 127.0.0.1" in told["error"]
            assert (told["state"], told["attempts"]) == ("failed", 1)
        assert seen == []
    assert SECRET not in server.log()


def test_webhooks_without_a_secret_are_refused(server: ServerProcess) -> None:
    check_refusal(job_with(server, "https://example.org/hook"), NATIVE, 400, "bad_parameter")
