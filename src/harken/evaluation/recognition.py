"""Recognise a test set, and time it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harken.core import InputError, Recognizer, RunFailed, Strict, Transcript, Utterance, Waveform
from harken.evaluation.report import Timing

LoadAudio = Callable[[Utterance], Waveform]
"""Gives an utterance's waveform, (samples,) float32 in [-1, 1] at the recognizer's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognitionConfig(Strict):
    """How a test set is recognised.

    `batch_size` utterances of similar length go in together. `latency_utterances` of them, spread evenly over the
    durations, are recognised once more, alone, because an utterance in a batch waits for its neighbours (with batches
    of one, every utterance is timed where it stands). `warm_up` untimed calls come first.
    """

    batch_size: int = 16
    latency_utterances: int = 50
    warm_up: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; use 1 or more")
        for name in ("latency_utterances", "warm_up"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """Texts by utterance id, the utterances that failed with the cause, and the times."""

    hypotheses: dict[str, str]
    rejected: dict[str, str]
    timing: Timing


def recognize_all(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    config: RecognitionConfig | None = None,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int, int], None] | None = None,
) -> Recognition:
    """Recognise every utterance once, longest first.

    `load_audio` gives an utterance's waveform, (samples,) float32 in [-1, 1] at `recognizer.sample_rate_hz`; reading
    is not timed. `threads` is what the recognizer runs with. `progress` is called with how many are done and how many
    there are. What cannot be read or recognised is in `rejected` with its cause.

    Raises InputError for an empty set, RunFailed when nothing can be recognised.
    """
    if not utterances:
        raise InputError("The test set has no utterances.", hint="Check the manifest.")
    run = _Run(recognizer, load_audio, config or RecognitionConfig(), clock)
    batches = longest_first(utterances, run.config.batch_size)
    run.warm_up(batches[0][0])
    done = 0
    for batch in batches:
        run.batch(batch)
        done += len(batch)
        if progress:
            progress(done, len(utterances))
    if not run.hypotheses:
        id_, cause = next(iter(run.rejected.items()))
        raise RunFailed(f"None of the {len(utterances)} utterances could be recognised. The first, {id_}: {cause}")
    if run.config.batch_size > 1:
        run.measure_latencies([u for batch in batches for u in batch])
    timing = Timing(
        audio_s=run.audio_s,
        processing_s=run.processing_s,
        batch_size=run.config.batch_size,
        threads=threads,
        warm_up=run.config.warm_up,
        latencies_s=run.latencies_s,
    )
    return Recognition(hypotheses=run.hypotheses, rejected=run.rejected, timing=timing)


def longest_first(utterances: Sequence[Utterance], size: int) -> list[list[Utterance]]:
    """Groups of up to `size` of similar length. A set that does not fit into memory says so at once in this order."""
    ordered = sorted(utterances, key=lambda u: (-u.duration_s, u.id))
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


class _Run:
    """What has been recognised so far."""

    def __init__(
        self, recognizer: Recognizer, load_audio: LoadAudio, config: RecognitionConfig, clock: Callable[[], float]
    ) -> None:
        self.config = config
        self.hypotheses: dict[str, str] = {}
        self.rejected: dict[str, str] = {}
        self.latencies_s: dict[str, float] = {}
        self.audio_s = 0.0
        self.processing_s = 0.0
        self._recognizer = recognizer
        self._load_audio = load_audio
        self._clock = clock

    def warm_up(self, utterance: Utterance) -> None:
        """Untimed calls with the longest utterance."""
        run_untimed(lambda: self._recognizer.transcribe_batch([self._load_audio(utterance)]), self.config.warm_up)

    def batch(self, utterances: Sequence[Utterance]) -> None:
        """Recognise a batch; where it fails as a whole, one by one, to find out which utterance is to blame."""
        loaded = list(self._loaded(utterances))
        if not loaded:
            return
        try:
            self._recognise(loaded)
        except Exception as err:  # noqa: BLE001  one item of a batch: recorded with its cause
            if len(loaded) == 1:
                self.rejected[loaded[0][0].id] = cause_of(err)
                return
            for item in loaded:
                try:
                    self._recognise([item])
                except Exception as single:  # noqa: BLE001  as above
                    self.rejected[item[0].id] = cause_of(single)

    def measure_latencies(self, utterances: Sequence[Utterance]) -> None:
        """Recognise some utterances again, alone; `utterances` come sorted by duration."""
        known = [u for u in utterances if u.id in self.hypotheses]
        count = min(self.config.latency_utterances, len(known))
        for place in np.linspace(0, len(known) - 1, count).round().astype(int).tolist():
            utterance = known[place]
            try:
                waveform = self._load_audio(utterance)
                start = self._clock()
                self._recognizer.transcribe(waveform)
                self.latencies_s[utterance.id] = self._clock() - start
            except Exception as err:  # noqa: BLE001  one item: recorded with its cause
                del self.hypotheses[utterance.id]
                self.rejected[utterance.id] = f"recognised in a batch, but not alone: {cause_of(err)}"

    def _loaded(self, utterances: Sequence[Utterance]) -> Iterator[tuple[Utterance, Waveform]]:
        for utterance in utterances:
            try:
                yield utterance, self._load_audio(utterance)
            except Exception as err:  # noqa: BLE001  one item of a batch: recorded with its cause
                self.rejected[utterance.id] = cause_of(err)

    def _recognise(self, items: Sequence[tuple[Utterance, Waveform]]) -> None:
        start = self._clock()
        transcripts: list[Transcript] = self._recognizer.transcribe_batch([waveform for _, waveform in items])
        taken_s = self._clock() - start
        if len(transcripts) != len(items):
            raise RunFailed(f"the recognizer gave {len(transcripts)} transcripts for {len(items)} waveforms")
        self.processing_s += taken_s
        self.audio_s += sum(len(waveform) for _, waveform in items) / self._recognizer.sample_rate_hz
        for (utterance, _), transcript in zip(items, transcripts, strict=True):
            self.hypotheses[utterance.id] = transcript.text
        if self.config.batch_size == 1:
            self.latencies_s[items[0][0].id] = taken_s


def run_untimed(call: Callable[[], object], calls: int) -> None:
    """Lazy imports, compiled kernels and allocator pools are not what is timed. Ends at the first exception."""
    for _ in range(calls):
        try:
            call()
        except Exception:  # noqa: BLE001  the counted call meets it again and records it
            return


def cause_of(error: Exception) -> str:
    """An exception in a line, as the cause that a report gives for an utterance without an answer."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
