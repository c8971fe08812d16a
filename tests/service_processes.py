"""How the services of tests run: unprivileged, on a free loopback port, no longer than whoever needs them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_S = 30.0
_STOP_S = 10.0
_PORT_TRIES = 3


@dataclass
class Service:
    """A running service. Tests of outages start one of their own, `stop` it and `start` it again on its port."""

    name: str
    url: str
    command: list[str]
    port: int
    folder: Path
    as_nobody: bool
    is_ready: Callable[[int], bool]
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers. Raises RuntimeError with its log when it does not."""
        log = self.folder / "log"
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [*_unprivileged(as_nobody=self.as_nobody, end=self.stop_signal), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self.is_ready(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@contextmanager
def running(
    name: str,
    url: str,
    command: Callable[[int], list[str]],
    folder: Path,
    *,
    as_nobody: bool = True,
    is_ready: Callable[[int], bool] | None = None,
    stop_signal: signal.Signals = signal.SIGKILL,
) -> Iterator[Service]:
    service = None
    for attempt in range(_PORT_TRIES):
        port = _free_port()
        service = Service(
            name=name,
            url=url.format(port=port),
            command=command(port),
            port=port,
            folder=folder,
            as_nobody=as_nobody,
            is_ready=is_ready or _answers,
            stop_signal=stop_signal,
        )
        try:
            service.start()
            break
        except RuntimeError:
            if attempt + 1 == _PORT_TRIES:  # most likely somebody else took the port in between
                raise
    assert service is not None
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def service_folder() -> Iterator[Path]:
    """A temporary folder that `nobody` may use: pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="harken-service-", dir="/tmp"))
    give_to_nobody(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_root() -> bool:
    return os.geteuid() == 0


def give_to_nobody(path: Path) -> None:
    if _is_root():
        shutil.chown(path, "nobody", "nogroup")


def _unprivileged(*, as_nobody: bool, end: signal.Signals = signal.SIGKILL) -> list[str]:
    """The prefix of a command that runs it as nobody (when we are root) and ends it when this process ends."""
    setpriv = find_program("setpriv")
    user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if as_nobody and _is_root() else []
    return [setpriv, *user, "--pdeathsig", end.name]


def run_once(folder: Path, command: list[str]) -> None:
    done = subprocess.run(
        [*_unprivileged(as_nobody=True), *command], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def find_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs the program {name}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
