"""Uploads to samples, in a few worker processes that are kept warm and replaced when one dies."""

import asyncio
import logging
import secrets
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.core import HarkenError, RunFailed
from harken.core.units import format_duration
from harken.serving.decoding.decoded import DecodedAudio
from harken.serving.decoding.errors import DecodingFailed
from harken.serving.decoding.process import GivenUp, TookTooLong, WorkerDied, WorkerProcess
from harken.serving.decoding.settings import DecodeSettings
from harken.serving.decoding.worker import ERRORS, job_of
from harken.serving.errors import QueueFull

RESTART_S = 1.0  # between two tries to start a worker that does not come up
_STOP_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True, kw_only=True)
class _Job:
    path: Path
    sample_rate_hz: int
    tries: int = 0
    done: "Future[DecodedAudio]" = field(default_factory=Future)

    @property
    def is_wanted(self) -> bool:
        return not self.done.cancelled()


class DecodePool:
    """`decode` any number of files at a time: they are taken in order, and refused where too many wait already."""

    def __init__(self, settings: DecodeSettings | None = None) -> None:
        self.settings = settings or DecodeSettings()
        self._folder = (self.settings.folder or Path(tempfile.gettempdir())).resolve()
        self._waiting: deque[_Job] = deque()
        self._running = 0
        self._changed = threading.Condition()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._workers: dict[int, WorkerProcess] = {}
        self._failure: HarkenError | None = None

    def start(self) -> None:
        """Starts the workers, and returns at once: files wait until one is ready. Again does nothing."""
        if self._threads:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.settings.workers):
            thread = threading.Thread(target=self._work, args=(number,), name=f"decode-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def waiting(self) -> int:
        """Files that no worker has taken yet."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether a worker is up."""
        return bool(self._workers)

    @property
    def failure(self) -> HarkenError | None:
        """Why no worker comes up, None while they do."""
        return self._failure

    def pids(self) -> list[int]:
        """Of the workers that are up."""
        return [worker.pid for worker in list(self._workers.values())]

    async def decode(self, path: Path, *, sample_rate_hz: int) -> DecodedAudio:
        """The samples of a file, one channel at one rate; whoever gets them closes them.

        Raises AudioDecodeError and its children for what the file is, QueueFull where too many files wait, RunFailed
        where workers die of something else. Cancelled, its worker is given up within a moment.
        """
        job = _Job(path=path.resolve(), sample_rate_hz=sample_rate_hz)
        with self._changed:
            if self._closed:
                raise QueueFull("The server is about to stop.", hint="Try again.", retry_after_s=5.0)
            if len(self._waiting) >= self.settings.max_waiting + self.settings.workers - self._running:
                raise QueueFull(f"{len(self._waiting)} files wait to be decoded.", hint="Try again.", retry_after_s=2.0)
            self._waiting.append(job)
            self._changed.notify()
        self.start()
        try:
            return await asyncio.wrap_future(job.done)
        except asyncio.CancelledError:
            job.done.cancel()
            job.done.add_done_callback(_close_result)  # it may be decoded in this very moment
            with self._changed, suppress(ValueError):
                self._waiting.remove(job)
            raise

    async def close(self) -> None:
        """Ends the workers; files that wait are refused."""
        with self._changed:
            self._closed = True
            while self._waiting:
                _settle(self._waiting.popleft(), error=RunFailed("The server stopped.", hint="Send it again."))
            self._changed.notify_all()
            workers = list(self._workers.values())
        await asyncio.to_thread(self._end, workers)

    def _end(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            worker.kill()
        for thread in self._threads:
            thread.join(_STOP_S)

    def _work(self, number: int) -> None:
        """What the thread of one worker does."""
        worker: WorkerProcess | None = None
        try:
            while not self._closed:
                worker = worker or self._started(number)
                if worker is None:
                    continue
                job = self._next()
                if job is not None and not (self._is_there_for(job, worker) and self._run(worker, job)):
                    self._give_back(number)
                    worker = None
        finally:
            if worker is not None:
                self._give_back(number)

    def _started(self, number: int) -> WorkerProcess | None:
        try:
            worker = WorkerProcess(self.settings)
        except (HarkenError, OSError) as err:
            failure = err if isinstance(err, HarkenError) else RunFailed(f"No decoding worker can be started: {err}.")
            logger.error("%s", failure)
            with self._changed:
                self._failure = failure
                if not self._workers:
                    while self._waiting:
                        _settle(self._waiting.popleft(), error=failure)
                self._changed.wait_for(lambda: self._closed, RESTART_S)
            return None
        with self._changed:
            self._workers[number], self._failure = worker, None
        return worker

    def _give_back(self, number: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is not None:
            worker.close()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _is_there_for(self, job: _Job, worker: WorkerProcess) -> bool:
        """False where the worker was killed while it had nothing to do: the job waits on, with all of its tries."""
        if worker.is_alive:
            return True
        with self._changed:
            self._running -= 1
            if not self._closed:
                self._waiting.appendleft(job)
                self._changed.notify()
                return False
        _settle(job, error=RunFailed("The server stopped.", hint="Send it again."))
        return False

    def _run(self, worker: WorkerProcess, job: _Job) -> bool:
        """Whether the worker is good for the next one."""
        out = self._folder / f"harken-{secrets.token_hex(8)}.samples"
        alive, began = True, time.monotonic()
        try:
            reply = worker.ask(
                self._message(job, out), time_limit_s=self.settings.time_limit_s, is_wanted=lambda: job.is_wanted
            )
            _deliver(job, reply, out, time.monotonic() - began)
        except GivenUp:
            alive = False
        except TookTooLong:
            alive = False
            _settle(job, error=self._too_long())
        except WorkerDied as err:
            alive = False
            self._after_death(job, err)
        finally:
            with self._changed:
                self._running -= 1
            if not _is_delivered(job):
                out.unlink(missing_ok=True)
        return alive

    def _message(self, job: _Job, out: Path) -> dict[str, Any]:
        return job_of(
            str(job.path),
            str(out),
            sample_rate_hz=job.sample_rate_hz,
            shortest_s=self.settings.shortest_s,
            limits=self.settings.limits,
        )

    def _too_long(self) -> DecodingFailed:
        limit = format_duration(self.settings.time_limit_s)
        return DecodingFailed(f"Decoding the audio took too long, more than {limit}.", hint="Send it in parts.")

    def _after_death(self, job: _Job, death: WorkerDied) -> None:
        """A worker that somebody killed is no fault of the file: it gets one more try."""
        if self._closed:
            _settle(job, error=RunFailed("The server stopped.", hint="Send it again."))
        elif death.signal == signal.SIGXCPU:
            _settle(job, error=self._too_long())
        elif death.signal == signal.SIGKILL and job.tries == 0:
            job.tries = 1
            with self._changed:
                self._waiting.appendleft(job)
                self._changed.notify()
        elif death.signal == signal.SIGKILL:
            _settle(job, error=RunFailed("Decoding was killed twice.", hint="The machine may be out of memory."))
        else:
            logger.warning("a decoding worker died of %s", death)
            _settle(job, error=DecodingFailed("The audio makes the decoder crash.", hint="Export it as WAV or FLAC."))


def _deliver(job: _Job, reply: dict[str, Any], out: Path, decode_s: float) -> None:
    samples = reply.get("samples")
    if isinstance(samples, int) and samples > 0:
        _settle(job, result=DecodedAudio(out, samples=samples, sample_rate_hz=job.sample_rate_hz, decode_s=decode_s))
        return
    kind: Callable[..., HarkenError] = ERRORS.get(str(reply.get("error")), DecodingFailed)
    message, hint = reply.get("message") or "The decoder gave no samples.", reply.get("hint") or ""
    _settle(job, error=kind(str(message), hint=str(hint)))


def _settle(job: _Job, *, result: DecodedAudio | None = None, error: HarkenError | None = None) -> None:
    """Tells whoever waits; nobody may, any more."""
    if not job.done.set_running_or_notify_cancel():
        return
    if error is not None:
        job.done.set_exception(error)
    elif result is not None:
        job.done.set_result(result)


def _close_result(done: "Future[DecodedAudio]") -> None:
    if not done.cancelled() and done.exception() is None:
        done.result().close()


def _is_delivered(job: _Job) -> bool:
    return job.done.done() and not job.done.cancelled() and job.done.exception() is None
