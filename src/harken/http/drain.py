"""Starting and stopping without dropping anybody: the state of the process, and what is still open in it."""

import asyncio
from enum import StrEnum

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken.http.error_responses import send_error
from harken.http.errors import Draining

_RETRY_S = 5.0  # by then a load balancer has found another process


class ProcessState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Drain:
    """The state of the process and its open requests and WebSockets; all on one event loop.

    `begun` is set when draining begins: what lives long, such as a stream, waits for it and comes to its end.
    """

    def __init__(self) -> None:
        self.state = ProcessState.STARTING
        self.begun = asyncio.Event()
        self.open_requests = 0
        self.open_sockets = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ready(self) -> None:
        """The process can do its work. Nothing once it drains."""
        if self.state is ProcessState.STARTING:
            self.state = ProcessState.READY

    def begin(self) -> None:
        """Refuse what is new from now on, and finish what is open."""
        self.state = ProcessState.DRAINING
        self.begun.set()

    async def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether nothing was open any more within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def entered(self, kind: str) -> None:
        if kind == "http":
            self.open_requests += 1
        else:
            self.open_sockets += 1
        self._idle.clear()

    def left(self, kind: str) -> None:
        if kind == "http":
            self.open_requests -= 1
        else:
            self.open_sockets -= 1
        if not self.open_requests and not self.open_sockets:
            self._idle.set()


class DrainGate:
    """Counts requests and WebSockets in and out; refuses new ones while draining, except on `open_paths`.

    Those, such as /health, are not waited for either. Answers while draining close their connection, so that clients
    with a pool of connections go elsewhere.
    """

    def __init__(self, app: ASGIApp, drain: Drain, *, open_paths: tuple[str, ...] = ("/health", "/ready", "/metrics")):
        self.app = app
        self.drain = drain
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self.drain.state is ProcessState.DRAINING:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        if self.drain.state is ProcessState.DRAINING:
            error = Draining("The server is shutting down.", hint="Try again.", retry_after_s=_RETRY_S)
            await send_error(error, scope, receive, send_last)
            return
        self.drain.entered(scope["type"])
        try:
            await self.app(scope, receive, send_last)
        finally:
            self.drain.left(scope["type"])
