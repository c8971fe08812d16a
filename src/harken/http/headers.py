"""Headers that tell browsers what they may do with our answers, and which pages may open a WebSocket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.core import Strict
from harken.http.addresses import Network, is_secure
from harken.http.error_responses import send_error
from harken.http.errors import NotAllowed

NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderSettings(Strict):
    """Security headers. `content_policies` maps a prefix of the path to the Content-Security-Policy of its pages, all
    else gets one that allows nothing; `hsts_s` is for how long browsers insist on TLS once they have seen it, 0: not.
    """

    content_policies: Mapping[str, str] = field(default_factory=dict)
    hsts_s: int = 31_536_000

    def __post_init__(self) -> None:
        if self.hsts_s < 0:
            raise ValueError(f"hsts_s is {self.hsts_s}; use 0 or more")
        for prefix, policy in self.content_policies.items():
            if not prefix.startswith("/") or not policy.isprintable() or not policy.isascii():
                raise ValueError(f"content_policies has {prefix!r}: {policy!r}; use a path and one line of ASCII")


class SecurityHeaders:
    """Adds the headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp, settings: HeaderSettings, *, trusted_proxies: tuple[Network, ...] = ()) -> None:
        self.app = app
        self.settings = settings
        self.trusted_proxies = trusted_proxies
        self._policies = sorted(settings.content_policies.items(), key=lambda item: -len(item[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        added = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": self._policy(scope["path"]),
        }
        if self.settings.hsts_s and is_secure(HTTPConnection(scope), self.trusted_proxies):
            added["Strict-Transport-Security"] = f"max-age={self.settings.hsts_s}"

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _policy(self, path: str) -> str:
        return next((policy for prefix, policy in self._policies if path.startswith(prefix)), NO_CONTENT_POLICY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsSettings(Strict):
    """Pages of other origins (https://app.example.com) that may use this server; `*` is every one of them.

    `credentials` lets them send cookies and client certificates, which the API does not use; never with `*`.
    """

    origins: tuple[str, ...] = ()
    credentials: bool = False
    max_age_s: int = 600

    def __post_init__(self) -> None:
        if "*" in self.origins and self.credentials:
            raise ValueError("origins has '*' with credentials; use a list of origins, or no credentials")
        for origin in self.origins:
            parts = urlsplit(origin)
            if origin != "*" and (
                parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(f"origins has {origin!r}; use scheme and host, such as https://app.example.com")
        if self.max_age_s < 0:
            raise ValueError(f"max_age_s is {self.max_age_s}; use 0 or more")


class Cors(CORSMiddleware):
    """Answers preflights, and marks answers for the pages that `settings` lists."""

    def __init__(self, app: ASGIApp, settings: CorsSettings) -> None:
        super().__init__(
            app,
            allow_origins=settings.origins,
            allow_credentials=settings.credentials,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
            expose_headers=("X-Request-ID", "Retry-After"),
            max_age=settings.max_age_s,
        )


class SocketOrigins:
    """Refuses WebSockets of foreign pages before they are accepted: browsers do not apply CORS to them.

    A page of this server passes, as do clients that send no Origin, which are no browsers, and the origins of CORS.
    """

    def __init__(self, app: ASGIApp, settings: CorsSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._may_open(Headers(scope=scope)):
            error = NotAllowed(
                "Pages of this origin may not open a WebSocket here.", hint="List it under cors.origins."
            )
            await send_error(error, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _may_open(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        if not origins:
            return True
        if len(origins) > 1:
            return False
        listed = self.settings.origins
        return "*" in listed or origins[0] in listed or _same_place(origins[0], headers.get("host", ""))


def _same_place(origin: str, host: str) -> bool:
    """Whether a page of `origin` came from `host`, the Host header; a port left out is the scheme's own."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        port = _DEFAULT_PORTS.get(page.scheme)
        same_port = (page.port or port) == (here.port or port)
    except ValueError:  # a port that is no number
        return False
    return page.scheme in ("http", "https") and bool(page.hostname) and page.hostname == here.hostname and same_port
