"""Bodies that are too large, too slow, or not what they say."""

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from harken.core import HarkenError, InputError
from harken.http.bodies import BodyLimits, BodySettings
from harken.http.errors import BodyTooLarge

Build = Callable[..., Any]
Serve = Callable[..., Any]
SMALL = BodySettings(max_bytes=1000, larger={"/form": 10_000_000})


def _codes(status: int, error: HarkenError, _request_id: str) -> dict[str, Any]:
    return {"openai": type(error).__name__, "status": status}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([("content-length", "-1")], 400, "input_error"),
        ([("content-length", "+5")], 400, "input_error"),
        ([("content-length", "5_0")], 400, "input_error"),
        ([("content-length", "0x5")], 400, "input_error"),
        ([("content-length", "")], 400, "input_error"),
        ([("content-length", "5, 5")], 400, "input_error"),
        ([("content-length", "\u00b2")], 400, "input_error"),
        ([("content-length", "5"), ("content-length", "5")], 400, "input_error"),
        ([("content-length", "5"), ("transfer-encoding", "chunked")], 400, "input_error"),
        ([("content-length", "1001")], 413, "body_too_large"),
        ([("content-length", "9" * 4000)], 413, "body_too_large"),
    ],
)
def test_a_wrong_length_is_refused_before_anything_is_read(
    build: Build, headers: list[tuple[str, str]], status: int, code: str
) -> None:
    service = build(bodies=SMALL)
    with TestClient(service.app) as client:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        answer = client.build_request("POST", "/v1/body")
        answer.headers = httpx.Headers([(b"host", b"testserver"), *raw])
        refused = client.send(answer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert refused.headers["connection"] == "close"
    assert service.seen == []  # the route did not run


def test_a_route_that_swallows_the_error_does_not_hide_it(build: Build) -> None:
    service = build(bodies=SMALL, error_shapes={"/v1/": _codes})
    with TestClient(service.app) as client:
        assert client.post("/v1/body", content=iter([b"x" * 600, b"x" * 400])).json() == 1000
        answer = client.post("/v1/body", content=iter([b"x" * 600, b"x" * 401]))
    assert (answer.status_code, answer.json()) == (413, {"openai": "BodyTooLarge", "status": 413})
    assert [type(error) for error in service.seen] == [BodyTooLarge]


def _asgi(app: Any, messages: list[Any], settings: BodySettings, path: str = "/x") -> tuple[list[Any], int]:
    """What `app` behind the limits answers to `messages`, each a dict or seconds to wait; how many were taken."""
    sent: list[Any] = []
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        while messages:
            message = messages.pop(0)
            if isinstance(message, dict):
                taken += 1
                return message
            await asyncio.sleep(message)
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": []}
    asyncio.run(BodyLimits(app, settings)(scope, receive, send))
    return sent, taken


def _part(size: int, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


async def _reads_all(_scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def _swallows(scope: Any, receive: Any, send: Any) -> None:
    try:
        await _reads_all(scope, receive, send)
    except BodyTooLarge:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


@pytest.mark.parametrize("app", [_reads_all, _swallows])
def test_the_limit_answers_whatever_the_route_makes_of_it(app: Any) -> None:
    sent, _taken = _asgi(app, [_part(600), _part(401, more=False)], SMALL)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b'"body_too_large"' in sent[1]["body"]
    assert sent[2]["body"] == b""
    assert not sent[2].get("more_body", False)
    assert _asgi(app, [_part(600), _part(400, more=False)], SMALL)[0][1]["body"] == b"1000"


def test_the_route_never_gets_more_than_the_limit_and_the_rest_is_thrown_away() -> None:
    held = []

    async def keeps(_scope: Any, receive: Any, _send: Any) -> None:
        while True:
            held.append(len((await receive())["body"]))

    sent, taken = _asgi(keeps, [*[_part(300)] * 50, _part(1, more=False)], SMALL)
    assert sent[0]["status"] == 413
    assert held == [300, 300, 300]
    assert taken == 51


def test_a_path_may_take_more() -> None:
    assert _asgi(_reads_all, [_part(5000, more=False)], SMALL, "/form/x")[0][0]["status"] == 200
    settings = BodySettings(max_bytes=10, larger={"/a": 20, "/a/b": 5})
    assert [settings.limit_for(path) for path in ("/", "/a/c", "/a/b/c")] == [10, 20, 5]


def test_silence_is_a_408() -> None:
    began_s = time.perf_counter()
    sent, _taken = _asgi(_reads_all, [_part(5), 60.0, _part(5, more=False)], BodySettings(idle_s=0.1))
    assert (sent[0]["status"], time.perf_counter() - began_s < 2) == (408, True)


def test_a_trickle_is_a_408_although_it_never_pauses() -> None:
    messages = [item for _ in range(200) for item in (0.01, _part(1))]
    sent, taken = _asgi(_reads_all, messages, BodySettings(idle_s=5, min_bytes_per_s=1000, window_s=0.2))
    assert sent[0]["status"] == 408
    assert taken < 60


def test_a_slow_route_is_not_the_clients_fault() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def later() -> Any:
            await asyncio.sleep(0.05)
            return await receive()

        await _reads_all(scope, later, send)

    messages: list[Any] = [*[_part(1)] * 10, _part(1, more=False)]
    sent, _taken = _asgi(slow, messages, BodySettings(idle_s=0.2, min_bytes_per_s=1000, window_s=0.1))
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"11")


def test_waiting_for_the_client_to_leave_has_no_limit() -> None:
    async def waits(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent, _taken = _asgi(waits, [_part(1, more=False), 0.3, {"type": "http.disconnect"}], BodySettings(idle_s=0.1))
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"larger": {"/a": 0}}, "larger is {'/a': 0}"),
        ({"idle_s": 0.0}, "idle_s is 0.0"),
        ({"window_s": float("nan")}, "window_s nan"),
        ({"forms": 0}, "forms is 0"),
        ({"form_bytes": 0}, "form_bytes 0"),
    ],
)
def test_wrong_settings_say_what_to_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        BodySettings(**settings)


