"""From sampler steps to batches, prepared by threads while the model trains.

Threads, not processes: decoding, resampling and transforms run outside the interpreter lock, one cache serves all, and
nothing is pickled. Batch number `step` is a function of (seed, step) and the data alone, whatever the number of
workers, so a run that resumes there sees what it would have seen.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from harken.data.batch import Batch, collate
from harken.data.rows import Rows
from harken.data.sampler import Sampler


class BatchLoader:
    """Batches in the order of the sampler, prepared ahead by `workers` threads.

    `prefetch` finished batches wait beside those being made, so `workers + prefetch` batches bound the memory. With 0
    workers everything happens in the calling thread; the batches are the same, bit for bit.

    `wait_s` is the time the consumer has spent waiting since the loader was made, `batches` the number it got.
    """

    def __init__(self, sampler: Sampler, rows: Rows[Any], *, workers: int = 1, prefetch: int = 2) -> None:
        """`rows` makes rows of what `sampler` gives out."""
        if workers < 0:
            raise ValueError(f"workers is {workers}; use 0 (no threads) or more")
        if prefetch < 0:
            raise ValueError(f"prefetch is {prefetch}; use 0 or more batches")
        if rows.utterances != sampler.utterances:
            raise ValueError(
                f"{rows.utterances} utterances for a sampler of {sampler.utterances}; they must be the same"
            )
        self.sampler = sampler
        self.rows = rows
        self.workers = workers
        self.prefetch = prefetch
        self.wait_s = 0.0
        self.batches = 0

    def load(self, step: int) -> Batch:
        """Batch number `step`, counted from the start of training; made in the calling thread.

        Raises UtteranceFailed for an utterance that cannot be read.
        """
        return self._make(step, threading.Event())

    def iterate(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        """Batches `start_step` to `stop_step` - 1, counted from the start of training.

        A worker's exception is raised here when its batch is due. Closing the iterator, dropping it, or an exception
        in the consumer's own thread (Ctrl-C) stops the workers after the utterance they are at; none is left behind.
        """
        if not 0 <= start_step <= stop_step:
            raise ValueError(f"start_step is {start_step} and stop_step {stop_step}; use 0 <= start_step <= stop_step")
        return self._in_threads(start_step, stop_step) if self.workers else self._inline(start_step, stop_step)

    def _inline(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        for step in range(start_step, stop_step):
            yield self._timed(lambda step=step: self.load(step))  # type: ignore[misc]

    def _in_threads(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        stop = threading.Event()
        steps = iter(range(start_step, stop_step))
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="harken-loader")
        try:
            while True:
                while len(waiting) < self.workers + self.prefetch and (step := next(steps, None)) is not None:
                    waiting.append(pool.submit(self._make, step, stop))
                if not waiting:
                    return
                yield self._timed(waiting.popleft().result)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, get: Callable[[], Batch]) -> Batch:
        began = time.perf_counter()
        try:
            batch = get()
        finally:
            self.wait_s += time.perf_counter() - began
        self.batches += 1
        return batch

    def _make(self, step: int, stop: threading.Event) -> Batch:
        epoch, step_of_epoch = divmod(step, self.sampler.steps_per_epoch)

        def go_on() -> None:
            if stop.is_set():
                raise _Stopped

        rows = [self.rows.row(item, epoch, go_on) for item in self.sampler.items(epoch, step_of_epoch)]
        return collate(
            [row.id for row in rows],
            [row.features for row in rows],
            [row.labels for row in rows],
            dimensions=self.rows.dimensions,
            hop_s=self.rows.hop_s,
            duration_s=sum(row.duration_s for row in rows),
        )


class _Stopped(Exception):  # noqa: N818 - not an error: nobody waits for this batch any more
    """Ends a worker whose consumer has gone."""
