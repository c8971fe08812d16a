"""Traces for OpenTelemetry: one span a request, sent by OTLP over HTTP. Used only where an endpoint is set."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.core import MissingPart, Strict
from harken.http.request_ids import request_id_of
from harken.http.route_templates import RouteTemplates

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings(Strict):
    """`endpoint` is the OTLP URL of a collector (http://host:4318/v1/traces), None: no traces; `sampled` is the share
    of requests, 0 to 1, that are traced where the caller has not decided."""

    endpoint: str | None = None
    service: str = "harken"
    sampled: float = 1.0
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # they may hold a key

    def __post_init__(self) -> None:
        if self.endpoint is not None and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise ValueError(f"endpoint is {self.endpoint!r}; use an http:// or https:// URL")
        if not 0 <= self.sampled <= 1:
            raise ValueError(f"sampled is {self.sampled}; use 0 to 1")


def open_tracing(settings: TelemetrySettings) -> "TracerProvider | None":
    """A provider that exports in a thread of its own, or None without an endpoint; shut it down at the end.

    Raises MissingPart where the packages are not installed.
    """
    if settings.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ModuleNotFoundError as err:
        raise MissingPart("OpenTelemetry is not installed.", hint="pip install 'harken[serve]'.") from err
    provider = TracerProvider(
        resource=Resource.create({"service.name": settings.service}),
        sampler=ParentBasedTraceIdRatio(settings.sampled),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=settings.headers, timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class TraceRequests:
    """Middleware: a span for each request and WebSocket, child of the caller's where it sends `traceparent`."""

    def __init__(self, app: ASGIApp, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.app = app
        self.templates = RouteTemplates()
        self._tracer = provider.get_tracer("harken.http")
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind

        route, method = self.templates.of(scope), scope.get("method", "WEBSOCKET")
        parent = self._propagator.extract(dict(Headers(scope=scope)))
        attributes = {"http.route": route, "http.request.method": method, "harken.request_id": request_id_of(scope)}
        with self._tracer.start_as_current_span(
            f"{method} {route}", context=parent, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            await self.app(scope, receive, _noting_status(send, span))


def _noting_status(send: Send, span: "Span") -> Send:
    from opentelemetry.trace import StatusCode

    async def send_and_note(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= 500:
                span.set_status(StatusCode.ERROR)
        await send(message)

    return send_and_note
