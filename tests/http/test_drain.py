"""Stopping without dropping anybody."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from harken.http.drain import Drain, DrainGate, ProcessState

Build = Callable[..., Any]


def test_states_go_one_way() -> None:
    drain = Drain()
    assert drain.state is ProcessState.STARTING
    drain.ready()
    assert drain.state is ProcessState.READY
    drain.begin()
    drain.ready()
    assert drain.state is ProcessState.DRAINING


def test_new_requests_are_refused_and_open_paths_are_not(build: Build) -> None:
    service = build()
    with TestClient(service.app) as client:
        assert "connection" not in client.get("/items/1").headers
        service.drain.begin()
        answer = client.get("/items/1")
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "5", "close")
        assert answer.json()["error"]["code"] == "draining"
        assert client.get("/health").status_code == 200
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
            pass
        assert refused.value.status_code == 503


def test_waiting_ends_when_the_last_one_leaves() -> None:
    async def scenario() -> tuple[bool, tuple[int, int], bool, list[str]]:
        drain, may_end, sent = Drain(), asyncio.Event(), list[str]()

        async def slow(_scope: Any, _receive: Any, send: Any) -> None:
            await may_end.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Any) -> None:
            sent.extend(value.decode() for name, value in message["headers"] if name == b"connection")

        gate = DrainGate(slow, drain)
        running = [
            asyncio.create_task(gate({"type": kind, "path": "/x"}, slow, send)) for kind in ("http", "websocket")
        ]
        await asyncio.sleep(0)
        drain.begin()
        assert drain.begun.is_set()
        early, counted = await drain.wait_until_idle(0.02), (drain.open_requests, drain.open_sockets)
        may_end.set()
        idle = await drain.wait_until_idle(5)
        await asyncio.gather(*running)
        return early, counted, idle, sent

    early, counted, idle, sent = asyncio.run(scenario())
    assert (early, counted, idle) == (False, (1, 1), True)
    assert sent == ["close", "close"]  # its connection is not used again


def test_a_request_that_breaks_is_counted_out() -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    async def scenario() -> Drain:
        drain = Drain()
        with pytest.raises(ZeroDivisionError):
            await DrainGate(broken, drain)({"type": "http", "path": "/x"}, broken, broken)
        return drain

    assert asyncio.run(scenario()).open_requests == 0
