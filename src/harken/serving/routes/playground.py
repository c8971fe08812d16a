"""`/playground`: the page for microphones and files, out of the package itself."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from harken.http.auth import public
from harken.http.errors import NotFound

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGE = "index.html"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        headers = {**_HEADERS, "ETag": self.tag}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def playground_router() -> APIRouter:
    """The page and its files, held in memory: nothing a request names ever becomes a path."""
    assets = _assets()
    router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])

    @router.get("/playground")
    async def page(request: Request) -> Response:
        return assets[_PAGE].answer(request)

    @router.get("/playground/{name}")
    async def asset(name: str, request: Request) -> Response:
        if name not in assets or name == _PAGE:
            raise NotFound("The playground has no such file.", hint="Open /playground.")
        return assets[name].answer(request)

    return router


def _assets() -> dict[str, _Asset]:
    found = {}
    for item in files("harken.serving").joinpath("playground").iterdir():
        kind = next((media for ending, media in _MEDIA_TYPES.items() if item.name.endswith(ending)), None)
        if kind is not None:
            content = item.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[item.name] = _Asset(content=content, media_type=kind, tag=tag)
    return found
