"""All middleware of an app, in the one order in which it works."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import FastAPI

from harken.core import HarkenError
from harken.http.access_log import AccessLog
from harken.http.addresses import Network
from harken.http.bodies import BodyLimits, BodySettings
from harken.http.drain import Drain, DrainGate
from harken.http.error_responses import ErrorShape, install_error_handlers
from harken.http.forms import FormRoom
from harken.http.headers import Cors, CorsSettings, HeaderSettings, SecurityHeaders, SocketOrigins
from harken.http.hosts import HostGate, HostNames
from harken.http.metrics import CountRequests, HttpMetrics
from harken.http.request_ids import RequestIds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Middleware:
    """What an app is wrapped in. `error_shapes` by prefix of the path, `statuses` of errors this room does not know,
    `open_paths` that answer while the process drains."""

    drain: Drain
    metrics: HttpMetrics
    bodies: BodySettings = field(default_factory=BodySettings)
    headers: HeaderSettings = field(default_factory=HeaderSettings)
    cors: CorsSettings = field(default_factory=CorsSettings)
    trusted_proxies: tuple[Network, ...] = ()
    error_shapes: Mapping[str, ErrorShape] = field(default_factory=dict)
    statuses: Mapping[type[HarkenError], int] = field(default_factory=dict)
    open_paths: tuple[str, ...] = ("/health", "/ready", "/metrics")
    hosts: HostNames | None = None  # None: whatever the Host header says
    traces: "TracerProvider | None" = None


def install_middleware(app: FastAPI, parts: Middleware) -> None:
    """Wrap `app`, from the inside out: each layer sees, counts and decorates what the ones below answer."""
    install_error_handlers(app, parts.error_shapes, parts.statuses)
    app.state.forms = FormRoom(parts.bodies)
    app.add_middleware(BodyLimits, settings=parts.bodies)
    app.add_middleware(SocketOrigins, settings=parts.cors)
    app.add_middleware(DrainGate, drain=parts.drain, open_paths=parts.open_paths)
    app.add_middleware(Cors, settings=parts.cors)
    if parts.hosts is not None:
        app.add_middleware(HostGate, hosts=parts.hosts)
    app.add_middleware(SecurityHeaders, settings=parts.headers, trusted_proxies=parts.trusted_proxies)
    if parts.traces is not None:
        from harken.http.telemetry import TraceRequests

        app.add_middleware(TraceRequests, provider=parts.traces)
    app.add_middleware(CountRequests, metrics=parts.metrics)
    app.add_middleware(AccessLog)
    app.add_middleware(RequestIds)
