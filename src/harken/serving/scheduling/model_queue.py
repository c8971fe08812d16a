"""The queue of one model, and the threads that hear what waits in it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from harken.core import Recognizer
from harken.core.stopping import Stopped
from harken.serving.contract import Priority
from harken.serving.decoding.decoded import DecodedAudio
from harken.serving.errors import QueueFull
from harken.serving.metrics import ServerMetrics
from harken.serving.scheduling.batching import in_order, is_full, next_batch
from harken.serving.scheduling.pace import max_wait_s, passes_at_once
from harken.serving.scheduling.passes import hear_together
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.scheduling.stream_load import StreamLoad
from harken.serving.scheduling.throughput import Throughput
from harken.serving.scheduling.turns import Turns
from harken.serving.scheduling.work import Heard, Work

WINDOW_S = 30.0  # of recognizers that do not say theirs
_STOP_S = 5.0


class ModelQueue:
    """Audio waits here for a model: what fits into one window in a lane that makes batches, longer audio in another.

    `place` and `hear` are for event loops; passes run in threads of the queue's own.
    """

    def __init__(
        self,
        model: str,
        settings: QueueSettings | None = None,
        *,
        metrics: ServerMetrics,
        load: StreamLoad | None = None,
    ) -> None:
        """`load` tells how far live streams are behind, which go first."""
        self.model, self.settings = model, settings or QueueSettings()
        self._metrics, self._load = metrics, load or StreamLoad()
        self._changed = threading.Condition()
        self._short: list[Work] = []
        self._long: list[Work] = []
        self._running: set[Work] = set()
        self._places = dict.fromkeys(Priority, 0)
        self._arriving = 0
        self._closed = False
        self._throughput = Throughput()
        self._turns = Turns()
        self._threads: list[threading.Thread] = []

    @property
    def waiting(self) -> int:
        """Requests that have a place and are not being heard."""
        return sum(self._places.values()) - sum(not work.done.done() for work in list(self._running))

    @property
    def in_house(self) -> int:
        """Requests that have a place."""
        return sum(self._places.values())

    @property
    def waiting_audio_s(self) -> float:
        return sum(work.duration_s for work in [*self._short, *self._long])

    @property
    def audio_s_per_s(self) -> float | None:
        """Seconds of audio heard in a second of work, lately; None before the first."""
        return self._throughput.audio_s_per_s

    @contextmanager
    def place(self, priority: Priority) -> Iterator[None]:
        """A place for one request, from before its audio is decoded to its answer. Raises QueueFull at once."""
        with self._changed:
            self._check_open()
            share = 1.0 if priority is Priority.REQUEST else self.settings.job_share
            if self.waiting >= max(1, int(self.settings.max_requests * share)):
                raise self._full(f"{self.waiting} requests wait for the model {self.model}.")
            self._places[priority] += 1
        self._tell_depth()
        try:
            yield
        finally:
            with self._changed:
                self._places[priority] -= 1
            self._tell_depth()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Meanwhile audio is on its way here: a pass that has room waits a moment for it."""
        with self._changed:
            self._arriving += 1
        try:
            yield
        finally:
            with self._changed:
                self._arriving -= 1
                self._changed.notify_all()

    async def hear(self, audio: DecodedAudio, recognizer: Recognizer, priority: Priority) -> Heard:
        """`add` and `outcome` in one."""
        return await self.outcome(self.add(audio, recognizer, priority))

    def add(self, audio: DecodedAudio, recognizer: Recognizer, priority: Priority) -> Work:
        """Puts audio into the queue, where it has to stay open until its outcome. Raises QueueFull where too many
        seconds wait.
        """
        is_long = audio.duration_s > getattr(recognizer, "window_s", WINDOW_S)
        work = Work(
            audio=audio,
            waveform=None if is_long else audio.waveform,
            recognizer=recognizer,
            priority=priority,
            arrived_s=time.monotonic(),
        )
        lane = self._long if is_long else self._short
        with self._changed:
            self.check_room(audio.duration_s)
            self._start(recognizer)
            lane.append(work)
            self._changed.notify_all()
        return work

    def check_room(self, audio_s: float) -> None:
        """Raises QueueFull where `add` would."""
        with self._changed:
            self._check_open()
            waiting_s = self.waiting_audio_s
            if waiting_s and waiting_s + audio_s > self.settings.max_audio_s:
                raise self._full(f"{waiting_s:.0f} s of audio wait for the model {self.model}.")

    async def outcome(self, work: Work) -> Heard:
        """What the model hears. Cancelled, the audio leaves the queue at once, and a pass for nobody else ends.

        Raises RunFailed where the engine broke, and what it refuses.
        """
        try:
            return await asyncio.wrap_future(work.done)
        except asyncio.CancelledError:
            work.done.cancel()
            with self._changed:
                for lane in (self._short, self._long):
                    if work in lane:
                        lane.remove(work)
            raise

    def close(self) -> None:
        """Ends the threads; what waits or is being heard fails. Blocks for a pass's step at most."""
        with self._changed:
            self._closed = True
            for work in [*self._short, *self._long]:
                work.fail(self._stopping())
            self._short.clear()
            self._long.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_STOP_S)

    def _check_open(self) -> None:
        if self._closed:
            raise self._stopping()

    def _stopping(self) -> QueueFull:
        self._metrics.refused("stopping")
        return QueueFull("The server is about to stop.", hint="Send it again.", retry_after_s=5.0)

    def _full(self, message: str) -> QueueFull:
        self._metrics.refused("queue_full")
        busy_s = sum(work.duration_s for work in self._running)
        wait_s = self._throughput.wait_s(self.waiting_audio_s + busy_s)
        return QueueFull(message, hint="Come again later.", retry_after_s=wait_s)

    def _tell_depth(self) -> None:
        self._metrics.set_queue_depth(self.model, self.waiting)

    def _start(self, recognizer: Recognizer) -> None:
        if self._threads:
            return
        passes = passes_at_once(recognizer, self.settings)
        lanes = [self._hear_short] * passes + [self._hear_long] * self.settings.long_at_once
        for number, lane in enumerate(lanes):
            thread = threading.Thread(target=lane, name=f"{self.model}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _hear_short(self) -> None:
        while self._wait_for(self._short):
            self._load.wait_quiet(self.settings.stream_wait_s)
            batch = self._take(self._short, self._collected)
            if batch:
                self._hear(batch, self._check_of(batch))

    def _hear_long(self) -> None:
        while self._wait_for(self._long):
            batch = self._take(self._long, lambda: in_order(self._long, self.settings)[:1])
            if batch:
                self._in_turns(batch)

    def _in_turns(self, batch: list[Work]) -> None:
        """Long files are heard a turn each, so that none waits for the end of another."""
        wanted, owner = self._check_of(batch), threading.get_ident()
        try:
            ticket = self._turns.take(wanted)
        except Stopped:
            self._hear(batch, wanted)
            return
        began = time.monotonic()

        def check() -> None:
            nonlocal ticket, began
            wanted()
            # An engine's own threads ask as well, but the turn is this thread's.
            if threading.get_ident() != owner or time.monotonic() - began < self.settings.turn_s:
                return
            if self._turns.somebody_waits or self._load.pending:
                self._turns.give(ticket)
                self._load.wait_quiet(self.settings.stream_wait_s)
                ticket = self._turns.take(lambda: None)
                wanted()
            began = time.monotonic()

        try:
            self._hear(batch, check)
        finally:
            self._turns.give(ticket)

    def _hear(self, batch: list[Work], check: Callable[[], None]) -> None:
        try:
            hear_together(batch, model=self.model, check=check, done=self._count)
        finally:
            with self._changed:
                self._running.difference_update(batch)
            self._tell_depth()

    def _wait_for(self, lane: Sequence[Work]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: lane or self._closed)
            return not self._closed

    def _take(self, lane: list[Work], choose: Callable[[], list[Work]]) -> list[Work]:
        with self._changed:
            batch = choose()
            for work in batch:
                lane.remove(work)
            self._running.update(batch)
        self._tell_depth()
        return batch

    def _collected(self) -> list[Work]:
        """The next batch. Where it has room and more is being decoded, after a moment in which that may arrive."""
        began = time.monotonic()
        batch = next_batch(self._short, self.settings)
        while batch and self._arriving and not is_full(batch, self.settings):
            left_s = began + max_wait_s(batch[0].recognizer, self.settings) - time.monotonic()
            if left_s <= 0:
                break
            self._changed.wait(left_s)
            batch = next_batch(self._short, self.settings)
        return batch

    def _check_of(self, batch: Iterable[Work]) -> Callable[[], None]:
        works = tuple(batch)

        def check() -> None:
            if self._closed or not any(work.is_wanted for work in works):
                raise Stopped("Nobody waits for it.")

        return check

    def _count(self, batch: Sequence[Work], took_s: float) -> None:
        audio_s = sum(work.duration_s for work in batch)
        self._throughput.add(audio_s=audio_s, inference_s=took_s)
        self._metrics.pass_done(self.model, audio_s=audio_s, inference_s=took_s, batch_size=len(batch))
