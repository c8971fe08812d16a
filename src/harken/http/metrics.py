"""Counts and times of requests for Prometheus, with label sets that stay the same whatever clients send."""

import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.http.route_templates import RouteTemplates

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SOCKET = "WEBSOCKET"
CLIENT_LEFT = 499  # nginx's status of a request whose client did not wait for the answer
_LABELS = ("route", "method", "status")
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class HttpMetrics:
    """`<prefix>_requests_total`, `<prefix>_request_duration_seconds` and `<prefix>_active_connections` in `registry`.

    A WebSocket counts once, when it ends, with status 101 or that of its refusal; it has no duration, because how
    long somebody talks says nothing about the server.
    """

    def __init__(self, registry: CollectorRegistry, *, prefix: str = "http") -> None:
        self.registry = registry
        self.requests = Counter(f"{prefix}_requests", "Requests and WebSockets.", _LABELS, registry=registry)
        self.duration = Histogram(
            f"{prefix}_request_duration_seconds",
            "From the request to the end of its answer.",
            _LABELS,
            buckets=_BUCKETS_S,
            registry=registry,
        )
        active = Gauge(f"{prefix}_active_connections", "Open requests and WebSockets.", ("kind",), registry=registry)
        self.open_requests = active.labels("request")
        self.open_sockets = active.labels("websocket")

    def page(self) -> tuple[bytes, str]:
        """What a scrape gets, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class CountRequests:
    """Middleware that fills `HttpMetrics`."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self.app = app
        self.metrics = metrics
        self.templates = RouteTemplates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        is_socket = scope["type"] == "websocket"
        active = self.metrics.open_sockets if is_socket else self.metrics.open_requests
        began_s, status = time.perf_counter(), CLIENT_LEFT

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        active.inc()
        try:
            await self.app(scope, receive, send_and_note)
        finally:
            active.dec()
            labels = (self.templates.of(scope), _method(scope), str(status))
            self.metrics.requests.labels(*labels).inc()
            if not is_socket:
                self.metrics.duration.labels(*labels).observe(time.perf_counter() - began_s)


def _method(scope: Scope) -> str:
    method: str = scope.get("method", SOCKET)
    return method if method == SOCKET or method in METHODS else "OTHER"
