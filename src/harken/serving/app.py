"""The application: routes, middleware and parts put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from harken.http.auth import require_policies
from harken.http.drain import Drain
from harken.http.hosts import LOCAL_NAMES, HostNames, host_name
from harken.http.metrics import HttpMetrics
from harken.http.middleware import Middleware, install_middleware
from harken.http.telemetry import open_tracing
from harken.serving.assembly import assembled
from harken.serving.jobs.routes import router as jobs_router
from harken.serving.routes.api_docs import router as docs_router
from harken.serving.routes.info import info_router
from harken.serving.routes.kept_audio import router as kept_audio_router
from harken.serving.routes.models import router as models_router
from harken.serving.routes.native import router as native_router
from harken.serving.routes.openai import router as openai_router
from harken.serving.routes.playground import playground_router
from harken.serving.settings import ServeSettings
from harken.serving.shapes.openai_errors import openai_error
from harken.serving.sockets.deepgram_query import deepgram_error
from harken.serving.sockets.routes import router as sockets_router
from harken.serving.statuses import STATUSES

TITLE = "Harken"


def create_app(settings: ServeSettings) -> FastAPI:
    """The server as an ASGI application, whose lifespan starts and ends everything it works with.

    `app.state.drain` is how it is told to stop: `harken.serving.server.serve` does so on SIGTERM. Raises MissingPart
    for a part that the settings ask for and that is not installed; starting raises as `assembled` does.
    """
    installed = version("harken")
    registry, drain = CollectorRegistry(), Drain()
    traces = open_tracing(settings.telemetry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with assembled(settings, registry=registry, drain=drain, version=installed) as parts:
                app.state.server = parts
                app.state.authenticator, app.state.limiter = parts.authenticator, parts.limiter
                drain.ready()
                yield
        finally:
            if traces is not None:
                traces.shutdown()

    app = FastAPI(title=TITLE, version=installed, lifespan=lifespan, openapi_url=None)
    app.state.drain = drain
    for router in (
        info_router(open_metrics=settings.open_metrics),
        native_router,
        jobs_router,
        openai_router,
        models_router,
        kept_audio_router,
        sockets_router,
        playground_router(),
        docs_router,
    ):
        app.include_router(router)
    install_middleware(
        app,
        Middleware(
            drain=drain,
            metrics=HttpMetrics(registry, prefix="asr"),
            bodies=settings.bodies,
            headers=settings.headers,
            cors=settings.cors,
            trusted_proxies=settings.proxies.networks(),
            error_shapes={"/v1/": openai_error, "/v1/listen": deepgram_error},
            statuses=STATUSES,
            traces=traces,
            hosts=_hosts(settings, app),
        ),
    )
    require_policies(app)
    return app


def _hosts(settings: ServeSettings, app: FastAPI) -> HostNames:
    """Enforced where names are listed, and where anybody on this machine is let in, so any page of a browser too."""

    def enforced() -> bool:
        return bool(settings.hosts) or (settings.is_local and app.state.authenticator.is_open())

    named = (*LOCAL_NAMES, settings.host, *settings.hosts)
    return HostNames(names=frozenset(filter(None, map(host_name, named))), enforced=enforced)
