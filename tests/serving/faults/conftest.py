"""Servers that are asked for what they must not do, and look after themselves all the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.faults.server_process import ServerProcess, serving, until

Start = Callable[..., ServerProcess]

SMALL = {
    "BODIES__MAX_BYTES": 2 << 20,
    "BODIES__IDLE_S": 1,
    "DECODE__LIMITS__MAX_DURATION_S": 600,
    "DECODE__SHORTEST_S": 0.1,
    "LIMITS__RATE": "",
    "LIVE__STREAMS": 3,
    "LIVE__BACKLOG_S": 2,
    "LIVE__PATIENCE_S": 1,
    "QUEUE__MAX_REQUESTS": 4,
    "SOCKETS__IDLE_S": 3,
    "MODELS__RETRY_S": 0.5,
    "STORAGE__CACHE_BYTES": 0,
}
"""Limits that are reached soon."""


@pytest.fixture(scope="session")
def models(tiny_model: Path) -> list[dict[str, str | bool]]:
    """A real model, the default one, and `faulty`, whose engine obeys switches and hears requests only."""
    return [
        {"path": str(tiny_model), "name": "tiny"},
        {"path": str(tiny_model), "name": "faulty", "engine": "faulty", "warm_up": False},
    ]


@pytest.fixture(scope="session")
def shared_server(
    models: list[dict[str, str | bool]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("faults")
    with serving(folder, {"MODELS__MODELS": models, **SMALL}) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The server that nothing brings down. After each test it lives, its workers wait, and no file is left."""
    until(lambda: len(shared_server.decode_workers()) == 2, within_s=20)
    workers = {worker.pid for worker in shared_server.decode_workers()}
    yield shared_server
    for name in ("hold", "fail"):
        shared_server.switch(name).off()
    assert shared_server.process.poll() is None, shared_server.log()[-3000:]
    assert httpx.get(f"{shared_server.url}/health", timeout=10).json() == {"status": "live"}
    until(lambda: not shared_server.left_over(), within_s=2, what=shared_server.left_over)
    until(lambda: {worker.pid for worker in shared_server.decode_workers()} == workers, within_s=2)


@pytest.fixture
def start(tmp_path: Path, models: list[dict[str, str | bool]]) -> Iterator[Start]:
    """Starts servers for one test, with the faulty model alone unless `MODELS__MODELS` says more."""
    with ExitStack() as servers:
        count = 0

        def begin(*, folder: Path | None = None, command: tuple[str, ...] | None = None, **settings: Any):
            nonlocal count
            count += 1
            more = {} if command is None else {"command": command}
            wanted = {"MODELS__MODELS": models[1:], **SMALL, **settings}
            return servers.enter_context(serving(folder or tmp_path / f"server{count}", wanted, **more))

        yield begin
