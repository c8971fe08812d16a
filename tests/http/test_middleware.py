"""All layers together, behind a real server."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harken.http.auth import AuthSettings, Principal, requires
from harken.http.drain import ProcessState

Build = Callable[..., Any]
Serve = Callable[..., Any]


def test_a_socket_is_refused_with_status_headers_and_shape_before_it_opens(build: Build, serve: Serve) -> None:
    service = build(auth=AuthSettings(mode="required"))
    key = service.keys.add(("stream",))
    with serve(service.app) as port:
        url = f"ws://127.0.0.1:{port}/socket"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Bearer {key}", "Origin": "https://evil.example.com"}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
                pass
            answer = refused.value.response
            assert answer.status_code == status
            assert answer.headers["x-request-id"] in (answer.body or b"").decode()
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert ("www-authenticate" in answer.headers) == (status == 401)
        with connect(url, subprotocols=["token", key]) as socket:
            assert socket.recv() == f"key:{key.split('_')[1]}"
            assert socket.subprotocol == "token"
            socket.send("bye")
        with pytest.raises(InvalidStatus) as absent, connect(f"ws://127.0.0.1:{port}/none"):
            pass
        assert absent.value.response.status_code == 404


def test_draining_lets_what_is_open_finish(build: Build, serve: Serve) -> None:
    service = build()
    may_end = threading.Event()

    async def slow(principal: Annotated[Principal, Depends(requires("batch"))]) -> str:
        while not may_end.is_set():
            await asyncio.sleep(0.01)
        return principal.kind

    service.app.add_api_route("/slow", slow)
    with serve(service.app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert service.drain.state is ProcessState.READY
        answers: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}/slow")))
        waiting.start()
        until_s = time.monotonic() + 5
        while not service.drain.open_requests and time.monotonic() < until_s:
            time.sleep(0.01)
        service.drain.begin()
        refused = client.get("/slow")
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert client.get("/health").status_code == 200
        may_end.set()
        waiting.join(timeout=5)
        assert (answers[0].json(), answers[0].headers["connection"]) == ("anonymous", "close")
        until_s = time.monotonic() + 5
        while service.drain.open_requests and time.monotonic() < until_s:  # it is counted out after its last byte
            time.sleep(0.01)
        assert service.drain.open_requests == 0


def test_a_client_that_leaves_is_counted_out(build: Build, serve: Serve) -> None:
    service = build()
    left = threading.Event()

    async def waits(principal: Annotated[Principal, Depends(requires("batch"))]) -> str:
        try:
            await asyncio.sleep(0.3)
        finally:
            left.set()
        return principal.kind

    service.app.add_api_route("/waits", waits)
    with serve(service.app) as port:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"http://127.0.0.1:{port}/waits", timeout=0.1)
        assert left.wait(5)
        until_s = time.monotonic() + 5
        while service.drain.open_requests and time.monotonic() < until_s:
            time.sleep(0.01)
        assert service.drain.open_requests == 0
        value = service.metrics.registry.get_sample_value
        assert value("asr_active_connections", {"kind": "request"}) == 0


def test_a_refusal_is_quick_and_the_layers_are_thin(build: Build, serve: Serve) -> None:
    service = build(auth=AuthSettings(mode="required"))
    with serve(service.app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/who")
        times_s = []
        for _ in range(20):
            began_s = time.perf_counter()
            client.get("/who")
            times_s.append(time.perf_counter() - began_s)
    assert sorted(times_s)[10] < 0.05
