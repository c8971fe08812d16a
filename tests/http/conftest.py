"""A small service with everything around it, in this process or behind a real server."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from prometheus_client import CollectorRegistry

from harken.core import MissingPart, RunFailed
from harken.http.auth import Authenticator, AuthSettings, Principal, public, requires
from harken.http.bodies import BodySettings
from harken.http.credentials import accepted_protocol
from harken.http.drain import Drain
from harken.http.keys import KeyRecord, new_key
from harken.http.limits import Limiter, LimitSettings
from harken.http.metrics import HttpMetrics
from harken.http.middleware import Middleware, install_middleware


class MemoryKeys:
    """A key store that counts how often it is asked, and can be down or slow."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.lookups = 0
        self.used: dict[str, float] = {}
        self.down = False
        self.delay_s = 0.0

    def add(self, scopes: tuple[str, ...] = ("transcribe",), **limits: Any) -> str:
        key_id, key, secret_hash = new_key()
        created = {"id": key_id, "name": f"name of {key_id}", "secret_hash": secret_hash, "created_s": 0.0}
        self.records[key_id] = KeyRecord(**{**created, "scopes": scopes, **limits})
        return key

    def find(self, key_id: str) -> KeyRecord | None:
        self.lookups += 1
        self._answer()
        return self.records.get(key_id)

    def has_any(self) -> bool:
        self._answer()
        return bool(self.records)

    def mark_used(self, key_id: str, at_s: float) -> None:
        self._answer()
        self.used[key_id] = at_s

    def _answer(self) -> None:
        time.sleep(self.delay_s)
        if self.down:
            raise MissingPart("the database is down")


class Clock:
    """A time that moves when it is told to."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@dataclass(kw_only=True)
class Service:
    app: FastAPI
    keys: MemoryKeys
    clock: Clock
    limiter: Limiter
    authenticator: Authenticator
    drain: Drain
    metrics: HttpMetrics
    seen: list[Any] = field(default_factory=list)


def build_service(
    *,
    auth: AuthSettings | None = None,
    limits: LimitSettings | None = None,
    bodies: BodySettings | None = None,
    **parts: Any,
) -> Service:
    """The service; `parts` are fields of `Middleware`."""
    keys, clock, drain = MemoryKeys(), Clock(), Drain()
    limiter = Limiter(limits or LimitSettings(), clock=clock)
    trusted = parts.get("trusted_proxies", ())
    authenticator = Authenticator(
        auth or AuthSettings(), keys=keys, limiter=limiter, trusted_proxies=trusted, clock=clock, monotonic=clock
    )
    metrics = HttpMetrics(CollectorRegistry(), prefix="asr")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await authenticator.start()
        drain.ready()
        yield
        await authenticator.close()
        await limiter.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.state.authenticator, app.state.limiter = authenticator, limiter
    install_middleware(app, Middleware(drain=drain, metrics=metrics, bodies=bodies or BodySettings(), **parts))
    service = Service(
        app=app, keys=keys, clock=clock, limiter=limiter, authenticator=authenticator, drain=drain, metrics=metrics
    )
    _add_routes(service)
    return service


def _add_routes(service: Service) -> None:
    app, seen = service.app, service.seen

    @app.get("/health", dependencies=[Depends(public)])
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/items/{number}", dependencies=[Depends(public)])
    async def item(number: int) -> int:
        return number

    @app.get("/who")
    async def who(principal: Annotated[Principal, Depends(requires("transcribe"))]) -> dict[str, str]:
        return {"id": principal.id, "kind": principal.kind, "name": principal.name}

    @app.get("/admin")
    async def admin(principal: Annotated[Principal, Depends(requires("admin"))]) -> str:
        return principal.id

    @app.get("/raises/{what}", dependencies=[Depends(public)])
    async def raises(what: str) -> None:
        if what == "failed":
            raise RunFailed("cannot read /srv/secret/model.onnx", hint="look at /srv/secret")
        if what == "missing":
            raise MissingPart("postgresql://secret@db.inside/harken is down", hint="start db.inside")
        if what == "gateway":
            raise HTTPException(502, detail="https://secret.inside did not answer")
        raise ZeroDivisionError("the secret detail")

    @app.post("/body", dependencies=[Depends(public)])
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.post("/v1/body", dependencies=[Depends(public)])
    async def swallowing(request: Request) -> int:
        try:
            return len(await request.body())
        except Exception as error:  # noqa: BLE001
            seen.append(error)
            return -1

    @app.websocket("/socket")
    async def socket_route(websocket: WebSocket, principal: Annotated[Principal, Depends(requires("stream"))]) -> None:
        await websocket.accept(subprotocol=accepted_protocol(websocket.scope["subprotocols"]))
        await websocket.send_text(principal.id)
        text = await websocket.receive_text()
        if text == "break":
            raise ZeroDivisionError("the secret detail")
        await websocket.close()


@pytest.fixture
def build() -> Callable[..., Service]:
    return build_service


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The port of a server that runs `app` in a thread."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    until_s = time.monotonic() + 10
    while not server.started and time.monotonic() < until_s:
        time.sleep(0.01)
    assert server.started
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def serve() -> Callable[..., Any]:
    return serving
