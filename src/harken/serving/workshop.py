"""What a server and `harken worker` have in common: models, storage, and the work on jobs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from harken.core import HarkenError
from harken.http.limits import Limiter, LimitSettings
from harken.http.outbound import Outbound
from harken.serving.audit import AuditWriter
from harken.serving.background import background
from harken.serving.decoding.pool import DecodePool
from harken.serving.jobs.webhooks import WebhookSender
from harken.serving.jobs.work import FileWork
from harken.serving.jobs.worker import JobWorker
from harken.serving.metrics import ServerMetrics
from harken.serving.scheduling.stream_load import StreamLoad
from harken.serving.served.models import ServedModels
from harken.serving.settings import ServeSettings
from harken.serving.spool import spool_folder
from harken.serving.transcription import Transcriber
from harken.storage.audit import AuditLog
from harken.storage.blobs import BlobStore
from harken.storage.cache import Cache, open_cache
from harken.storage.calls import Calls
from harken.storage.database import Database
from harken.storage.deliveries import DeliveryQueue
from harken.storage.jobs import JobQueue
from harken.storage.request_audio import RequestAudio

CLEAN_S = 3_600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The parts, made but not started: `working` starts them."""

    settings: ServeSettings
    spool: Path
    database: Database
    blobs: BlobStore
    cache: Cache
    metrics: ServerMetrics
    limiter: Limiter
    models: ServedModels
    decoder: DecodePool
    load: StreamLoad
    transcriber: Transcriber
    audit: AuditWriter
    queue: JobQueue
    outbound: Outbound
    worker: JobWorker


@asynccontextmanager
async def workshop(settings: ServeSettings, *, registry: CollectorRegistry) -> AsyncIterator[Workshop]:
    """Makes the parts, and ends them in the other order. Raises MissingPart for a database, a store or a folder that
    cannot be used.
    """
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(spool_folder(settings.spool))
        storage = settings.storage
        database = await asyncio.to_thread(Database.open, storage.database_url)
        stack.callback(database.close)
        blobs = await asyncio.to_thread(BlobStore.open, storage.blobs_url)
        stack.callback(blobs.close)
        cache = open_cache(storage)
        stack.push_async_callback(cache.close)
        metrics = ServerMetrics(registry)
        limiter = Limiter(_limits(settings))
        stack.push_async_callback(limiter.close)

        models = ServedModels(settings.models, metrics=metrics)
        stack.push_async_callback(models.close)
        decoder = DecodePool(replace(settings.decode, folder=settings.decode.folder or spool))
        stack.push_async_callback(decoder.close)
        load = StreamLoad()
        transcriber = Transcriber(
            models=models,
            decoder=decoder,
            metrics=metrics,
            queue=settings.queue,
            results=settings.results,
            cache=cache if storage.cache_bytes or storage.redis else None,
            load=load,
        )
        stack.push_async_callback(transcriber.close)

        audit = AuditWriter(AuditLog(database), with_text=settings.audit.text, lost=metrics.audit_rows_lost)
        queue = JobQueue(database, max_attempts=storage.job_attempts)
        worker = JobWorker(
            queue=queue,
            blobs=blobs,
            service=transcriber,
            spool=spool,
            settings=settings.jobs,
            charge=_charging(limiter),
            audit=audit.add,
            metrics=metrics,
        )
        yield Workshop(
            settings=settings,
            spool=spool,
            database=database,
            blobs=blobs,
            cache=cache,
            metrics=metrics,
            limiter=limiter,
            models=models,
            decoder=decoder,
            load=load,
            transcriber=transcriber,
            audit=audit,
            queue=queue,
            outbound=Outbound(settings.webhooks.outbound),
            worker=worker,
        )


@asynccontextmanager
async def working(parts: Workshop) -> AsyncIterator[None]:
    """Everything at work but the jobs. The default model is still being loaded when the context is entered."""
    settings = parts.settings
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(background("loop lag", parts.metrics.loop_lag.run()))
        await stack.enter_async_context(background("audit", parts.audit.run()))
        await stack.enter_async_context(background("cleaning", _clean(settings, parts.database, parts.blobs)))
        if settings.webhooks.secret is not None:
            sender = WebhookSender(DeliveryQueue(parts.database), parts.outbound, settings.webhooks.secret)
            await stack.enter_async_context(background("webhooks", sender.run()))
        parts.decoder.start()
        await parts.models.start()
        yield


def _limits(settings: ServeSettings) -> LimitSettings:
    """Limits count in the Redis of the storage where they name none themselves."""
    redis = settings.storage.redis
    if settings.limits.url is None and redis is not None and redis.startswith(("redis://", "rediss://")):
        return replace(settings.limits, url=redis)
    return settings.limits


def _charging(limiter: Limiter) -> Callable[[FileWork, float], Coroutine[Any, Any, None]]:
    async def charge(work: FileWork, audio_s: float) -> None:
        await limiter.charge_audio(work.principal, audio_s)

    return charge


async def _clean(settings: ServeSettings, database: Database, blobs: BlobStore) -> None:
    """Forgets what has been kept for long enough, once an hour. A part that is down keeps the others from nothing."""
    of_jobs = settings.jobs.keep_s
    steps: tuple[tuple[Calls, Callable[[Any], int], Any], ...] = (
        (database.calls, JobQueue(database).delete_older, of_jobs),
        (database.calls, DeliveryQueue(database).delete_older, of_jobs),
        (blobs.calls, blobs.delete_older, of_jobs),
        (blobs.calls, RequestAudio(blobs.objects).delete_expired, settings.retention.keep_s),
        (database.calls, AuditLog(database).delete_older, settings.audit.keep_s),
    )
    while True:
        for calls, delete, keep_s in steps:
            try:
                await calls.run(delete, keep_s)
            except HarkenError as err:
                logger.warning("old records are kept for now: %s", err)
        await asyncio.sleep(CLEAN_S)
