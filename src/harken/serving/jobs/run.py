"""Works on jobs without HTTP: as many processes as one likes, wherever they reach the database and the files."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from prometheus_client import CollectorRegistry

from harken.serving.background import background
from harken.serving.jobs.worker import JobWorker
from harken.serving.settings import ServeSettings
from harken.serving.workshop import working, workshop

_STOPS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


def run_worker(settings: ServeSettings, *, on_ready: Callable[[], None] | None = None) -> None:
    """Work on jobs, and tell their webhooks, until SIGTERM or SIGINT: files under way are finished then. A second
    signal gives them back to other workers and ends at once.

    `jobs.workers` files at a time, one where that is 0. `on_ready` is called once it looks for work. Raises as
    `workshop` does.
    """
    asyncio.run(_run(settings, on_ready))


async def _run(settings: ServeSettings, on_ready: Callable[[], None] | None) -> None:
    jobs = replace(settings.jobs, workers=max(1, settings.jobs.workers))
    with _stop_signals() as stops:
        async with (
            workshop(replace(settings, jobs=jobs), registry=CollectorRegistry()) as shop,
            working(shop),
        ):
            work = asyncio.ensure_future(shop.worker.run())
            async with background("stopping", _stopping(stops, shop.worker, work)):
                if on_ready is not None:
                    on_ready()
                await asyncio.wait([work])
            if not work.cancelled():
                work.result()


async def _stopping(stops: "asyncio.Queue[int]", worker: JobWorker, work: "asyncio.Future[None]") -> None:
    await stops.get()
    logger.info("stopping: files under way are finished; a second signal gives them back")
    worker.drain()
    await stops.get()
    work.cancel()


@contextmanager
def _stop_signals() -> Iterator["asyncio.Queue[int]"]:
    """The signals that came, from now on: also while models are being loaded."""
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[int] = asyncio.Queue()
    for number in _STOPS:
        loop.add_signal_handler(number, came.put_nowait, number)
    try:
        yield came
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)