# Over real connections.


def test_a_client_sees_the_413_while_it_still_sends(build: Build, serve: Serve) -> None:
    service = build(bodies=BodySettings(max_bytes=100_000), error_shapes={"/v1/": _codes})

    def endless() -> Iterator[bytes]:
        for _ in range(20_000):
            yield b"x" * 10_000

    with serve(service.app) as port:
        began_s = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST /v1/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(11):
                connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            head = b""
            while not head.endswith(b"}"):
                head += connection.recv(65_536)
            assert time.perf_counter() - began_s < 1.0  # at once, though the body goes on
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in head.lower()
            assert b'{"openai":"BodyTooLarge","status":413}' in head
        announced = httpx.post(f"http://127.0.0.1:{port}/v1/body", content=b"x" * 5_000_000)
        assert (announced.status_code, announced.json()["openai"]) == (413, "BodyTooLarge")
        streamed = httpx.post(f"http://127.0.0.1:{port}/v1/body", content=endless())
        assert streamed.status_code == 413
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200


def test_a_slow_client_is_cut_off_and_no_other_waits(build: Build, serve: Serve) -> None:
    service = build(bodies=BodySettings(idle_s=2.0))
    with serve(service.app) as port:
        slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
        for connection in slow:
            connection.sendall(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx")
        began_s = time.perf_counter()
        assert httpx.post(f"http://127.0.0.1:{port}/body", content=b"12345").json() == 5
        assert time.perf_counter() - began_s < 1.9
        for connection in slow:
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            assert answer.startswith(b"HTTP/1.1 408 ")
            connection.close()
        assert service.drain.open_requests == 0


def test_a_client_that_waits_for_our_word_gets_the_refusal_alone(build: Build, serve: Serve) -> None:
    with serve(build(bodies=SMALL).app) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        answer, began_s = b"", time.perf_counter()
        while part := client.recv(65_536):
            answer += part
        assert time.perf_counter() - began_s < 1.0
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_input_errors_of_the_route_pass_through() -> None:
    async def refuses(*_: Any) -> None:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        _asgi(refuses, [], SMALL)
