"""A name for every request: in its answer, in every line of its log, and in what is reported about it."""

import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

HEADER = "X-Request-ID"
ANSWERS = ("http.response.start", "websocket.http.response.start", "websocket.accept")  # messages that carry headers
_ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Takes the client's X-Request-ID where it is 1 to 64 characters of `A-Za-z0-9._-`, makes one otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist(HEADER)
        request_id = given[0] if len(given) == 1 and _ALLOWED.fullmatch(given[0]) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] in ANSWERS:
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """The id of the request, empty where `RequestIds` is not installed."""
    return str(scope.get("state", {}).get("request_id", ""))
