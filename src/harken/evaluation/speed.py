"""How fast recognizers are on the same audio: alone and in a batch, taking turns, CPU time beside wall time.

Wall time on a shared machine says as much about its other work as about the recognizer; taking turns spreads that over
all of them, and CPU time says less about it.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harken.core import InputError, Recognizer, Waveform
from harken.evaluation.latency import LatencySummary, latency_summary


@dataclass(frozen=True, slots=True, kw_only=True)
class PassTime:
    """Passes over all of the audio: wall and CPU seconds of each, all threads together, in the order they ran."""

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    @property
    def median_wall_s(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def median_cpu_s(self) -> float:
        return statistics.median(self.cpu_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedReport:
    """One recognizer. `latency` is of every call of every round; `alone` are its calls one by one, `together` one
    batch. `same_text` counts the pieces of audio that have the text the first recognizer gave.
    """

    audio_s: float
    latency: LatencySummary
    alone: PassTime
    together: PassTime
    same_text: int
    pieces: int

    @property
    def audio_per_cpu_s(self) -> float:
        """Seconds of audio for each CPU second, in a batch."""
        return self.audio_s / max(self.together.median_cpu_s, 1e-9)

    @property
    def batch_gain(self) -> float:
        """How many times the CPU time of a batch the calls one by one take."""
        return self.alone.median_cpu_s / max(self.together.median_cpu_s, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "audio_s": self.audio_s,
            "pieces": self.pieces,
            "audio_per_cpu_s": self.audio_per_cpu_s,
            "batch_gain": self.batch_gain,
            "same_text": self.same_text,
            "latency": self.latency.as_json(),
            "alone": asdict(self.alone),
            "together": asdict(self.together),
        }


def measure_speed(
    recognizers: Mapping[str, Recognizer], waveforms: Sequence[Waveform], *, rounds: int = 3, threads: int | None = None
) -> dict[str, SpeedReport]:
    """A report for each recognizer, of `rounds` rounds after one that is not counted.

    All take waveforms (samples,) of one sample rate. `threads` is only written down. Raises InputError where there is
    nothing to measure, or the recognizers want different rates.
    """
    rates = {recognizer.sample_rate_hz for recognizer in recognizers.values()}
    if rounds < 1 or not waveforms or len(rates) != 1:
        what = f"{rounds} rounds of {len(recognizers)} recognizers of {len(rates)} sample rates, {len(waveforms)} files"
        raise InputError(f"There is nothing to compare: {what}.", hint="Give at least one of each, of one sample rate.")
    rate = rates.pop()
    durations_s = [len(waveform) / rate for waveform in waveforms]
    runs = {name: _Runs() for name in recognizers}
    names = list(recognizers)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _run(recognizers[name], waveforms, runs[name], counted=turn > 0)
    first = runs[names[0]].texts
    return {
        name: SpeedReport(
            audio_s=sum(durations_s),
            latency=latency_summary(run.latencies_s, durations_s * rounds, threads=threads, warm_up=len(waveforms)),
            alone=PassTime(wall_s=tuple(run.alone.wall_s), cpu_s=tuple(run.alone.cpu_s)),
            together=PassTime(wall_s=tuple(run.together.wall_s), cpu_s=tuple(run.together.cpu_s)),
            same_text=sum(a == b for a, b in zip(first, run.texts, strict=True)),
            pieces=len(waveforms),
        )
        for name, run in runs.items()
    }


class _Times:
    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def add(self, call: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)


class _Runs:
    def __init__(self) -> None:
        self.alone, self.together = _Times(), _Times()
        self.latencies_s: list[float] = []
        self.texts: list[str] = []


def _run(recognizer: Recognizer, waveforms: Sequence[Waveform], runs: _Runs, *, counted: bool) -> None:
    alone, together = (runs.alone, runs.together) if counted else (_Times(), _Times())
    calls, texts = _Times(), []

    def one_by_one() -> None:
        for waveform in waveforms:
            calls.add(lambda waveform=waveform: texts.append(recognizer.transcribe(waveform).text))  # type: ignore[misc]

    alone.add(one_by_one)
    together.add(lambda: recognizer.transcribe_batch(waveforms))
    runs.texts = texts
    if counted:
        runs.latencies_s += calls.wall_s
