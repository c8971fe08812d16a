"""A server with the real routes, middleware, keys and limits, on a service that says what a test wants to hear."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from harken.core import Segment, Transcript, Word
from harken.http.auth import Authenticator, AuthSettings
from harken.http.bodies import BodySettings
from harken.http.drain import Drain
from harken.http.keys import KeyRecord, hash_secret
from harken.http.limits import Limiter, LimitSettings
from harken.http.metrics import HttpMetrics
from harken.http.middleware import Middleware, install_middleware
from harken.serving.contract import Admit, ModelInfo, Priority, Timings, TranscribeOptions, Transcription
from harken.serving.errors import UnknownModel
from harken.serving.metrics import ServerMetrics
from harken.serving.parts import Check, ServerParts
from harken.serving.routes import info, native, openai
from harken.serving.shapes.openai_errors import openai_error
from harken.storage.audit import RequestRow

WORDS = (
    Word(text="one", start_s=0.1, end_s=0.4, confidence=0.5),
    Word(text="two", start_s=0.5, end_s=0.9, confidence=0.25),
    Word(text="drei", start_s=1.5, end_s=1.9, confidence=1.0),
)
TRANSCRIPT = Transcript(
    text="one two drei",
    duration_s=2.25,
    language="en",
    segments=(
        Segment(text="one two", start_s=0.1, end_s=0.9, words=WORDS[:2], language="en"),
        Segment(text="drei", start_s=1.5, end_s=1.9, words=WORDS[2:], language="de"),
    ),
)
RESULT = Transcription(
    transcript=TRANSCRIPT,
    model="digits",
    timings=Timings(decode_s=0.01, queue_s=0.02, inference_s=0.03, total_s=0.06),
    batch_size=3,
)
DIGITS = ModelInfo(
    name="digits",
    family="wav2vec2",
    sample_rate_hz=16_000,
    languages=("en",),
    created_s=1_700_000_000,
    loaded=True,
)
SECRET = "s" * 43
KEY = f"hk_abc_{SECRET}"


@dataclass
class FakeService:
    """Answers with `result`, or raises `error`, after `delay_s`; while `held`, not at all."""

    result: Transcription = RESULT
    error: BaseException | None = None
    delay_s: float = 0.0
    held: bool = False
    calls: list[tuple[bytes, TranscribeOptions]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def transcribe(
        self,
        audio: Path,
        options: TranscribeOptions,
        *,
        priority: Priority = Priority.REQUEST,
        admit: Admit | None = None,
        owner: str = "",
    ) -> Transcription:
        assert priority is Priority.REQUEST
        self.paths.append(audio)
        self.calls.append((audio.read_bytes(), options))
        self.started.set()
        try:
            await asyncio.sleep(3600 if self.held else self.delay_s)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.error is not None:
            raise self.error
        if admit is not None:
            await admit(self.result.transcript.duration_s)
        return self.result

    def queues(self) -> dict[str, dict[str, float | None]]:
        return {"digits": {"waiting": 0}}

    @property
    def options(self) -> TranscribeOptions:
        return self.calls[-1][1]


@dataclass
class FakeCatalog:
    models: list[ModelInfo] = field(default_factory=lambda: [DIGITS])

    def list(self) -> list[ModelInfo]:
        return self.models

    def find(self, name: str) -> ModelInfo:
        if name in ("default", "whisper-1", "gpt-4o-transcribe"):
            return self.models[0]
        for info_ in self.models:
            if info_.name == name:
                return info_
        raise UnknownModel(f"There is no model {name!r}.", hint="GET /v1/models lists them.")


@dataclass
class OneKey:
    """A store with the key `KEY`; without scopes there is none, and everybody may come in."""

    scopes: tuple[str, ...] = ()

    def find(self, key_id: str) -> KeyRecord | None:
        if key_id != "abc" or not self.scopes:
            return None
        return KeyRecord(id="abc", name="tester", secret_hash=hash_secret(SECRET), scopes=self.scopes, created_s=0.0)

    def has_any(self) -> bool:
        return bool(self.scopes)

    def mark_used(self, key_id: str, at_s: float) -> None:
        pass


@dataclass
class Stand:
    """An app and what stands behind it, to look at."""

    spool: Path
    service: FakeService = field(default_factory=FakeService)
    catalog: FakeCatalog = field(default_factory=FakeCatalog)
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    rows: list[RequestRow] = field(default_factory=list)
    scopes: tuple[str, ...] = ()
    limits: LimitSettings = field(default_factory=lambda: LimitSettings(rate=None))
    bodies: BodySettings = field(default_factory=BodySettings)
    checks: dict[str, Check] = field(default_factory=dict)
    open_metrics: bool = False

    def app(self) -> FastAPI:
        self.drain = Drain()
        limiter = Limiter(self.limits)
        authenticator = Authenticator(AuthSettings(), keys=OneKey(self.scopes), limiter=limiter)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> Any:
            await authenticator.start()
            self.drain.ready()
            yield
            await authenticator.close()
            await limiter.close()

        async def audit(row: RequestRow) -> None:
            await asyncio.sleep(0)
            self.rows.append(row)

        app = FastAPI(lifespan=lifespan)
        app.state.authenticator, app.state.limiter = authenticator, limiter
        app.state.server = ServerParts(
            transcription=self.service,
            live=None,  # type: ignore[arg-type]
            catalog=self.catalog,
            authenticator=authenticator,
            limiter=limiter,
            metrics=self.metrics,
            audit=audit,
            spool=self.spool,
            settings=None,  # type: ignore[arg-type]
            version="1.2.3",
            queue=None,  # type: ignore[arg-type]
            blobs=None,  # type: ignore[arg-type]
            outbound=None,  # type: ignore[arg-type]
            worker=None,  # type: ignore[arg-type]
            checks=self.checks,
            closing=self.drain.begun,
        )
        app.include_router(info.info_router(open_metrics=self.open_metrics))
        app.include_router(native.router)
        app.include_router(openai.router)
        metrics = HttpMetrics(self.metrics.registry, prefix="asr")
        shapes = {"/v1/": openai_error}
        install_middleware(app, Middleware(drain=self.drain, metrics=metrics, error_shapes=shapes, bodies=self.bodies))
        return app

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """The server in a thread, on a port of its own; gives its URL."""
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(self.app(), log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            listener.close()
        assert not thread.is_alive()

    def left_over(self) -> list[str]:
        return sorted(path.name for path in self.spool.iterdir())


def until(condition: Any, *, within_s: float = 5.0) -> float:
    """Wait until `condition()` holds; how long it took."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > within_s:
            raise AssertionError(f"not within {within_s} s")
        time.sleep(0.005)
    return time.monotonic() - began_s
