"""A real `harken serve` for the benchmark of serving: a process of its own, and what it costs."""

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import yaml

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_S = 60.0
COMMAND = Path(sys.executable).with_name("harken")
PLAIN: Mapping[str, Any] = {
    "storage": {"cache_bytes": 0},  # every request is work, also of a file that another one sends at this moment
    "results": {"share_work": False},
    "limits": {"rate": None, "streams": None},
    "open_metrics": True,
    "log_level": "ERROR",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server. Costs are those of its process and of all below it."""

    pid: int
    port: int
    ready_s: float  # from its start

    @property
    def rss_bytes(self) -> int:
        """Of the server itself; its decode workers are bounded and replaced."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE

    @property
    def cpu_s(self) -> float:
        return sum(_cpu_s(pid) for pid in _family(self.pid))

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@contextmanager
def running(model: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """A server of one model that is ready, with a home of its own. It is ended as a service manager does."""
    with tempfile.TemporaryDirectory(prefix="harken-served-") as home:
        file = Path(home) / "serve.yaml"
        chosen = {"models": {"models": [{"path": str(model)}]}, "port": 0, **PLAIN, **(settings or {})}
        file.write_text(yaml.safe_dump(chosen), encoding="utf-8")
        # The engines' own threads are what is measured, not those of this benchmark's process.
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(COMMAND), "serve", "--settings", str(file)],
            stderr=subprocess.PIPE, text=True, env={**environment, "HARKEN_HOME": home},
        )  # fmt: skip
        assert process.stderr is not None
        try:
            port = _port(process)
            reader = Thread(target=process.stderr.read, daemon=True)  # a full pipe would hold the server up
            reader.start()
            _until_ready(port, began + _START_S)
            yield Server(pid=process.pid, port=port, ready_s=time.perf_counter() - began)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stderr.close()


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"listens on (http://\S+)", line):
            port = urlsplit(found[1]).port
            assert port is not None
            return port
    raise RuntimeError(f"harken serve ended: {''.join(said)[-2000:]}")


def _until_ready(port: int, until: float) -> None:
    while time.perf_counter() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        finally:
            connection.close()
        time.sleep(0.02)
    raise RuntimeError(f"the server was not ready within {_START_S:g} s")


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text(encoding="ascii").split()
        found += [below for child in children for below in _family(int(child))]
    return found


def _cpu_s(pid: int) -> float:
    """User and system time of a process, of its threads that have ended too, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ended_s = sum(map(int, fields[13:15])) / _TICKS
    return time.clock_gettime(~pid << 3 | 2) + ended_s  # the clock of a process: clock_getcpuclockid(3)
