"""A job worker with all it works with, for tests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.serving.route_server import RESULT

from harken.core import RunFailed
from harken.http.auth import Principal
from harken.http.limits import Limiter, LimitSettings
from harken.serving.contract import Priority, TranscribeOptions, Transcription
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import KIND, FileWork, item_payload, job_payload
from harken.serving.jobs.worker import JobWorker
from harken.serving.metrics import ServerMetrics
from harken.storage.audit import RequestRow
from harken.storage.blobs import BlobStore
from harken.storage.jobs import JobQueue

ANN = Principal(
    id="key:ann", name="ann", kind="key", scopes=frozenset(["batch"]), rate=None, audio_s_per_day=None, streams=None
)
OPTIONS = TranscribeOptions(language="en")


@dataclass
class Service:
    """Raises what is due for a content, once each; a file of `held` takes for ever."""

    failures: dict[bytes, list[Exception]] = field(default_factory=dict)
    held: set[bytes] = field(default_factory=set)
    breaks_late: dict[bytes, int] = field(default_factory=dict)  # so often, after the file was charged
    heard: list[bytes] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)

    async def transcribe(
        self,
        audio: Path,
        options: TranscribeOptions,
        *,
        priority: Priority = Priority.REQUEST,
        admit: Callable[[float], Awaitable[None]] | None = None,
        owner: str = "",
    ) -> Transcription:
        assert (priority, options, owner) == (Priority.JOB, OPTIONS, "key:ann")
        content = audio.read_bytes()
        self.heard.append(content)
        if self.failures.get(content):
            raise self.failures[content].pop(0)
        if admit is not None:
            await admit(RESULT.transcript.duration_s)
        if self.breaks_late.get(content, 0) > 0:
            self.breaks_late[content] -= 1
            raise RunFailed("The engine broke.")
        try:
            await asyncio.sleep(3600 if content in self.held else 0)
        except asyncio.CancelledError:
            self.cancelled.append(content)
            raise
        return RESULT


@dataclass
class Bench:
    folder: Path
    queue: JobQueue
    blobs: BlobStore
    service: Service = field(default_factory=Service)
    limiter: Limiter = field(default_factory=lambda: Limiter(LimitSettings(rate=None)))
    rows: list[RequestRow] = field(default_factory=list)
    metrics: ServerMetrics = field(default_factory=ServerMetrics)

    def job(self, *contents: bytes, audio_s_per_day: int | None = None) -> str:
        keys = []
        for content in contents:
            (self.folder / "upload").write_bytes(content)
            keys.append(self.blobs.put_file(self.folder / "upload"))
        payload = job_payload(OPTIONS, word_times=False, principal=replace(ANN, audio_s_per_day=audio_s_per_day))
        items = [item_payload(key, f"{number}.wav") for number, key in enumerate(keys)]
        return self.queue.create(KIND, payload, items, owner=ANN.id)

    def worker(self, **settings: Any) -> JobWorker:
        async def audit(row: RequestRow) -> None:
            self.rows.append(row)

        async def charge(work: FileWork, audio_s: float) -> None:
            await self.limiter.charge_audio(work.principal, audio_s)

        made = JobSettings(**{"poll_s": 0.02, "lease_s": 30, **settings})
        (self.folder / "spool").mkdir(exist_ok=True)
        return JobWorker(
            queue=self.queue, blobs=self.blobs, service=self.service, spool=self.folder / "spool", settings=made,
            charge=charge, audit=audit, metrics=self.metrics,
        )  # fmt: skip

    def states(self, job: str) -> list[tuple[str, str | None]]:
        """State and code of the error of each file."""
        return [(item.state, None if item.error is None else item.error["code"]) for item in self.queue.results(job)]

    def left_over(self) -> list[Path]:
        return list((self.folder / "spool").iterdir())


async def until(condition: Callable[[], Any], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def run(worker: JobWorker, during: Callable[[], Awaitable[None]]) -> None:
    """The worker at work until `during` is over; then it drains."""

    async def both() -> None:
        working = asyncio.ensure_future(worker.run())
        await during()
        worker.drain()
        await asyncio.wait_for(working, 10)

    asyncio.run(both())
