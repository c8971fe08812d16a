"""uvicorn with our protocols and a small ASGI application, and clients that write bytes of their own."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from harken.serving.connections import ConnectionSettings
from harken.serving.protocols import HttpProtocol, bounded_protocols

GET = b"GET /size HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class App:
    """Answers HTTP with the size of the body; a WebSocket's text `sum` with its messages and bytes until then."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self.websocket if scope["type"] == "websocket" else self.http)(scope, receive, send)

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            more = message["more_body"]
        if scope["path"] == "/slow":
            await asyncio.sleep(1.0)
        body = str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def websocket(self, scope: Any, receive: Any, send: Any) -> None:
        messages = size = 0
        await receive()
        await asyncio.sleep(0.05 if scope["path"] == "/ws-late" else 0)
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "sum":
                await send({"type": "websocket.send", "text": f"{messages} {size}"})
            else:
                messages, size = messages + 1, size + len(message.get("bytes") or message.get("text") or b"")
        self.codes.append(message["code"])


class Server:
    def __init__(self, port: int, app: App, server: uvicorn.Server) -> None:
        self.port, self.app, self._server = port, app, server
        self.clients: list[Client] = []

    @property
    def open(self) -> set[Any]:
        return self._server.server_state.connections

    async def connect(self) -> "Client":
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setblocking(False)
        client = Client(connection)
        self.clients.append(client)
        await asyncio.sleep(0.01)
        return client

    async def websocket(self) -> "Client":
        client = await self.connect()
        client.send(UPGRADE + b"\r\n")
        assert b" 101 " in await client.head()
        return client


