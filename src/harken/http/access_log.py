"""One line per request: who asked for what, how it ended, how long it took. Never a token, never a query string."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.http.route_templates import RouteTemplates

log = logging.getLogger("harken.access")


class AccessLog:
    """Logs each request and each WebSocket when it ends, as fields of a record of `harken.access`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.templates = RouteTemplates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not log.isEnabledFor(logging.INFO):
            await self.app(scope, receive, send)
            return
        began_s = time.perf_counter()
        route = self.templates.of(scope)
        status, received, sent = 0, 0, 0

        async def count_received() -> Message:
            nonlocal received
            message = await receive()
            received += _size(message)
            return message

        async def count_sent(message: Message) -> None:
            nonlocal status, sent
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            sent += _size(message)
            await send(message)

        try:
            await self.app(scope, count_received, count_sent)
        finally:
            principal = scope.get("state", {}).get("principal")
            fields = {
                "method": scope.get("method", "WEBSOCKET"),
                "route": route,
                "status": status or 499,  # the client left, or the request was cancelled, before an answer
                "duration_s": round(time.perf_counter() - began_s, 4),
                "principal": principal.id if principal else None,
                "bytes_in": received,
                "bytes_out": sent,
            }
            log.info("request", extra=fields)


def _size(message: Message) -> int:
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")
