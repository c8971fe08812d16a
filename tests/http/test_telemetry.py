"""Spans of requests, where they are wanted."""

import re
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from harken.core import MissingPart
from harken.http.auth import public
from harken.http.request_ids import RequestIds
from harken.http.telemetry import TelemetrySettings, TraceRequests, open_tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_span_names_route_status_and_request() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = FastAPI(openapi_url=None)
    app.add_api_route("/items/{number}", lambda number: number, dependencies=[Depends(public)])
    app.add_middleware(TraceRequests, provider=provider)
    app.add_middleware(RequestIds)
    with TestClient(app) as client:
        client.get("/items/7?key=secret", headers={"X-Request-ID": "abc", "traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.get("/nowhere")
    first, second = exporter.get_finished_spans()
    assert first.name == "GET /items/{number}"
    assert dict(first.attributes or {}) == {
        "http.route": "/items/{number}",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "harken.request_id": "abc",
    }
    assert first.parent is not None
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE, PARENT)
    assert (second.name, (second.attributes or {})["http.response.status_code"]) == ("GET unmatched", 404)
    provider.shutdown()


def test_without_an_endpoint_there_is_nothing() -> None:
    assert open_tracing(TelemetrySettings()) is None


def test_an_endpoint_opens_a_provider_that_can_be_shut_down() -> None:
    pytest.importorskip("opentelemetry.sdk")
    provider = open_tracing(TelemetrySettings(endpoint="http://127.0.0.1:1/v1/traces", service="x"))
    assert provider is not None
    assert provider.resource.attributes["service.name"] == "x"
    provider.shutdown()


def test_an_endpoint_without_the_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingPart, match=re.escape("pip install 'harken[serve]'")):
        open_tracing(TelemetrySettings(endpoint="http://127.0.0.1:1/v1/traces"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"endpoint": "collector:4318"}, "endpoint is 'collector:4318'"), ({"sampled": 1.5}, "sampled is 1.5")],
)
def test_wrong_settings_say_what_to_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TelemetrySettings(**settings)


def test_headers_are_not_shown() -> None:
    assert "hunter2" not in repr(TelemetrySettings(headers={"authorization": "hunter2"}))
