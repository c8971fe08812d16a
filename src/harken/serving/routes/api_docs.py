"""`/openapi.json`, and `/docs`: Swagger UI from the package fastapi-offline, so that no page asks another server."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from harken.http.auth import public

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Harken API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'
_MEDIA_TYPES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}

router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])


@router.get("/openapi.json")
async def schema(request: Request) -> Response:
    """The OpenAPI description of every route."""
    found: dict[str, Any] = request.app.openapi()
    return JSONResponse(found)


@router.get("/docs")
async def page() -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js")
async def start() -> Response:
    return Response(_START, media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def style() -> Response:
    return _asset("swagger-ui.css")


@router.get("/docs/swagger-ui-bundle.js")
async def script() -> Response:
    return _asset("swagger-ui-bundle.js")


def _asset(name: str) -> Response:
    content = (files("fastapi_offline") / "static" / name).read_bytes()
    return Response(content, media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "public, max-age=86400"})