class Client:
    """Reads on when it cannot write any more, as asyncio's streams do not."""

    def __init__(self, connection: socket.socket) -> None:
        self.reader = asyncio.StreamReader()
        self._socket = connection
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.get_running_loop().sock_recv(self._socket, 65_536):
                self.reader.feed_data(data)
        self.reader.feed_eof()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(self._socket, await self._unsent.get())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._unsent.put_nowait(data)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)

    async def answer(self) -> tuple[int, bytes]:
        head = await self.head()
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(size)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload."""
        first, size = await asyncio.wait_for(self.reader.readexactly(2), 10)
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        return first & 15, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        while (frame := await self.frame())[0] != CLOSE:
            pass
        return int(struct.unpack("!H", frame[1][:2])[0])

    async def flood(self, data: bytes, most_bytes: int) -> int:
        """Bytes of `data` over and over that the server took before it ended the connection."""
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < most_bytes:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
                sent += len(data)
                await asyncio.sleep(0)
        return sent

    async def ended(self, within_s: float) -> bytes:
        """What is left to read until the server has closed."""
        return await asyncio.wait_for(self.reader.read(), within_s)


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    size = len(data)
    if size > 65_535:
        sizes = b"\xff" + struct.pack("!Q", size)
    else:
        sizes = bytes([128 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([opcode | 128 * fin]) + sizes + b"\0\0\0\0" + data


def serving(use: Callable[[Server], Awaitable[None]], **settings: Any) -> None:
    asyncio.run(_serve(use, ConnectionSettings(**settings)))


async def _serve(use: Callable[[Server], Awaitable[None]], settings: ConnectionSettings) -> None:
    http, ws = bounded_protocols(settings)
    app = App()
    config = uvicorn.Config(
        app, http=http, ws=ws, ws_max_size=1 << 20, ws_per_message_deflate=False, ws_ping_interval=20.0,
        ws_ping_timeout=None, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        running = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        used = Server(listener.getsockname()[1], app, server)
        try:
            await use(used)
        finally:
            for client in used.clients:
                await client.close()
            server.should_exit = True
            await running


async def worst_delay_s(stop: asyncio.Event) -> float:
    """Of the event loop, which server and clients share here; in CPU time, as other programs may delay it, too."""
    worst = 0.0
    while not stop.is_set():
        before = time.process_time()
        await asyncio.sleep(0)
        worst = max(worst, time.process_time() - before)
    return worst


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (GET, b"a: b\r\n" * 5_000),
        (GET + b"X: ", b"a" * 65_536),
        (b"GET /", b"a" * 65_536),
        (b"POST /size HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ", b"a" * 65_536),
        (b"POST /size HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a: b\r\n" * 5_000),
    ],
    ids=["many headers", "one header", "url", "one trailer", "many trailers"],
)
def test_request_outside_of_its_body_is_bounded(start: bytes, more: bytes) -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(start)
        await asyncio.sleep(0.05)
        (protocol,) = server.open
        await client.flood(more, 16 << 20)
        assert len(protocol.headers) <= 100
        assert protocol._bytes_without_progress <= 65_536 + (65_536 if start.startswith(b"POST") else 16_384)
        status, body = await client.answer()
        assert status == 431
        assert b"headers_too_large" in body
        assert await client.ended(0.5) == b""
        await client.close()
        await asyncio.sleep(0.05)
        assert not server.open

    serving(use)


def test_headers_up_to_the_limits_are_taken() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        for _ in range(3):
            client.send(GET + b"X: " + b"a" * 60_000 + b"\r\n\r\n")
            assert await client.answer() == (200, b"0")
        client.send(GET + b"".join(b"x-%d: 1\r\n" % n for n in range(99)) + b"\r\n")
        assert await client.answer() == (200, b"0")
        client.send(GET + b"".join(b"x-%d: 1\r\n" % n for n in range(100)) + b"\r\n")
        assert (await client.answer())[0] == 431

    serving(use)


def test_second_request_of_a_connection_has_the_same_limits() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(GET + b"\r\n")
        assert await client.answer() == (200, b"0")
        await client.flood(GET + b"X: " + b"a" * 65_536, 1)
        await client.flood(b"a" * 65_536, 8 << 20)
        assert (await client.answer())[0] == 431

    serving(use)


def test_keep_alive_and_large_bodies_and_pipelines_work() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        for size in (0, 1, 100_000, 5_000_000):
            client.send(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size)
            assert await client.answer() == (200, str(size).encode())
        client.send(
            b"POST /size HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 50_000 + b"0\r\n\r\n"
        )
        assert await client.answer() == (200, b"150000")
        client.send((GET + b"\r\n") * 10)
        assert [await client.answer() for _ in range(10)] == [(200, b"0")] * 10
        client.send((GET + b"\r\n") * 10_000)
        assert len(await client.ended(5)) < 10_000  # closed: nobody waits for thousands of answers at once
        assert not server.open

    serving(use)


def test_bad_requests_are_answered_where_the_answer_is_theirs() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await client.answer())[0] == 400
        client = await server.connect()
        client.send(b"POST /size HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.05)
        client.send(b"zz\r\n")
        assert (await client.answer())[0] == 400
        client = await server.connect()
        client.send(GET.replace(b"/size", b"/slow") + b"\r\n")
        await asyncio.sleep(0.05)
        client.send(b"nonsense\r\n\r\n")
        assert await client.ended(2) == b""  # would have been the answer of /slow

    serving(use)


def test_half_open_connections_are_closed() -> None:
    async def use(server: Server) -> None:
        clients = [await server.connect() for _ in range(4)]
        for client, data in zip(clients, [b"", b"G", GET, GET + b"\r\n"], strict=True):
            client.send(data)
        assert (await clients[3].answer())[0] == 200
        clients[3].send(b"\r\n")  # allowed before a request, which does not come
        began = time.monotonic()
        for n in range(3):
            await asyncio.sleep(0.1)
            clients[2].send(b"x-%d: 1\r\n" % n)  # bytes do not buy time
        assert all([await client.ended(1) == b"" for client in clients])
        assert 0.3 < time.monotonic() - began < 1.0
        assert not server.open

    serving(use, header_s=0.5)


def test_time_for_headers_does_not_bound_answers_and_bodies() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(GET.replace(b"/size", b"/slow") + b"\r\n" + GET)  # the second one is complete only after 0.6 s
        await asyncio.sleep(0.6)
        client.send(b"\r\n")
        assert [await client.answer(), await client.answer()] == [(200, b"0")] * 2
        client.send(b"POST /size HTTP/1.1\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.1)
            client.send(b"a")
        assert await client.answer() == (200, b"6")
        socket_client = await server.websocket()
        await asyncio.sleep(0.6)
        socket_client.send(frame(TEXT, b"sum"))
        assert await socket_client.frame() == (TEXT, b"0 0")

    serving(use, header_s=0.4)


@pytest.mark.parametrize("settings", [{"connections": 20}, {"per_address": 20}])
def test_connections_beyond_the_bound_are_refused_while_others_go_on(settings: dict[str, int]) -> None:
    async def use(server: Server) -> None:
        sockets = [await server.websocket() for _ in range(10)]
        waiting = [await server.connect() for _ in range(10)]
        for _ in range(50):
            refused = await server.connect()
            assert (await refused.answer())[0] == 503
            assert await refused.ended(1) == b""
        assert len(server.open) == 20
        sockets[0].send(frame(BINARY, b"abc") + frame(TEXT, b"sum"))
        assert await sockets[0].frame() == (TEXT, b"1 3")
        waiting[0].send(GET + b"\r\n")
        assert (await waiting[0].answer())[0] == 200
        for client in (sockets[1], waiting[1]):
            await client.close()
        await asyncio.sleep(0.1)
        await server.websocket()
        await server.websocket()
        assert (await (await server.connect()).answer())[0] == 503

    serving(use, **settings)


FLOODS = {
    "continuations": (frame(BINARY, b"a", fin=False), frame(CONT, fin=False) * 10_000),
    "pongs": (b"", frame(PONG) * 10_000),
    "pings never read": (b"", frame(PING, b"a" * 125) * 2_000),
    "small continuations": (b"", (frame(BINARY, fin=False) + frame(CONT)) * 5_000),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_frames_ends_its_socket_and_delays_nobody(flood: str) -> None:
    start, more = FLOODS[flood]

    async def use(server: Server) -> None:
        client, other = await server.websocket(), await server.websocket()
        stop = asyncio.Event()
        delay = asyncio.create_task(worst_delay_s(stop))
        client.send(start)
        await asyncio.sleep(0.05)
        await client.flood(more, 16 << 20)
        assert await client.close_code() == 1008
        assert await client.ended(2) == b""
        other.send(frame(BINARY, b"a") + frame(TEXT, b"sum"))
        assert await other.frame() == (TEXT, b"1 1")
        stop.set()
        assert await delay < 0.2
        assert server.app.codes == [1008]

    serving(use)


def test_empty_messages_delay_nobody_and_all_arrive() -> None:
    async def use(server: Server) -> None:
        client = await server.websocket()
        stop = asyncio.Event()
        delay = asyncio.create_task(worst_delay_s(stop))
        assert await client.flood(frame(BINARY) * 10_000, 60_000 * 5) == 300_000
        client.send(frame(TEXT, b"sum"))
        assert await client.frame() == (TEXT, b"50000 0")
        stop.set()
        assert await delay < 0.08

    serving(use)


def test_pongs_that_are_not_read_do_not_pile_up() -> None:
    async def use(server: Server) -> None:
        client = await server.websocket()
        (protocol,) = server.open
        protocol.pause_writing()
        client.send(frame(PING, b"a" * 125) * 500)
        await asyncio.sleep(0.2)
        protocol.resume_writing()
        client.send(frame(PING, b"b"))
        assert await client.frame() == (PONG, b"b")

    serving(use)


def test_audio_at_full_speed_arrives_whole() -> None:
    async def use(server: Server) -> None:
        client = await server.websocket()
        began = time.monotonic()
        for number in range(3_000):  # 60 s of 20 ms
            client.send(frame(BINARY, bytes([number % 256]) * 640))
            if number % 100 == 0:
                client.send(frame(PING))
        client.send(frame(TEXT, b"sum"))
        assert [await client.frame() for _ in range(30)] == [(PONG, b"")] * 30
        assert await client.frame() == (TEXT, b"3000 1920000")
        assert time.monotonic() - began < 5
        client.send(frame(CLOSE, struct.pack("!H", 1000)))
        assert await client.close_code() == 1000
        assert await client.ended(1) == b""
        assert server.app.codes == [1000]

    serving(use)


def test_fragments_of_use_arrive_and_a_message_that_is_too_big_does_not() -> None:
    async def use(server: Server) -> None:
        client = await server.websocket()
        for _ in range(4):  # 2000 fragments within a second, but each brings something
            client.send(frame(BINARY, b"a" * 1_000, fin=False) + frame(CONT, b"b" * 1_000, fin=False) * 499)
            client.send(frame(CONT))
        client.send(frame(TEXT, b"sum"))
        assert await client.frame() == (TEXT, b"4 2000000")
        client.send(frame(BINARY, b"a" * (1 << 19), fin=False) + frame(CONT, b"b" * (1 << 19) + b"c"))
        assert await client.close_code() == 1009
        client = await server.websocket()
        client.send(frame(BINARY, b"a" * 200, fin=False) + frame(CONT, b"b" * 200, fin=False) * 1_000)
        assert await client.close_code() == 1008

    serving(use)


def test_frames_before_the_handshake_is_answered_wait_for_it() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(UPGRADE.replace(b"/ws", b"/ws-late") + b"\r\n")
        await asyncio.sleep(0.02)
        client.send(frame(PING, b"early") + frame(TEXT, b"sum"))
        assert b" 101 " in await client.head()
        assert [await client.frame(), await client.frame()] == [(PONG, b"early"), (TEXT, b"0 0")]

    serving(use)


def test_handshake_that_websockets_does_not_take_is_answered() -> None:
    async def use(server: Server) -> None:
        client = await server.connect()
        client.send(UPGRADE + b"Cookie: " + b"a" * 20_000 + b"\r\n\r\n")
        assert (await client.answer())[0] == 431
        assert await client.ended(1) == b""
        assert not server.open

    serving(use)


@pytest.mark.parametrize(
    "values", [{"connections": 0}, {"per_address": 0}, {"header_s": 0}, {"header_s": float("nan")}, {"header_bytes": 9}]
)
def test_settings_are_checked(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} is "):
        ConnectionSettings(**values)  # type: ignore[arg-type]


def test_each_server_counts_its_own_connections() -> None:
    first, second = (bounded_protocols(ConnectionSettings()) for _ in range(2))
    assert first[0].door is first[1].door  # type: ignore[attr-defined]
    assert first[0].door is not second[0].door  # type: ignore[attr-defined]
    assert issubclass(first[0], HttpProtocol)
