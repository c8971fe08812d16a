"""Works on jobs: takes a file, keeps its lease alive, transcribes it, writes the result once.

A worker that is killed leaves nothing behind but a lease that runs out; another one takes the file again, and the queue
refuses the result of whoever lost it.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from harken.core import HarkenError, InputError, RunFailed
from harken.http.error_responses import told_of
from harken.http.errors import Overloaded, RateExceeded, code_of
from harken.serving.contract import Admit, Priority, Transcription, TranscriptionService
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import KIND, FileWork, file_work
from harken.serving.shapes.native import transcription_view
from harken.storage.audit import RequestRow
from harken.storage.blobs import BlobStore
from harken.storage.job_views import Claim
from harken.storage.jobs import JobQueue

LONGEST_WAIT_S = 5.0  # of a busy server, between two tries
RETRY_S = 5.0  # after a failure that is not the file's fault; doubled with each attempt
ROUTE = "/transcribe/batch"

logger = logging.getLogger(__name__)

Charge = Callable[[FileWork, float], Awaitable[None]]


class JobWorker:
    """`settings.workers` files at a time, until cancelled. Belongs to one event loop."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        blobs: BlobStore,
        service: TranscriptionService,
        spool: Path,
        settings: JobSettings,
        charge: Charge,
        audit: Callable[[RequestRow], Awaitable[None]],
    ) -> None:
        """`charge` takes the seconds of a file off its owner's quota before it is heard."""
        self._queue, self._blobs, self._service, self._spool = queue, blobs, service, spool
        self._settings, self._charge, self._audit = settings, charge, audit
        self._name = f"{secrets.token_hex(4)}"
        self._new_work = asyncio.Event()
        self._draining = False

    def wake(self) -> None:
        """Look for work now: a job has just come."""
        self._new_work.set()

    def drain(self) -> None:
        """Take no more files; `run` returns once those under way are done."""
        self._draining = True
        self._new_work.set()

    async def run(self) -> None:
        """Work until drained. Cancelled, it gives back what it works on for another worker."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.workers):
                group.create_task(self._loop(f"{self._name}-{number}"))

    async def _loop(self, name: str) -> None:
        while not self._draining:
            try:
                claim = await self._claim(name)
                if claim is None:
                    await self._rest()
                else:
                    await self._work(claim)
            except HarkenError as err:  # the database is gone; a file under way is taken again once its lease ran out
                logger.warning("jobs wait: %s", err)
                await self._rest()
            except Exception:  # whatever breaks here must not end the work on all other files
                logger.exception("the work on jobs failed, and goes on")
                await self._rest()

    async def _claim(self, name: str) -> Claim | None:
        claiming = asyncio.ensure_future(
            asyncio.to_thread(self._queue.claim, name, [KIND], lease_s=self._settings.lease_s)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:  # the thread goes on, and may come with a file
            with suppress(HarkenError):
                claim = await claiming
                if claim is not None:
                    await asyncio.to_thread(self._give_back, claim)
            raise

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._new_work.wait(), self._settings.poll_s)
        if not self._draining:
            self._new_work.clear()

    async def _work(self, claim: Claim) -> None:
        """Work on a file while its lease holds."""
        work = asyncio.ensure_future(self._outcome(claim))
        lease = asyncio.ensure_future(self._kept(claim))
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await asyncio.to_thread(work.result())
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._give_back, claim))
            raise
        finally:
            for task in (work, lease):
                task.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)

    async def _kept(self, claim: Claim) -> None:
        """Extend the lease; return when it is lost, to a cancelled job or another worker. It asks often, so that a
        job that is cancelled stops soon.
        """
        while True:
            await asyncio.sleep(min(self._settings.poll_s, self._settings.lease_s / 3))
            try:
                if not await asyncio.to_thread(self._queue.extend, claim, self._settings.lease_s):
                    return
            except HarkenError as err:
                logger.warning("the lease of a file of job %s could not be extended: %s", claim.job_id, err)

    async def _outcome(self, claim: Claim) -> Callable[[], object]:
        """How the file ends: a call that writes it. Never raises a failure of the file or the engine."""
        began_s = time.perf_counter()
        found: Transcription | None = None
        try:
            work = file_work(claim)
            admit = partial(self._charge, work) if claim.attempt == 1 else None  # what we failed at is paid already
            found = await self._transcribed(work, admit)
            view = dict(transcription_view(found, request_id=_request_id(claim), word_times=work.word_times))
        except Exception as err:  # noqa: BLE001 (whatever breaks one file, the worker goes on to the next)
            if isinstance(err, Overloaded) and not isinstance(err, RateExceeded):
                return partial(self._give_back, claim)  # only while draining: another worker has the time
            await self._audit(_row(claim, found, err, time.perf_counter() - began_s))
            _log(err, claim)
            return partial(self._queue.fail, claim, _told(err, claim), retry_in_s=_retry_s(err, claim))
        await self._audit(_row(claim, found, None, time.perf_counter() - began_s))
        return partial(self._queue.complete, claim, view)

    async def _transcribed(self, work: FileWork, admit: Admit | None) -> Transcription:
        """Waits as long as the server is busy: a job is in no hurry."""
        path = self._spool / f"job-{secrets.token_hex(16)}"
        try:
            await asyncio.to_thread(self._blobs.get_to, work.blob, path)
            while True:
                try:
                    return await self._service.transcribe(
                        path, work.options, priority=Priority.JOB, admit=admit, owner=work.principal.id
                    )
                except RateExceeded:
                    raise
                except Overloaded as err:
                    if self._draining:
                        raise
                    await asyncio.sleep(min(err.retry_after_s, LONGEST_WAIT_S))
        finally:
            path.unlink(missing_ok=True)

    def _give_back(self, claim: Claim) -> None:
        try:
            self._queue.give_back(claim)
        except HarkenError as err:
            logger.warning("a file of job %s could not be given back: %s", claim.job_id, err)


def _request_id(claim: Claim) -> str:
    return f"{claim.job_id}-{claim.position}"


def _log(error: Exception, claim: Claim) -> None:
    where = (claim.position, claim.job_id, claim.attempt)
    if isinstance(error, HarkenError) and not isinstance(error, RunFailed):
        logger.info("file %d of job %s, attempt %d: %s", *where, error)
    else:
        logger.error("file %d of job %s failed at attempt %d", *where, exc_info=error)


def _told(error: Exception, claim: Claim) -> dict[str, Any]:
    """An error as its owner reads it: what was not foreseen is in the log only."""
    shown = told_of(error)
    return {"code": code_of(shown), "message": shown.message, "hint": shown.hint, "request_id": _request_id(claim)}


def _retry_s(error: Exception, claim: Claim) -> float | None:
    """When to try again: never what the file or its owner is the reason for."""
    if isinstance(error, InputError | RateExceeded):
        return None
    return RETRY_S * 2.0 ** (claim.attempt - 1)


def _row(claim: Claim, found: Transcription | None, error: Exception | None, duration_s: float) -> RequestRow:
    return RequestRow(
        request_id=_request_id(claim),
        principal=claim.owner,
        route=ROUTE,
        status=200 if error is None else 500 if not isinstance(error, InputError) else 400,
        model=found.model if found else None,
        audio_s=found.transcript.duration_s if found else None,
        duration_s=duration_s,
        text=found.transcript.text if found else None,
        details={"job": claim.job_id} if error is None else {"job": claim.job_id, "error": code_of(error)},
    )
