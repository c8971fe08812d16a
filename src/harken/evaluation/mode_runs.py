"""A test set through one mode: what it answered, what failed, and the times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from harken.core import RunFailed, Utterance, Waveform, Word
from harken.evaluation.recognition import LoadAudio, cause_of, longest_first, run_untimed

if TYPE_CHECKING:
    from harken.evaluation.modes import Answer, Clock, Mode, WordTimes

Loaded = tuple[Utterance, Waveform]


@dataclass(slots=True, kw_only=True)
class ModeRun:
    """Answers by utterance id, what failed with its cause, and the sums of the times."""

    answers: "dict[str, Answer]" = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    audio_s: float = 0.0
    processing_s: float = 0.0
    cpu_s: float = 0.0


class TimedWords:
    """Words of utterances with their times, by id; each is asked for once, whatever the number of modes."""

    def __init__(self, word_times: "WordTimes | None") -> None:
        self.words: dict[str, Sequence[Word]] = {}
        self.failed: dict[str, str] = {}
        self._word_times = word_times

    @property
    def given(self) -> bool:
        return self._word_times is not None

    def add(self, utterance: Utterance, waveform: Waveform) -> None:
        if self._word_times is None or utterance.id in self.words or utterance.id in self.failed:
            return
        try:
            self.words[utterance.id] = self._word_times(utterance, waveform)
        except Exception as err:  # noqa: BLE001  one item of a test set: recorded with its cause
            self.failed[utterance.id] = cause_of(err)


def run_mode(
    name: str,
    mode: "Mode",
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    warm_up: int,
    clocks: "tuple[Clock, Clock]",
    times: TimedWords,
    progress: Callable[[int, int], None] | None,
) -> ModeRun:
    """Every utterance through `mode`, the longest first. `clocks` give wall and CPU seconds.

    Raises RunFailed where there is no answer at all, or not one for each waveform.
    """
    run = ModeRun()
    for number, group in enumerate(longest_first(utterances, mode.group)):
        loaded = _load(group, load_audio, run.failed)
        if number == 0 and loaded:
            run_untimed(partial(mode.run, [waveform for _, waveform in loaded]), warm_up)
        _answer(name, mode, loaded, run, clocks)
        for utterance, waveform in loaded:
            if utterance.id in run.answers and run.answers[utterance.id].words is not None:
                times.add(utterance, waveform)
        if progress:
            progress(min((number + 1) * mode.group, len(utterances)), len(utterances))
    if not run.answers:
        id_, cause = next(iter(run.failed.items()))
        raise RunFailed(f"The mode {name!r} gave no answer to any utterance; {id_}: {cause.rstrip('.')}.")
    return run


def _load(group: Sequence[Utterance], load_audio: LoadAudio, failed: dict[str, str]) -> list[Loaded]:
    loaded = []
    for utterance in group:
        try:
            loaded.append((utterance, load_audio(utterance)))
        except Exception as err:  # noqa: BLE001  one item of a test set: recorded with its cause
            failed[utterance.id] = cause_of(err)
    return loaded


def _answer(name: str, mode: "Mode", loaded: Sequence[Loaded], run: ModeRun, clocks: "tuple[Clock, Clock]") -> None:
    """Run a group; where it fails as a whole, one by one, to find out which utterance is to blame."""
    if not loaded:
        return
    clock, cpu_clock = clocks
    began, cpu_began = clock(), cpu_clock()
    try:
        answers = mode.run([waveform for _, waveform in loaded])
    except Exception as err:  # noqa: BLE001  as above
        if len(loaded) == 1:
            run.failed[loaded[0][0].id] = cause_of(err)
            return
        for item in loaded:
            _answer(name, mode, [item], run, clocks)
        return
    taken_s, cpu_s = clock() - began, cpu_clock() - cpu_began
    if len(answers) != len(loaded):
        raise RunFailed(f"The mode {name!r} gave {len(answers)} answers for {len(loaded)} waveforms.")
    run.processing_s += _sum_of([answer.processing_s for answer in answers], otherwise=taken_s)
    run.cpu_s += _sum_of([answer.cpu_s for answer in answers], otherwise=cpu_s)
    for (utterance, _), answer in zip(loaded, answers, strict=True):
        run.audio_s += utterance.duration_s
        latency_s = taken_s if answer.latency_s is None else answer.latency_s
        run.answers[utterance.id] = replace(answer, latency_s=latency_s)


def _sum_of(seconds: Sequence[float | None], *, otherwise: float) -> float:
    """What the answers say they took together; `otherwise` where one of them does not say it."""
    told = [value for value in seconds if value is not None]
    return sum(told) if len(told) == len(seconds) else otherwise
