"""The parts of a server, made and started in order, and ended in the other."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from harken.core import HarkenError, InputError, MissingPart
from harken.http.auth import Authenticator
from harken.http.drain import Drain
from harken.http.keys import DatabaseKeys
from harken.http.limits import Limiter
from harken.http.outbound import Outbound
from harken.serving.audit import AuditWriter
from harken.serving.decoding.pool import DecodePool
from harken.serving.jobs.webhooks import WebhookSender
from harken.serving.jobs.work import FileWork
from harken.serving.jobs.worker import JobWorker
from harken.serving.live.streams import LiveStreams
from harken.serving.metrics import ServerMetrics
from harken.serving.parts import Check, ServerParts
from harken.serving.scheduling.stream_load import StreamLoad
from harken.serving.served.models import ServedModels
from harken.serving.settings import ServeSettings
from harken.serving.transcription import Transcriber
from harken.storage.audit import AuditLog
from harken.storage.blobs import BlobStore
from harken.storage.cache import Cache, open_cache
from harken.storage.database import Database
from harken.storage.deliveries import DeliveryQueue
from harken.storage.jobs import JobQueue

CHECK_S = 4.0  # of the 5 s in which /ready answers
CLEAN_S = 3_600.0

logger = logging.getLogger(__name__)


@asynccontextmanager
async def assembled(
    settings: ServeSettings, *, registry: CollectorRegistry, drain: Drain, version: str
) -> AsyncIterator[ServerParts]:
    """A working server without its HTTP side. Its default model is still being loaded when the context is entered.

    Entering raises MissingPart for a database, a store or a folder that cannot be used, and InputError for settings
    that would let anybody in from elsewhere.
    """
    async with AsyncExitStack() as stack:
        # Uploads of a server that was killed are gone with the folder of its process, which the system clears.
        spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harken-serve-", dir=_spool(settings))))
        storage = settings.storage
        database = await asyncio.to_thread(Database.open, storage.database_url)
        stack.callback(database.close)
        blobs = await asyncio.to_thread(BlobStore.open, storage.blobs_url)
        cache = open_cache(storage)
        stack.push_async_callback(cache.close)
        metrics = ServerMetrics(registry)

        limiter = Limiter(_limits(settings))
        stack.push_async_callback(limiter.close)
        authenticator = Authenticator(
            settings.auth, keys=DatabaseKeys(database), limiter=limiter, trusted_proxies=settings.proxies.networks()
        )
        stack.push_async_callback(authenticator.close)
        await authenticator.start()
        _refuse_strangers(settings, authenticator)

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
        live = LiveStreams(models, settings.live, load, counts=metrics)
        stack.callback(live.close)

        audit = AuditWriter(AuditLog(database), with_text=settings.audit.text)
        queue = JobQueue(database, max_attempts=storage.job_attempts)
        deliveries = DeliveryQueue(database)
        outbound = Outbound(settings.webhooks.outbound)
        worker = JobWorker(
            queue=queue,
            blobs=blobs,
            service=transcriber,
            spool=spool,
            settings=settings.jobs,
            charge=_charging(limiter),
            audit=audit.add,
        )
        await stack.enter_async_context(_background("audit", audit.run()))
        await stack.enter_async_context(_background("cleaning", _clean(settings, database, blobs)))
        if settings.webhooks.secret is not None:
            sender = WebhookSender(deliveries, outbound, settings.webhooks.secret)
            await stack.enter_async_context(_background("webhooks", sender.run()))
        if settings.jobs.workers:
            await stack.enter_async_context(_background("jobs", worker.run()))
        decoder.start()
        await models.start()
        yield ServerParts(
            transcription=transcriber,
            live=live,
            catalog=models,
            authenticator=authenticator,
            limiter=limiter,
            metrics=metrics,
            audit=audit.add,
            spool=spool,
            settings=settings,
            version=version,
            checks=_checks(settings, database, blobs, cache, limiter, models, decoder),
            closing=drain.begun,
            queue=queue,
            blobs=blobs,
            outbound=outbound,
            worker=worker,
        )


def _spool(settings: ServeSettings) -> Path | None:
    if settings.spool is None:
        return None
    try:
        settings.spool.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise MissingPart(
            f"The folder of uploads, {settings.spool}, cannot be made: {err.strerror}.", hint="Set spool to another."
        ) from err
    return settings.spool


def _limits(settings: ServeSettings) -> Any:
    """Limits count in the Redis of the storage where they name none themselves."""
    redis = settings.storage.redis
    if settings.limits.url is None and redis is not None and redis.startswith(("redis://", "rediss://")):
        return replace(settings.limits, url=redis)
    return settings.limits


def _refuse_strangers(settings: ServeSettings, authenticator: Authenticator) -> None:
    if authenticator.is_open() and not settings.is_local and not settings.allow_anybody:
        raise InputError(
            f"host is {settings.host}, where other machines can connect, and no key protects this server.",
            hint="Make a key with harken tokens create NAME --scope transcribe, or set auth.jwt; to let anybody in all "
            "the same, use --allow-anybody.",
        )


def _charging(limiter: Limiter) -> Callable[[FileWork, float], Coroutine[Any, Any, None]]:
    async def charge(work: FileWork, audio_s: float) -> None:
        await limiter.charge_audio(work.principal, audio_s)

    return charge


@asynccontextmanager
async def _background(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work beside the requests, which ends with the context. What breaks it is logged: requests go on."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_note_failure)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _note_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s broke off", task.get_name(), exc_info=task.exception())


async def _clean(settings: ServeSettings, database: Database, blobs: BlobStore) -> None:
    """Forgets what has been kept for long enough, once an hour."""
    jobs, audit, deliveries = JobQueue(database), AuditLog(database), DeliveryQueue(database)
    while True:
        try:
            await asyncio.to_thread(jobs.delete_older, settings.jobs.keep_s)
            await asyncio.to_thread(deliveries.delete_older, settings.jobs.keep_s)
            await asyncio.to_thread(blobs.delete_older, settings.jobs.keep_s)
            await asyncio.to_thread(audit.delete_older, settings.audit.keep_s)
        except HarkenError as err:
            logger.warning("old records are kept for now: %s", err)
        await asyncio.sleep(CLEAN_S)


def _checks(
    settings: ServeSettings,
    database: Database,
    blobs: BlobStore,
    cache: Cache,
    limiter: Limiter,
    models: ServedModels,
    decoder: DecodePool,
) -> Mapping[str, Check]:
    """The dependencies of the server. Without keys from the database nobody can be let in; files need no more."""

    async def ask_database() -> str:
        await asyncio.to_thread(database.ping, CHECK_S)
        return "answers"

    async def ask_blobs() -> str:
        await asyncio.to_thread(blobs.ping, CHECK_S)
        return "answers"

    async def ask_cache() -> str:
        await cache.ping(CHECK_S)
        return "answers"

    async def ask_limits() -> str:
        if limiter.degraded:
            raise MissingPart("Limits are counted in this process alone.", hint="Start Redis.")
        return "counted"

    async def ask_models() -> str:
        found = models.ready()
        words = ", ".join(f"{name}: {state}" for name, state in found.models.items())
        if not found.ok:
            raise MissingPart(words)
        return words

    async def ask_decoder() -> str:
        if decoder.failure is not None:
            raise decoder.failure
        if not decoder.ready:
            raise MissingPart("No decoding worker is there yet.")
        return "workers wait"

    return {
        "models": Check(ask=ask_models),
        "decoder": Check(ask=ask_decoder),
        "database": Check(ask=ask_database, required=False),
        "blobs": Check(ask=ask_blobs, required=False),
        "cache": Check(ask=ask_cache, required=False),
        "limits": Check(ask=ask_limits, required=False),
    }
