"""Services that take what they are sent and never answer: nobody waits for them without end."""

import asyncio
import socket
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from tests.services import create_database, running_postgres

from harken.core import MissingPart
from harken.storage.blobs import BlobStore
from harken.storage.database import Database

KEY = "sha256/00/" + "0" * 62


@pytest.mark.service
def test_a_postgres_that_stands_still_is_given_up_and_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.storage.dialects.ANSWER_S", 0.5)
    monkeypatch.setattr("harken.storage.dialects.CONNECT_S", 2)
    with running_postgres() as service:
        database = Database.open(create_database(service.url))
        assert service.process is not None
        main = psutil.Process(service.process.pid)
        stopped = [main, *main.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            for _ in range(2):  # a connection of the pool first
                began_s = time.monotonic()
                with pytest.raises(MissingPart, match="cannot be used"), database.read() as connection:
                    connection.execute(text("SELECT 1"))
                assert time.monotonic() - began_s < 5
            began_s = time.monotonic()
            with pytest.raises(MissingPart, match=r"does not answer within 0\.3 s"):
                asyncio.run(database.answers(0.3))
            assert time.monotonic() - began_s < 1
        finally:
            for process in stopped:
                if process.is_running():
                    process.resume()
        with database.read() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
        database.close()


def test_a_bucket_that_takes_connections_and_never_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harken.storage.objects._SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = BlobStore.open(
            "s3://bucket", endpoint=endpoint, region="x", access_key_id="a", secret_access_key="b"
        )  # fmt: skip
        (tmp_path / "a").write_bytes(b"audio")
        for ask in (lambda: store.put_file(tmp_path / "a"), lambda: store.get_to(KEY, tmp_path / "b")):
            began_s = time.monotonic()
            with pytest.raises(MissingPart, match="cannot be used"):
                ask()
            assert time.monotonic() - began_s < 5
        assert not (tmp_path / "b").exists()
        store.close()
