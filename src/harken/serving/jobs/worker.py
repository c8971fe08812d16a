"""Works on jobs: takes a file, keeps its lease alive, transcribes it, writes the result once.

A worker that is killed leaves nothing behind but a lease that runs out; another one takes the file again, and the queue
refuses the result of whoever lost it. Where the store, the database or the model is away, a file waits for it without
an attempt spent: only what a file itself is the reason for counts against it.
"""

import asyncio
import errno
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from harken.core import HarkenError, InputError, MissingPart, RunFailed
from harken.http.error_responses import told_of
from harken.http.errors import Overloaded, RateExceeded, code_of
from harken.serving.contract import Admit, Priority, Transcription, TranscriptionService
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import KIND, FileWork, file_work
from harken.serving.metrics import ServerMetrics
from harken.serving.shapes.native import transcription_view
from harken.storage.audit import RequestRow
from harken.storage.blobs import BlobStore
from harken.storage.job_views import Claim
from harken.storage.jobs import JobQueue

LONGEST_WAIT_S = 5.0  # of a busy server, between two tries
RETRY_S = 5.0  # after a failure that may be the file's fault; doubled with each attempt
FIRST_DELAY_S, LONGEST_DELAY_S = 2.0, 300.0  # between two tries during an outage
LONGEST_WRITE_DELAY_S = 15.0  # the same for a result that the database does not take
GIVE_BACK_S = 5.0  # at the end of a worker; a file that cannot be given back by then waits for its lease
ROUTE = "/transcribe/batch"

logger = logging.getLogger(__name__)

Charge = Callable[[FileWork, float], Awaitable[None]]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


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
        metrics: ServerMetrics,
    ) -> None:
        """`charge` takes the seconds of a file off its owner's quota before it is heard."""
        self._queue, self._blobs, self._service, self._spool = queue, blobs, service, spool
        self._settings, self._charge, self._audit, self._metrics = settings, charge, audit, metrics
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
            self._queue.calls.run(self._queue.claim, name, [KIND], lease_s=self._settings.lease_s)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:  # the thread goes on, and may come with a file
            with suppress(HarkenError, TimeoutError):
                claim = await asyncio.wait_for(claiming, GIVE_BACK_S)
                if claim is not None:
                    await self._give_back(claim)
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
                await self._write(work.result(), claim)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(claim))
            raise
        finally:
            for task in (work, lease):
                task.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)

    async def _write(self, outcome: Callable[[], object], claim: Claim) -> None:
        """Write how a file ended, however long the database is away: what was heard need not be heard again."""
        began_s = time.monotonic()
        while True:
            try:
                await self._queue.calls.run(outcome)
            except MissingPart as err:
                waited_s = time.monotonic() - began_s
                if self._draining or waited_s >= self._settings.outage_s:
                    raise
                logger.warning("the end of file %d of job %s waits: %s", claim.position, claim.job_id, err)
                await asyncio.sleep(_delay_s(waited_s, LONGEST_WRITE_DELAY_S))
            else:
                return

    async def _kept(self, claim: Claim) -> None:
        """Extend the lease; return when it is lost, to a cancelled job or another worker. It asks often, so that a
        job that is cancelled stops soon.
        """
        while True:
            await asyncio.sleep(min(self._settings.poll_s, self._settings.lease_s / 3))
            try:
                if not await self._queue.calls.run(self._queue.extend, claim, self._settings.lease_s):
                    return
            except HarkenError as err:
                logger.warning("the lease of a file of job %s could not be extended: %s", claim.job_id, err)

    async def _outcome(self, claim: Claim) -> Callable[[], object]:
        """How the file ends: a call that writes it. Never raises a failure of the file or the engine."""
        began_s = time.perf_counter()
        found: Transcription | None = None
        try:
            work = file_work(claim)
            found = await self._transcribed(work, self._admission(work, claim))
            view = dict(transcription_view(found, request_id=_request_id(claim), word_times=work.word_times))
        except Exception as err:  # noqa: BLE001 (whatever breaks one file, the worker goes on to the next)
            if isinstance(err, Overloaded) and not isinstance(err, RateExceeded):  # only while draining
                return partial(self._queue.give_back, claim)  # another worker has the time
            if _is_outage(err) and (waited_s := self._waited_s(claim)) < self._settings.outage_s:
                return self._held_up(err, claim, waited_s)
            await self._audit(_row(claim, found, err, time.perf_counter() - began_s))
            _log(err, claim)
            return partial(self._queue.fail, claim, _told(err, claim), retry_in_s=_retry_s(err, claim))
        await self._audit(_row(claim, found, None, time.perf_counter() - began_s))
        return partial(self._queue.complete, claim, view)

    def _admission(self, work: FileWork, claim: Claim) -> Admit:
        """Charges the file's owner, unless an attempt before has done so (see `JobQueue.pay`)."""

        async def admit(audio_s: float) -> None:
            if await self._queue.calls.run(self._queue.pay, claim):
                await self._charge(work, audio_s)

        return admit

    def _waited_s(self, claim: Claim) -> float:
        return 0.0 if claim.held_up_s is None else max(0.0, self._queue.now_s() - claim.held_up_s)

    def _held_up(self, error: Exception, claim: Claim, waited_s: float) -> Callable[[], object]:
        delay_s = _delay_s(waited_s, LONGEST_DELAY_S)
        self._metrics.job_held_up()
        logger.warning("file %d of job %s waits %.0f s: %s", claim.position, claim.job_id, delay_s, error)
        return partial(self._queue.hold_up, claim, _told(error, claim), retry_in_s=delay_s)

    async def _transcribed(self, work: FileWork, admit: Admit) -> Transcription:
        """Waits as long as the server is busy: a job is in no hurry."""
        path = self._spool / f"job-{secrets.token_hex(16)}"
        try:
            await self._fetch(work.blob, path)
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

    async def _fetch(self, blob: str, path: Path) -> None:
        try:
            await self._blobs.calls.run(self._blobs.get_to, blob, path)
        except InputError as err:  # its words are about our store
            logger.warning("%s", err)
            raise InputError("The audio of this file is not kept any more.", hint="Send it again.") from err

    async def _give_back(self, claim: Claim) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                await self._queue.calls.run(self._queue.give_back, claim)
        except (HarkenError, TimeoutError) as err:
            logger.warning("a file of job %s could not be given back: %s", claim.job_id, err or "no answer")


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


def _is_outage(error: Exception) -> bool:
    """Whether something that every file needs is away: the store, the database, a model, memory, room on the disk."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return isinstance(error, MissingPart | MemoryError)


def _delay_s(waited_s: float, longest_s: float) -> float:
    """Until the next try: about as long as was waited so far, so that delays double; spread, so that files that were
    held up together do not come back together.
    """
    return min(longest_s, max(FIRST_DELAY_S, waited_s)) * random.uniform(0.75, 1.25)


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
