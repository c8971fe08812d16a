"""Counts, times, and label sets that stay the same."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

Build = Callable[..., Any]


def _requests(service: Any) -> dict[tuple[str, str, str], float]:
    samples = [sample for family in service.metrics.registry.collect() for sample in family.samples]
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for sample in samples
        if sample.name == "asr_requests_total"
    }


def test_requests_are_counted_by_template_method_and_status(build: Build) -> None:
    service = build()
    with TestClient(service.app) as client:
        for number in range(3):
            client.get(f"/items/{number}")
        client.get("/items/x")
        client.post("/body", headers={"Content-Length": "-1"})  # refused before any route sees it
        client.get("/raises/unexpected")
    assert _requests(service) == {
        ("/items/{number}", "GET", "200"): 3,
        ("/items/{number}", "GET", "400"): 1,
        ("/body", "POST", "400"): 1,
        ("/raises/{what}", "GET", "500"): 1,
    }
    labels = {"route": "/items/{number}", "method": "GET", "status": "200"}
    assert service.metrics.registry.get_sample_value("asr_request_duration_seconds_count", labels) == 3


def test_strangers_cannot_make_labels(build: Build) -> None:
    service = build()
    with TestClient(service.app) as client:
        client.get("/warm-up")
        size = len(service.metrics.page()[0].splitlines())
        for number in range(300):
            client.get(f"/{number}/{'x' * number}", headers={"X-Request-ID": f"id{number}"})
            client.request(f"METHOD{number}", f"/{number}")
    assert _requests(service) == {("unmatched", "GET", "404"): 301, ("unmatched", "OTHER", "404"): 300}
    assert len(service.metrics.page()[0].splitlines()) < size + 25  # one more set of labels, 16 lines of histogram


def test_sockets_count_when_they_end(build: Build) -> None:
    service = build()
    key = service.keys.add(("stream",))
    value = service.metrics.registry.get_sample_value
    with TestClient(service.app) as client:
        with client.websocket_connect("/socket", headers={"X-API-Key": key}) as socket:
            socket.receive_text()
            assert value("asr_active_connections", {"kind": "websocket"}) == 1
            socket.send_text("bye")
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/socket"):
            pass
    assert _requests(service) == {("/socket", "WEBSOCKET", "101"): 1, ("/socket", "WEBSOCKET", "401"): 1}
    assert value("asr_active_connections", {"kind": "websocket"}) == 0
    assert value("asr_active_connections", {"kind": "request"}) == 0
    assert b"asr_request_duration_seconds_count" not in service.metrics.page()[0]
