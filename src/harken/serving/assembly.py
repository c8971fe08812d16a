"""The parts of a server, made and started in order, and ended in the other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import CollectorRegistry

from harken.core import InputError
from harken.http.auth import Authenticator
from harken.http.drain import Drain
from harken.http.keys import DatabaseKeys
from harken.serving.background import background
from harken.serving.checks import checks
from harken.serving.jobs.worker import JobWorker
from harken.serving.live.streams import LiveStreams
from harken.serving.parts import ServerParts
from harken.serving.retention import AudioKeeper
from harken.serving.settings import ServeSettings
from harken.serving.workshop import Workshop, working, workshop
from harken.storage.request_audio import RequestAudio


@asynccontextmanager
async def assembled(
    settings: ServeSettings, *, registry: CollectorRegistry, drain: Drain, version: str
) -> AsyncIterator[ServerParts]:
    """A working server without its HTTP side. Its default model is still being loaded when the context is entered.

    Entering raises as `workshop` does, and InputError for settings that would let anybody in from elsewhere.
    """
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(workshop(settings, registry=registry))
        authenticator = await _authenticator(shop, stack)
        live = LiveStreams(shop.models, settings.live, shop.load, counts=shop.metrics)
        stack.callback(live.close)
        await stack.enter_async_context(working(shop))
        keeper = _keeper(shop)
        if keeper is not None:
            await stack.enter_async_context(background("retention", keeper.run()))
        if settings.jobs.workers:
            await stack.enter_async_context(background("jobs", shop.worker.run()))
            await stack.enter_async_context(background("end of jobs", _no_more_files(drain, shop.worker)))
        yield ServerParts(
            transcription=shop.transcriber,
            live=live,
            catalog=shop.models,
            authenticator=authenticator,
            limiter=shop.limiter,
            metrics=shop.metrics,
            audit=shop.audit.add,
            spool=shop.spool,
            settings=settings,
            version=version,
            checks=checks(shop),
            closing=drain.begun,
            queue=shop.queue,
            blobs=shop.blobs,
            outbound=shop.outbound,
            worker=shop.worker,
            keeper=keeper,
        )


def _keeper(shop: Workshop) -> AudioKeeper | None:
    settings = shop.settings
    if settings.retention.keep_s is None:
        return None
    store = RequestAudio(shop.blobs.objects)
    return AudioKeeper(store, settings.retention, spool=shop.spool, metrics=shop.metrics, with_text=settings.audit.text)


async def _authenticator(shop: Workshop, stack: AsyncExitStack) -> Authenticator:
    settings = shop.settings
    authenticator = Authenticator(
        settings.auth,
        keys=DatabaseKeys(shop.database),
        limiter=shop.limiter,
        trusted_proxies=settings.proxies.networks(),
    )
    stack.push_async_callback(authenticator.close)
    await authenticator.start()
    if authenticator.is_open() and not settings.is_local and not settings.allow_anybody:
        raise InputError(
            f"host is {settings.host}, where other machines can connect, and no key protects this server.",
            hint="Make a key with harken tokens create NAME --scope transcribe, or set auth.jwt; to let anybody in all "
            "the same, use --allow-anybody.",
        )
    return authenticator


async def _no_more_files(drain: Drain, worker: JobWorker) -> None:
    """What a draining server has not begun, another worker does. What is under way at its very end is given back."""
    await drain.begun.wait()
    worker.drain()
