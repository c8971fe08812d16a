"""What the server is, whether it lives and can work, and what it counts."""

import asyncio
import base64
import hashlib
from html import escape
from typing import Any, Literal

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from typing_extensions import TypedDict

from harken.http.auth import public, requires
from harken.serving.parts import parts_of
from harken.serving.routes.documents import UNAVAILABLE, refusals
from harken.serving.routes.readiness import Readiness, ReadyView

LINKS = {
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "playground": "/playground",
    "health": "/health",
    "ready": "/ready",
}
_STYLE = "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto}"
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
_EXAMPLE = {
    "error": {
        "code": "not_allowed",
        "message": "'reader' lacks the scope 'metrics'.",
        "hint": "Use a key that has it.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}


class AboutView(TypedDict):
    """What the server is and how it is used."""

    name: str
    description: str
    version: str
    links: dict[str, str]
    usage: dict[str, str]


class HealthView(TypedDict):
    """The process runs and its event loop turns."""

    status: Literal["live"]


def info_router(*, open_metrics: bool) -> APIRouter:
    """The routes. `/metrics` and `/stats` need the scope `metrics`, unless `open_metrics`."""
    router = APIRouter(tags=["Server"])
    readiness = Readiness()
    policy = Depends(public) if open_metrics else Depends(requires("metrics"))
    guarded: dict[int | str, dict[str, Any]] = {} if open_metrics else refusals(example=_EXAMPLE)

    @router.get(
        "/",
        summary="What this is",
        dependencies=[Depends(public)],
        responses={200: {"model": AboutView, "content": {"text/html": {"schema": {"type": "string"}}}}, **UNAVAILABLE},
    )
    async def about(request: Request) -> Response:
        """JSON, or a page for browsers."""
        view = _about(request)
        if _prefers_html(request.headers.get("accept", "")):
            return HTMLResponse(_page(view), headers={"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept"})
        return JSONResponse(view, headers={"Vary": "Accept"})

    @router.get("/health", summary="Whether the process lives", dependencies=[Depends(public)])
    async def health() -> HealthView:
        """Always 200 while the event loop turns, whatever the server depends on."""
        return HealthView(status="live")

    @router.get(
        "/ready",
        summary="Whether the server can work",
        dependencies=[Depends(public)],
        responses={200: {"model": ReadyView}, 503: {"model": ReadyView, "description": "Not ready."}},
    )
    async def ready(request: Request) -> Response:
        """Asks every dependency; answers within 5 s."""
        parts = parts_of(request)
        view = await readiness.of(parts.checks, closing=parts.closing.is_set())
        headers = {"Cache-Control": "no-store"}
        return JSONResponse(view, status_code=503 if view["status"] == "not_ready" else 200, headers=headers)

    @router.get("/stats", summary="Numbers of this process", dependencies=[policy], responses=guarded)
    async def stats(request: Request) -> dict[str, Any]:
        """Requests, queues, batches, models."""
        return parts_of(request).metrics.stats()

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        dependencies=[policy],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **guarded},
    )
    async def metrics(request: Request) -> Response:
        """In Prometheus' text form."""
        page = await asyncio.to_thread(generate_latest, parts_of(request).metrics.registry)
        return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _prefers_html(accept: str) -> bool:
    """Whether text/html is asked for by name, as browsers do, and not after application/json."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/html" in kinds and "application/json" not in kinds[: kinds.index("text/html")]


def _about(request: Request) -> AboutView:
    url = str(request.base_url).rstrip("/")
    key = '-H "Authorization: Bearer $HARKEN_API_KEY"'
    return AboutView(
        name="Harken",
        description="A speech recognition server that the clients of OpenAI, Deepgram and vosk speak to.",
        version=parts_of(request).version,
        links={name: f"{url}{path}" for name, path in LINKS.items()},
        usage={
            "transcribe": f"curl {url}/transcribe {key} -F file=@speech.wav",
            "transcribe_openai": f"curl {url}/v1/audio/transcriptions {key} -F file=@speech.wav -F model=default",
            "models": f"curl {url}/v1/models {key}",
        },
    )


def _page(view: AboutView) -> str:
    links = "".join(f'<li><a href="{escape(url)}">{escape(name)}</a></li>' for name, url in view["links"].items())
    usage = "".join(f"<pre>{escape(line)}</pre>" for line in view["usage"].values())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Harken</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Harken {escape(view['version'])}</h1>"
        f"<p>{escape(view['description'])}</p><ul>{links}</ul><h2>Usage</h2>{usage}</body></html>"
    )
