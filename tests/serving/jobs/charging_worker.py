"""A worker in a process of its own, whose service hears nothing and whose charges are lines of a file.

`python -m tests.serving.jobs.charging_worker DATABASE STORE SPOOL CHARGES`.
"""

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any

from tests.serving.route_server import RESULT

from harken.serving.contract import Transcription
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import FileWork
from harken.serving.jobs.worker import JobWorker
from harken.serving.metrics import ServerMetrics
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue


class Service:
    async def transcribe(self, audio: Path, options: Any, *, admit: Any, **_: Any) -> Transcription:
        await asyncio.sleep(random.uniform(0, 0.05))
        await admit(RESULT.transcript.duration_s)
        await asyncio.sleep(random.uniform(0, 0.05))
        return RESULT


async def work(database: str, store: str, spool: str, charges: str) -> None:
    target = os.open(charges, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def charge(work: FileWork, audio_s: float) -> None:
        os.write(target, f"{work.name}\n".encode())

    async def audit(_: Any) -> None: ...

    await JobWorker(
        queue=JobQueue(Database.open(database), max_attempts=100),
        blobs=BlobStore.open(store),
        service=Service(),  # type: ignore[arg-type]
        spool=Path(spool),
        settings=JobSettings(workers=2, lease_s=0.5, poll_s=0.1),
        charge=charge,
        audit=audit,
        metrics=ServerMetrics(),
    ).run()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
