"""`harken serve` and `harken worker` as processes of their own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN = "import typer; from harken.cli.{0} import {0}; typer.run({0})"
Process = subprocess.Popen[bytes]


class Processes:
    """They share a home folder, and so a database; settings are given as they are in the environment."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")},
            "HARKEN_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "HARKEN_SERVE_SPOOL": str(home / "spool"),
            "HARKEN_SERVE_STORAGE__CACHE_BYTES": "0",
            "HARKEN_SERVE_DECODE__WORKERS": "1",
        }
        self._started: list[Process] = []

    def set(self, **settings: Any) -> None:
        """Settings of the processes that start from now on: `jobs__lease_s=1`."""
        for name, value in settings.items():
            self.environment[f"HARKEN_SERVE_{name.upper()}"] = str(value)

    def start(self, command: str, *options: str) -> tuple[Process, Path]:
        """A process and its log."""
        log = self.home / f"{command}-{len(self._started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN.format(command), *options],
                cwd=self.home, env=self.environment, stdout=file, stderr=file,
            )  # fmt: skip
        self._started.append(process)
        return process, log

    def serve(self, model: Path, *options: str) -> tuple[Process, str, Path]:
        """A server that listens, its URL and its log."""
        process, log = self.start("serve", "--model", str(model), "--engine", "onnx", "--port", "0", *options)
        until(lambda: re.search(r"https?://\S+", log.read_text()), log=log, process=process)
        found = re.search(r"https?://\S+", log.read_text())
        assert found
        return process, found[0], log

    def kill_all(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


def until(
    condition: Callable[[], Any], *, within_s: float = 60.0, log: Path | None = None, process: Process | None = None
) -> None:
    """Wait until `condition()` holds, or fail with the log."""
    deadline = time.monotonic() + within_s
    while not condition():
        said = log.read_text() if log else ""
        assert process is None or process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
