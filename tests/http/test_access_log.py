"""One line per request, without secrets."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

Build = Callable[..., Any]


def _records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    names = ("method", "route", "status", "principal", "bytes_in", "bytes_out")
    found = [record for record in caplog.records if record.name == "harken.access"]
    assert all(0 <= record.__dict__["duration_s"] < 60 for record in found)
    return [{name: record.__dict__[name] for name in names} for record in found]


def test_a_request_is_one_line_with_its_route_and_sizes(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    service = build()
    with TestClient(service.app) as client, caplog.at_level(logging.INFO, "harken.access"):
        client.get("/items/7?token=secret")
        client.post("/body", content=b"12345")
        client.get("/nobody/knows")
    none = {"principal": None, "bytes_in": 0}
    items, body, unknown = _records(caplog)
    assert items == {"method": "GET", "route": "/items/{number}", "status": 200, "bytes_out": 1, **none}
    assert (body["bytes_in"], body["bytes_out"], body["route"]) == (5, 1, "/body")
    assert (unknown["route"], unknown["status"]) == ("unmatched", 404)
    assert "secret" not in caplog.text


def test_the_caller_is_named_and_the_key_is_not(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    service = build()
    key = service.keys.add(("transcribe", "stream"))
    with TestClient(service.app) as client, caplog.at_level(logging.DEBUG):
        client.get("/who", headers={"Authorization": f"Bearer {key}"})
        with client.websocket_connect("/socket", subprotocols=["token", key]) as socket:
            socket.receive_text()
            socket.send_text("bye")
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/socket", subprotocols=["token", "x"]):
            pass
    who, socket_line, refused = _records(caplog)
    name = f"key:{key.split('_')[1]}"
    assert (who["principal"], socket_line["principal"], refused["principal"]) == (name, name, None)
    assert (socket_line["method"], socket_line["status"], socket_line["bytes_in"]) == ("WEBSOCKET", 101, 3)
    assert refused["status"] == 401
    shown = caplog.text + str([record.__dict__ for record in caplog.records])
    assert key not in shown
    assert key.split("_", 2)[2] not in shown
