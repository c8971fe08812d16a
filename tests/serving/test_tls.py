"""Connections that begin with a TLS handshake, and those that never finish it, on both event loops."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from tests.serving.test_server import certificate

from harken.serving.connections import ConnectionSettings, Door
from harken.serving.protocols import bounded_protocols
from harken.serving.tls import TlsEntrance, tls_context

HALF_A_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(32)

Use = Callable[[int, ssl.SSLContext, uvicorn.Server], Awaitable[None]]


@pytest.fixture(params=["uvloop", "asyncio"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Runs a coroutine beside a server that answers with the scheme."""
    cert, key = certificate(tmp_path)
    new_loop = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["scheme"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def run(use: Use, settings: ConnectionSettings) -> None:
        http, ws = bounded_protocols(settings, tls_context(str(cert), str(key), None))
        config = uvicorn.Config(
            app, http=http, ws=ws, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
            running = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                trust = ssl.create_default_context(cafile=str(cert))
                await use(listener.getsockname()[1], trust, server)
            finally:
                server.should_exit = True
                began_s = time.monotonic()
                await running
                assert time.monotonic() - began_s < 3

    def start(use: Use, **settings: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(run(use, ConnectionSettings(**settings)))

    return start


async def asked(port: int, trust: ssl.SSLContext) -> bytes:
    """What the server says over TLS; empty where it lets nobody in."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    except OSError:
        return b""
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return (await reader.read()).rpartition(b"\r\n")[2]
    except OSError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def gone(server: uvicorn.Server) -> None:
    """Nobody is connected any more."""
    async with asyncio.timeout(3):
        while server.server_state.connections:
            await asyncio.sleep(0.01)


async def closed_after_s(reader: asyncio.StreamReader) -> float:
    began_s = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1000), 10):
            pass
    return time.monotonic() - began_s


@pytest.mark.parametrize("said", [b"", HALF_A_HELLO, HALF_A_HELLO[:3]])
def test_a_handshake_that_does_not_end_is_ended(serving: Callable[..., None], said: bytes) -> None:
    async def use(port: int, trust: ssl.SSLContext, server: uvicorn.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert 0.4 < await closed_after_s(reader) < 1.5
        writer.close()
        assert await asked(port, trust) == b"https"
        await gone(server)

    serving(use, header_s=0.5)


def test_who_does_not_speak_tls_is_sent_away_at_once(serving: Callable[..., None]) -> None:
    async def use(port: int, trust: ssl.SSLContext, server: uvicorn.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await closed_after_s(reader) < 1
        writer.close()
        await gone(server)
        assert await asked(port, trust) == b"https"

    serving(use, header_s=30, connections=1)


def test_half_open_handshakes_count_as_connections_and_make_room_when_they_end(serving: Callable[..., None]) -> None:
    async def use(port: int, trust: ssl.SSLContext, server: uvicorn.Server) -> None:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert await asked(port, trust) == b""  # a fourth
        open_ones[0][1].close()
        await asyncio.sleep(0.05)
        assert await asked(port, trust) == b"https"
        for reader, writer in open_ones[1:]:
            await closed_after_s(reader)
            writer.close()
        assert [await asked(port, trust) for _ in range(5)] == [b"https"] * 5
        await gone(server)

    serving(use, header_s=1, connections=10, per_address=3)


def test_the_headers_have_their_own_time_after_the_handshake(serving: Callable[..., None]) -> None:
    async def use(port: int, trust: ssl.SSLContext, server: uvicorn.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        assert 0.4 < await closed_after_s(reader) < 1.5
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await gone(server)
        assert await asked(port, trust) == b"https"

    serving(use, header_s=0.5, connections=1)


def test_a_server_that_ends_waits_for_no_handshake(serving: Callable[..., None]) -> None:
    async def use(port: int, trust: ssl.SSLContext, server: uvicorn.Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        assert [isinstance(each, TlsEntrance) for each in server.server_state.connections] == [True]
        writer.close()

    serving(use, header_s=60)


def test_a_connection_keeps_its_place_when_it_changes_its_transport() -> None:
    door = Door(ConnectionSettings(connections=1, per_address=None))
    first, second, third = (asyncio.Transport() for _ in range(3))
    assert door.enter(first)
    door.change(first, second)
    assert door.enter(second)
    assert not door.enter(third)
    door.leave(first)
    assert not door.enter(third)
    door.leave(second)
    assert door.enter(third)
    door.change(first, second)  # it is not in
    assert not door.enter(second)
