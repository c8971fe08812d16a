"""The whole application in a thread of the tests, with keys."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from tests.serving.route_server import until

from harken.http.keys import DatabaseKeys
from harken.serving.app import create_app
from harken.serving.settings import read_settings
from harken.storage.audit import AuditLog, RequestRow
from harken.storage.database import Database


@dataclass
class AppServer:
    """A server that runs, its settings' home folder, and callers of it."""

    url: str
    home: Path
    app: FastAPI
    keys: dict[str, dict[str, str]] = field(default_factory=dict)  # headers by the names of keys

    def key(self, name: str, *scopes: str) -> dict[str, str]:
        """Headers of a new key."""
        return new_key(self.home, name, scopes)

    def transcribe(self, recording: Path, path: str = "/transcribe", **more: Any) -> httpx.Response:
        data = {"model": "default"} | more.pop("data", {})
        with recording.open("rb") as file:
            return httpx.post(f"{self.url}{path}", files={"file": file}, data=data, timeout=60, **more)

    def rows(self, count: int = 1, **wanted: object) -> list[RequestRow]:
        """Rows of the audit with these values, once there are as many; they are written in batches."""
        found: list[RequestRow] = []

        def enough() -> bool:
            with database_of(self.home) as database:
                rows = AuditLog(database).recent(1000)
            found[:] = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
            return len(found) >= count

        until(enough, within_s=10)
        return found

    def spooled(self) -> list[str]:
        """Uploads and other temporary files that are there now."""
        folders = (self.home / "spool").glob("*-ready")
        return sorted(path.name for folder in folders for path in folder.iterdir() if path.name != ".lock")


@contextlib.contextmanager
def database_of(home: Path) -> Iterator[Database]:
    database = Database.open(f"sqlite:///{home}/harken.db")
    try:
        yield database
    finally:
        database.close()


def new_key(home: Path, name: str, scopes: tuple[str, ...]) -> dict[str, str]:
    with database_of(home) as database:
        _, key = DatabaseKeys(database).create(name, scopes=scopes, now_s=time.time())
    return {"Authorization": f"Bearer {key}"}


@contextlib.contextmanager
def app_server(
    model: Path, home: Path, *, keys: Mapping[str, tuple[str, ...]] | None = None, **given: Any
) -> Iterator[AppServer]:
    """`given` are settings as a file has them, beside those of a small server in `home`. Without `keys` (scopes by
    name) it is open.
    """
    headers = {name: new_key(home, name, scopes) for name, scopes in (keys or {}).items()}
    models = {"models": [{"path": str(model), "engine": "onnx"}], **given.pop("models", {})}
    storage = {"database": f"sqlite:///{home}/harken.db", "blobs": (home / "store").as_uri(), "cache_bytes": 0}
    settings = {
        "models": models,
        "storage": storage | given.pop("storage", {}),
        "decode": {"workers": 1},
        "spool": str(home / "spool"),
        **given,
    }
    app = create_app(read_settings(None, environment={}, given=settings))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), within_s=30)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        until(lambda: httpx.get(f"{url}/ready").status_code == 200, within_s=30)
        yield AppServer(url=url, home=home, app=app, keys=headers)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()
