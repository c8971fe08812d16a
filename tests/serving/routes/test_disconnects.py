"""A client that leaves takes its work with it, seen through a real socket."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import ClientDisconnect, Request
from tests.serving.route_server import Stand, until

from harken.serving.routes.disconnects import WatchedWork, while_connected

BOUNDARY = "xxxx"
PARTS = {"file": 'name="file"; filename="a.wav"', "model": 'name="model"', "stream": 'name="stream"'}


def request_bytes(path: str, fields: dict[str, str], *, cut: int = 0) -> bytes:
    body = "".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {PARTS[name]}\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    )
    body += f"--{BOUNDARY}--\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return (head + body).encode()[: -cut or None]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Stand, tuple[str, int]]]:
    stand = Stand(spool=tmp_path)
    stand.service.held = True
    with stand.running() as url:
        where = urlsplit(url)
        assert where.hostname
        assert where.port
        yield stand, (where.hostname, where.port)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/transcribe", {"file": "sound"}),
        ("/v1/audio/transcriptions", {"file": "sound", "model": "default"}),
        ("/v1/audio/transcriptions", {"file": "sound", "model": "default", "stream": "true"}),
    ],
)
def test_leaving_cancels_the_service(served: Any, path: str, fields: dict[str, str]) -> None:
    stand, address = served
    with socket.create_connection(address) as client:
        client.sendall(request_bytes(path, fields))
        assert stand.service.started.wait(5)
        [copy] = stand.left_over()
        assert "wav" not in copy
        assert not stand.service.cancelled.wait(0.3)
    left_s = time.monotonic()
    assert stand.service.cancelled.wait(1)
    until(lambda: stand.rows, within_s=1)
    assert time.monotonic() - left_s < 1
    assert [(row.route, row.status, row.details["error"]) for row in stand.rows] == [(path, 499, "client_left")]
    until(lambda: not stand.left_over(), within_s=1)


def test_leaving_a_stream_that_has_begun(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand, address = served
    monkeypatch.setattr("harken.serving.routes.openai.STATUS_S", 0.05)
    monkeypatch.setattr("harken.serving.routes.event_stream.KEEP_ALIVE_S", 0.05)
    with socket.create_connection(address) as client:
        fields = {"file": "sound", "model": "default", "stream": "true"}
        client.sendall(request_bytes("/v1/audio/transcriptions", fields))
        heard = b""
        while heard.count(b": still at work\n\n") < 2:
            heard += client.recv(4096)
        assert b"200 OK" in heard
        assert not stand.service.cancelled.is_set()
    assert stand.service.cancelled.wait(1)
    until(lambda: not stand.left_over() and stand.rows, within_s=1)
    assert [row.status for row in stand.rows] == [499]


def test_leaving_within_the_body(served: Any) -> None:
    stand, address = served
    with socket.create_connection(address) as client:
        client.sendall(request_bytes("/transcribe", {"file": "sound"}, cut=9))
        time.sleep(0.2)
        assert stand.rows == []
    until(lambda: stand.rows, within_s=1)
    assert [(row.status, row.details["error"]) for row in stand.rows] == [(499, "client_left")]
    assert stand.left_over() == []
    assert not stand.service.started.is_set()


class Line:
    """The receiving end of a connection, which the test closes."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        await self.closed.wait()
        return {"type": "http.disconnect"}


def request_on(line: Line) -> Request:
    return Request({"type": "http", "headers": []}, line)


def test_the_result_comes_back_and_nothing_stays() -> None:
    async def check() -> None:
        async def work() -> int:
            await asyncio.sleep(0.01)
            return 7

        assert await while_connected(request_on(Line()), work()) == 7
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(check())


def test_an_error_of_the_work_is_the_callers() -> None:
    async def check() -> None:
        async def work() -> int:
            raise KeyError("x")

        with pytest.raises(KeyError, match="x"):
            await while_connected(request_on(Line()), work())

    asyncio.run(check())


def test_cancelling_the_request_waits_until_the_work_has_ended() -> None:
    async def check() -> None:
        ended = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                ended.append(True)

        task = asyncio.create_task(while_connected(request_on(Line()), work()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(check())


def test_work_that_is_over_counts_although_the_client_left() -> None:
    async def check() -> None:
        line = Line()

        async def work() -> int:
            line.closed.set()
            return 7

        async with WatchedWork(line, work()) as watched:
            await asyncio.sleep(0.01)
            assert await watched.over(0)
            assert await watched.result() == 7

    asyncio.run(check())


def test_over_waits_no_longer_than_asked() -> None:
    async def check() -> None:
        line = Line()
        async with WatchedWork(line, asyncio.sleep(60)) as watched:
            assert not await watched.over(0.01)
            line.closed.set()
            with pytest.raises(ClientDisconnect):
                await watched.over(5)
            with pytest.raises(ClientDisconnect):
                await watched.result()

    asyncio.run(check())
