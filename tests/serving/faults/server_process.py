"""`harken serve` in a process of its own, and everything a test may want to know of it from outside."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[3]
NATIVE, OPENAI = "/transcribe", "/v1/audio/transcriptions"
PATHS = (NATIVE, OPENAI)
MIB = 1 << 20
_PLUGIN = "[harken.engines]\nfaulty = tests.serving.faults.faulty_engine:load\n"
_START_S = 90.0
_COMMAND = (sys.executable, "-m", "harken.cli.main")


@dataclass
class ServerProcess:
    """`home` holds its database, `spool` its uploads, `switches` obeys `faulty_engine`."""

    folder: Path
    settings: Mapping[str, Any]
    command: tuple[str, ...] = _COMMAND
    url: str = ""
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        for path in (self.home, self.spool, self.switches, self.temporary):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def switches(self) -> Path:
        return self.folder / "switches"

    def start(self) -> None:
        """Start it, and wait for its URL."""
        plugin = self.folder / "plugin"
        if not plugin.exists():
            metadata = plugin / "faulty_engine-1.dist-info"
            metadata.mkdir(parents=True)
            (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-engine\nVersion: 1\n")
            (metadata / "entry_points.txt").write_text(_PLUGIN)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")}
        environment = {
            **kept,
            "HARKEN_HOME": str(self.home),
            "HARKEN_TEST_SWITCHES": str(self.switches),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{plugin}",
            "TMPDIR": str(self.temporary),
            "HARKEN_SERVE_SPOOL": str(self.spool),
            **{f"HARKEN_SERVE_{name}": _as_text(value) for name, value in self.settings.items()},
        }
        said_before = len(self.log())
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--port", "0"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_S
        while (found := re.search(r"listens on (http://127\.0\.0\.1:\d+)", self.log()[said_before:])) is None:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        self.url = found[1]

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def ws(self) -> str:
        return self.url.replace("http://", "ws://")

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_bytes().decode(errors="replace") if path.exists() else ""

    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/ready", timeout=10).json()
        return found

    def wait_ready(self) -> None:
        until(lambda: httpx.get(f"{self.url}/ready", timeout=10).status_code == 200, within_s=60)

    def post(self, path: str, audio: bytes | None, *, name: str = "a.wav", **fields: Any) -> httpx.Response:
        """An upload. The OpenAI path gets the model it needs unless `model` is given; None leaves a field out."""
        if path.startswith("/v1/"):
            fields.setdefault("model", "whisper-1")
        headers = fields.pop("headers", {})
        data = {key: value for key, value in fields.items() if value is not None}
        files = None if audio is None else {"file": (name, audio)}
        if files is None:
            files, data = {key: (None, str(value)) for key, value in ({"prompt": ""} | data).items()}, {}
        return httpx.post(f"{self.url}{path}", files=files, data=data, headers=headers, timeout=60)

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=10).text

    def metric(self, line: str) -> float:
        """The value of a metric with its labels as they are shown; 0 where it is not there yet."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def audit(self, request_id: str, *, within_s: float = 10.0) -> dict[str, Any]:
        """The audit row of a request."""
        rows: list[sqlite3.Row] = []

        def look() -> bool:
            with closing(sqlite3.connect(self.home / "harken.db", timeout=10)) as connection:
                connection.row_factory = sqlite3.Row
                rows[:] = connection.execute("SELECT * FROM requests WHERE request_id = ?", (request_id,)).fetchall()
            return bool(rows)

        until(look, within_s=within_s)
        assert len(rows) == 1
        return {**rows[0], "details": json.loads(rows[0]["details"])}

    def left_over(self) -> list[str]:
        """Files of uploads and of their decoding that are still there."""
        return sorted(
            str(path)
            for folder in (self.spool, self.temporary)
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")  # such as the lock of the folder
        )

    def decode_workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "harken.serving.decoding.worker" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    @contextmanager
    def growth_below(self, limit: int, *, workers: bool = True) -> Iterator[None]:
        """Fails where the server, or one of its decoding workers, took `limit` bytes more at any moment within the
        context. Without `workers` for a server that has just begun, whose workers do so too.
        """
        watched = [psutil.Process(self.process.pid), *(self.decode_workers() if workers else [])]
        processes = {each.pid: each for each in watched}
        before = {pid: each.memory_info().rss for pid, each in processes.items()}
        peaks, over = dict(before), threading.Event()

        def watch() -> None:
            while not over.wait(0.01):
                for pid, each in processes.items():
                    try:
                        peaks[pid] = max(peaks[pid], each.memory_info().rss)
                    except psutil.NoSuchProcess:
                        continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        grown = {pid: peaks[pid] - before[pid] for pid in before}
        assert max(grown.values()) < limit, {pid: f"{size / MIB:.1f} MiB" for pid, size in grown.items()}

    def switch(self, name: str) -> "Switch":
        return Switch(self.switches / name)

    def noted(self, name: str) -> int:
        """Lines that the faulty engine left under this name."""
        path = self.switches / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def send_raw(self, *pieces: bytes, timeout_s: float = 20.0) -> "Answer":
        """Bytes as they are on a new connection, and what is answered, even before all of them are taken."""
        with socket.create_connection(self.address, timeout=timeout_s) as connection:
            sent = 0
            for piece in pieces:
                try:
                    connection.sendall(piece)
                except (BrokenPipeError, ConnectionResetError):
                    break
                sent += len(piece)
            return Answer.read(connection, sent)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    sent: int

    @classmethod
    def read(cls, connection: socket.socket, sent: int = 0) -> "Answer":
        response = HTTPResponse(connection)
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        response.close()
        return cls(response.status, headers, body, sent)

    def json(self) -> Any:
        return json.loads(self.body)


class Switch:
    """A file that is there within the context."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on(self) -> None:
        self.path.touch()

    def off(self) -> None:
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "Switch":
        self.on()
        return self

    def __exit__(self, *_: object) -> None:
        self.off()


@contextmanager
def serving(folder: Path, settings: Mapping[str, Any], **more: Any) -> Iterator[ServerProcess]:
    """A server that ends with the context."""
    server = ServerProcess(folder, settings, **more)
    server.start()
    try:
        yield server
    finally:
        for name in ("hold", "fail", "oom"):
            server.switch(name).off()
        server.stop()


def check_refusal(response: Any, path: str, status: int, code: str, *, param: str | None = None) -> str:
    """Status and body of a refusal in the shape of the API that was asked, without a word of what is inside; its
    message."""
    body = response.json()
    assert (getattr(response, "status_code", None) or response.status) == status, body
    assert list(body) == ["error"], body
    error = body["error"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    if path.startswith("/v1/"):
        assert list(error) == ["message", "type", "param", "code"], error
        assert (error["code"], error["param"]) == (code, param), error
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        assert error["type"] == ("server_error" if status >= 500 else kinds.get(status, "invalid_request_error"))
        if status >= 500:
            assert response.headers["x-request-id"] in error["message"]
    else:
        assert list(error) == ["code", "message", "hint", "request_id"], error
        assert error["code"] == code, error
        assert error["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in str(body)
    assert "harken-serve-" not in str(body), "the place of the upload is nobody's business"
    assert error["message"]
    return str(error["message"])


def until(condition: Callable[[], Any], *, within_s: float = 5.0, what: Callable[[], Any] | None = None) -> float:
    """Wait until `condition()` holds; how long it took. `what()` is shown where it does not."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < within_s, f"not within {within_s} s: {what() if what else ''}"
        time.sleep(0.01)
    return time.monotonic() - began_s


def _as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
