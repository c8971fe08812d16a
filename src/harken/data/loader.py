"""From sampler steps to batches, prepared by threads while the model trains.

Threads, not processes: decoding, resampling and transforms run outside the interpreter lock, one cache serves all, and
nothing is pickled. Batch number `step` is a function of (seed, step) and the data alone, whatever the number of
workers, so a run that resumes there sees what it would have seen.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harken.core import Features, RunFailed, Utterance, Waveform, keyed_generator
from harken.data.batch import Batch, collate
from harken.data.cache import ArrayCache
from harken.data.sampler import BucketSampler

LoadAudio = Callable[[Utterance], Waveform]
Labels = Sequence[Sequence[int]] | Sequence[npt.NDArray[np.integer]]


class Extractor(Protocol):
    """What the loader needs of `harken.audio.FeatureExtractor`."""

    @property
    def dimensions(self) -> int: ...

    @property
    def hop_s(self) -> float: ...

    def __call__(self, waveform: Waveform, /) -> Features: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What happens to an utterance on its way; None leaves a stage out. All chance comes from the generator."""

    waveform: Callable[[Waveform, np.random.Generator], Waveform] | None = None
    features: Callable[[Features, np.random.Generator], Features] | None = None


class UtteranceFailed(RunFailed):
    """An utterance could not be prepared in the middle of a run. The cause is chained; `utterance_id` names it."""

    def __init__(self, utterance: Utterance, cause: Exception) -> None:
        super().__init__(
            f"Utterance {utterance.id} ({utterance.audio}) could not be loaded: {type(cause).__name__}: {cause}",
            hint="If the file has changed since the run began, restore it; `harken data validate` lists unusable ones.",
        )
        self.utterance_id = utterance.id


class UtteranceReader:
    """Audio and features of single utterances, through the cache. Thread-safe.

    The cache holds waveforms, or features as long as the waveform is never changed (`cache_features`; they take half
    the room of float32 samples and spare the transform as well). A waveform that is in the cache already, from a check
    before training say, makes room for its features when these are computed.
    """

    def __init__(
        self,
        extractor: Extractor,
        load_audio: LoadAudio,
        *,
        seed: int,
        cache: ArrayCache | None = None,
        augmentation: Callable[[int], Augmentation] | Augmentation | None = None,
        cache_features: bool | None = None,
    ) -> None:
        """`augmentation` may be a function of the epoch, which has to be pure. `cache_features` None decides by it:
        True when it is given outright and leaves the waveform alone, else False.
        """
        fixed = augmentation or Augmentation()
        self.extractor = extractor
        self.seed = int(seed)
        self.cache = cache or ArrayCache(0)
        self._load_audio = load_audio
        self._augmentation = (lambda _: fixed) if isinstance(fixed, Augmentation) else fixed
        keeps_waveform = isinstance(fixed, Augmentation) and fixed.waveform is None
        self._cache_features = keeps_waveform if cache_features is None else cache_features

    def waveform(self, utterance: Utterance) -> Waveform:
        """The utterance's audio (samples,), unaugmented and read-only when it comes from the cache."""
        return self.cache.get_or_load(_key("waveform", utterance), lambda: self._load_audio(utterance))

    def features(self, utterance: Utterance, epoch: int) -> Features:
        """The utterance's features (frames, dimensions) as `epoch` sees them."""
        augmentation = self._augmentation(epoch)
        generator = keyed_generator(self.seed, int(epoch), utterance.id)
        if augmentation.waveform is not None:
            features = self.extractor(augmentation.waveform(self.waveform(utterance), generator))
        elif self._cache_features:
            features = self.cache.get_or_load(_key("features", utterance), lambda: self._first_features(utterance))
        else:
            features = self.extractor(self.waveform(utterance))
        return features if augmentation.features is None else augmentation.features(features, generator)

    def _first_features(self, utterance: Utterance) -> Features:
        waveform = self.cache.pop(_key("waveform", utterance))
        return self.extractor(self._load_audio(utterance) if waveform is None else waveform)


class BatchLoader:
    """Batches in the order of the sampler, prepared ahead by `workers` threads.

    `prefetch` finished batches wait beside those being made, so `workers + prefetch` batches bound the memory. With 0
    workers everything happens in the calling thread; the batches are the same, bit for bit.

    `wait_s` is the time the consumer has spent waiting since the loader was made, `batches` the number it got.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        sampler: BucketSampler,
        reader: UtteranceReader,
        *,
        labels: Labels | None = None,
        workers: int = 1,
        prefetch: int = 2,
    ) -> None:
        """`labels` are the ids of each utterance's text, in the order of `utterances`; None for audio without text."""
        if workers < 0:
            raise ValueError(f"workers is {workers}; use 0 (no threads) or more")
        if prefetch < 0:
            raise ValueError(f"prefetch is {prefetch}; use 0 or more batches")
        if len(utterances) != sampler.utterances:
            raise ValueError(
                f"{len(utterances)} utterances for a sampler of {sampler.utterances}; they must be the same"
            )
        if labels is not None and len(labels) != len(utterances):
            raise ValueError(f"{len(labels)} labels for {len(utterances)} utterances; give one for each")
        self.sampler = sampler
        self.reader = reader
        self.workers = workers
        self.prefetch = prefetch
        self.wait_s = 0.0
        self.batches = 0
        self._utterances = utterances
        self._labels = labels

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
        indices = self.sampler.batch(epoch, step_of_epoch).tolist()
        chosen = [self._utterances[index] for index in indices]
        features: list[Features] = []
        for utterance in chosen:
            if stop.is_set():
                raise _Stopped
            try:
                features.append(self.reader.features(utterance, epoch))
            except Exception as err:
                raise UtteranceFailed(utterance, err) from err
        return collate(
            [utterance.id for utterance in chosen],
            features,
            None if self._labels is None else [self._labels[index] for index in indices],
            dimensions=self.reader.extractor.dimensions,
            hop_s=self.reader.extractor.hop_s,
            duration_s=sum(utterance.duration_s for utterance in chosen),
        )


class _Stopped(Exception):  # noqa: N818 - not an error: nobody waits for this batch any more
    """Ends a worker whose consumer has gone."""


def _key(kind: str, utterance: Utterance) -> Hashable:
    """Ids are unique in one manifest only, and a cache may serve several."""
    return kind, utterance.audio, utterance.offset_s, utterance.duration_s
