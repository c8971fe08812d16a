"""What the routes of the server work with: one object, made by `create_app`, found through the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from harken.core import MissingPart
from harken.serving.contract import LiveService, ModelCatalog, TranscriptionService
from harken.storage.audit import RequestRow

if TYPE_CHECKING:
    from harken.http.auth import Authenticator
    from harken.http.limits import Limiter
    from harken.http.outbound import Outbound
    from harken.serving.jobs.worker import JobWorker
    from harken.serving.metrics import ServerMetrics
    from harken.serving.retention import AudioKeeper
    from harken.serving.settings import ServeSettings
    from harken.storage.blobs import BlobStore
    from harken.storage.jobs import JobQueue


class NotWorking(MissingPart):
    """Raised by a check whose message is for everybody to read."""


class NotYet(NotWorking):
    """Raised by a check of what is still being started, which is nothing to warn of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How one dependency is asked whether it works, for `/ready`.

    `ask` returns a few words on its state, for everybody to read, and raises where it does not work:
    NotWorking with such words, anything else for the log alone. The server is not
    ready without a `required` one, and degraded without another.
    """

    ask: Callable[[], Awaitable[str]]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """Everything behind the routes. `spool` is the folder of uploads while their request lasts; `closing` is set once
    the server drains; `audit` writes a row, without its text where the settings do not allow that, and never raises.
    """

    transcription: TranscriptionService
    live: LiveService
    catalog: ModelCatalog
    authenticator: Authenticator
    limiter: Limiter
    metrics: ServerMetrics
    audit: Callable[[RequestRow], Awaitable[None]]
    spool: Path
    settings: ServeSettings
    version: str
    queue: JobQueue
    blobs: BlobStore
    outbound: Outbound
    worker: JobWorker
    keeper: AudioKeeper | None = None  # None: no audio of requests is kept
    checks: Mapping[str, Check] = field(default_factory=dict)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


def parts_of(connection: HTTPConnection) -> ServerParts:
    """The parts of the server that a request or WebSocket came to."""
    return cast(ServerParts, connection.app.state.server)
