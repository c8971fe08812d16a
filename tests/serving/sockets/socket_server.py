"""A real server on a loopback port for the tests of sockets, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from tests.serving.live.stream_models import OneModel

from harken.core import Recognizer
from harken.http.credentials import credential_of
from harken.http.error_responses import install_error_handlers
from harken.http.errors import NotAuthenticated
from harken.http.limits import Limiter, LimitSettings
from harken.http.principals import SCOPES, Principal
from harken.http.request_ids import RequestIds
from harken.serving.live.settings import LiveSettings
from harken.serving.live.streams import LiveStreams
from harken.serving.scheduling.stream_load import StreamLoad
from harken.serving.shapes.openai_errors import openai_error
from harken.serving.sockets.deepgram_query import deepgram_error
from harken.serving.sockets.routes import router
from harken.serving.sockets.settings import SocketSettings
from harken.storage.audit import RequestRow

KEY = "hk_test_secret"


class OneKey:
    """Lets in whoever has `KEY`; `scopes` are what they may do, and `revoked` ends it."""

    def __init__(self) -> None:
        self.scopes, self.revoked = frozenset(SCOPES), False

    async def identify(self, connection: HTTPConnection) -> Principal:
        if credential_of(connection) != KEY:
            raise NotAuthenticated("Credentials are needed here.")
        return Principal(id="key:test", name="test", kind="key", scopes=self.scopes)

    async def still_holds(self, principal: Principal) -> bool:
        assert principal.id == "key:test"
        return not self.revoked


class SocketServer:
    """`ws` is its address. `audited` are the rows of the sockets that ended; `live` are the streams."""

    def __init__(self, recognizer: Recognizer, live: LiveSettings, sockets: SocketSettings, limits: LimitSettings):
        self.models, self.load, self.audited = OneModel(recognizer), StreamLoad(), list[RequestRow]()
        self.live = LiveStreams(self.models, live, self.load)
        self.limiter, self.keys = Limiter(limits), OneKey()
        self.closing = asyncio.Event()

        async def audit(row: RequestRow) -> None:
            self.audited.append(row)

        self.app = FastAPI()
        install_error_handlers(self.app, {"/v1/": openai_error, "/v1/listen": deepgram_error})
        self.app.add_middleware(RequestIds)
        self.app.include_router(router)
        self.app.state.authenticator, self.app.state.limiter = self.keys, self.limiter
        self.app.state.server = SimpleNamespace(
            live=self.live, catalog=self.models, limiter=self.limiter, audit=audit, closing=self.closing,
            authenticator=self.keys,
            settings=SimpleNamespace(sockets=sockets),
        )  # fmt: skip
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws_max_size=2 << 20,
            ws_ping_timeout=None, ws_per_message_deflate=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def begin_closing(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.closing.set)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()
        self.live.close()

    @contextmanager
    def running(self) -> Iterator["SocketServer"]:
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        thread.start()
        try:
            while not self.server.started:
                assert thread.is_alive()
                threading.Event().wait(0.01)
            yield self
        finally:
            self.server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

    def wait_idle(self, timeout_s: float = 2.0) -> None:
        """Until no stream is open and nothing waits; fails after `timeout_s`."""
        clock = threading.Event()
        for _ in range(int(timeout_s / 0.01)):
            if self.live.open_streams == 0 and self.models.in_use == 0 and self.load.pending == 0:
                return
            clock.wait(0.01)
        raise AssertionError(f"{self.live.open_streams} streams are still open")

    def rows(self, count: int) -> list[RequestRow]:
        """The audit rows once there are so many; fails after 2 s."""
        clock = threading.Event()
        for _ in range(200):
            if len(self.audited) >= count:
                return self.audited
            clock.wait(0.01)
        raise AssertionError(f"{len(self.audited)} of {count} rows")
