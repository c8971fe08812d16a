"""One recognizer run in several ways on the same test set: in batches, one by one, as a stream.

A mode is a function, so a new way to run a model (streaming, a server, another decoder) is one more entry of the
mapping that `compare_modes` takes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from harken.core import InputError, Recognizer, RunFailed, Utterance, Waveform
from harken.evaluation.latency import latency_percentiles_ms
from harken.evaluation.recognition import LoadAudio, cause_of, longest_first, run_untimed
from harken.evaluation.report import references_of
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.intervals import Interval, bootstrap_interval, choose_units

Clock = Callable[[], float]

_IDS_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a mode says about one waveform.

    `latency_s` is the time from the end of its audio until the final text; None where that is the whole call.
    `first_s` is the time until the first words appeared, for modes that show them early. `processing_s` is the time
    spent computing; None where that is the whole call, which it is not for a mode that waits for audio to arrive.
    """

    text: str
    latency_s: float | None = None
    first_s: float | None = None
    processing_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way to run a recognizer: `run` takes up to `group` waveforms and gives an Answer for each, in order."""

    run: Callable[[Sequence[Waveform]], Sequence[Answer]]
    group: int = 1

    def __post_init__(self) -> None:
        if self.group < 1:
            raise ValueError(f"group is {self.group}; use 1 or more")


def batch_mode(recognizer: Recognizer, *, batch_size: int = 16) -> Mode:
    """Utterances of similar length together. Each waits for its whole batch, and that wait is its latency."""
    return Mode(
        run=lambda waveforms: [Answer(text=found.text) for found in recognizer.transcribe_batch(waveforms)],
        group=batch_size,
    )


def single_mode(recognizer: Recognizer) -> Mode:
    """One utterance after the other, each in a single pass over all of its audio."""
    return Mode(run=lambda waveforms: [Answer(text=recognizer.transcribe(waveform).text) for waveform in waveforms])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeResult:
    """One mode's row. Rates are fractions, None without reference words.

    `processing_s` is all the time spent computing, `rtf` that over the audio's length. `latency_ms` has mean, p50, p95,
    p99 and max over the utterances that were answered, `first_ms` the mean time until the first words, None where the
    mode does not show them early. `warm_up` untimed calls came first. `different` are the ids (the first few) whose
    text is not that of the first mode, `different_count` how many there are. `failed` names what gave no answer, with
    the cause; it scores as recognised empty.
    """

    mode: str
    wer: float | None
    wer_interval: Interval
    cer: float | None
    utterances: int
    words: int
    audio_s: float
    processing_s: float
    rtf: float | None
    latency_ms: Mapping[str, float | None]
    first_ms: float | None
    threads: int | None
    warm_up: int
    different_count: int
    different: tuple[str, ...]
    failed: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def compare_modes(
    modes: Mapping[str, Mode],
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
    warm_up: int = 1,
    threads: int | None = None,
    samples: int = 1000,
    seed: int = 42,
    clock: Clock = time.perf_counter,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[ModeResult]:
    """Recognise the test set once in each mode and put accuracy, time and latency side by side, in the order given.

    `load_audio` gives an utterance's waveform at the recognizer's rate; reading is not timed. `warm_up` untimed calls
    with the longest group come first in each mode. `threads` is stated in the result. `progress` is called with the
    mode, how many utterances are done and how many there are.

    Raises InputError for no modes, an empty test set or one without reference texts, RunFailed where a mode gives no
    answer at all or not one for each waveform.
    """
    if not modes:
        raise InputError("There are no modes to compare.", hint="Give at least one, such as single_mode(recognizer).")
    if not utterances:
        raise InputError("The test set has no utterances.", hint="Check the manifest.")
    references = references_of(utterances)
    unit, labels = choose_units(utterances)
    results: list[ModeResult] = []
    first_texts: dict[str, str] = {}
    for name, mode in modes.items():
        told = None if progress is None else (lambda done, total, name=name: progress(name, done, total))
        run = _run_mode(name, mode, utterances, load_audio, warm_up, clock, told)
        texts = {id_: run.answers[id_].text if id_ in run.answers else "" for id_ in references}
        first_texts = first_texts or texts
        different = [id_ for id_, text in texts.items() if text != first_texts[id_]]
        scored = score(references, texts, normalizer=normalizer, alignment=alignment)
        firsts = [answer.first_s for answer in run.answers.values() if answer.first_s is not None]
        results.append(
            ModeResult(
                mode=name,
                wer=scored.wer,
                wer_interval=bootstrap_interval(
                    scored.counts.errors, scored.counts.words, labels, unit=unit, samples=samples, seed=seed
                ),
                cer=scored.cer,
                utterances=scored.utterances,
                words=scored.words,
                audio_s=run.audio_s,
                processing_s=run.processing_s,
                rtf=run.processing_s / run.audio_s if run.audio_s else None,
                latency_ms=_latencies_ms(run),
                first_ms=1000 * sum(firsts) / len(firsts) if firsts else None,
                threads=threads,
                warm_up=warm_up,
                different_count=len(different),
                different=tuple(different[:_IDS_NAMED]),
                failed=run.failed,
            )
        )
    return results


def format_modes(results: Sequence[ModeResult]) -> str:
    """Lines for people: a row for each mode, and what needs to be said about them."""
    head = ("mode", "WER %", "CER %", "time s", "RTF", "p50 ms", "p95 ms", "max ms", "other texts")
    rows = [
        (
            result.mode,
            _number(result.wer, 100, 2),
            _number(result.cer, 100, 2),
            f"{result.processing_s:.2f}",
            _number(result.rtf, 1, 4),
            *(_number(result.latency_ms[name], 1, 1) for name in ("p50", "p95", "max")),
            f"{result.different_count:,}",
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in (head, *rows)
    ]
    for result in results:
        for id_, cause in list(result.failed.items())[:1]:
            lines.append(f"{result.mode}: {len(result.failed):,} without an answer, the first is {id_}: {cause}")
    return "\n".join(lines)


@dataclass(slots=True, kw_only=True)
class _Run:
    answers: dict[str, Answer]
    failed: dict[str, str]
    audio_s: float = 0.0
    processing_s: float = 0.0


def _run_mode(
    name: str,
    mode: Mode,
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    warm_up: int,
    clock: Clock,
    progress: Callable[[int, int], None] | None,
) -> _Run:
    run = _Run(answers={}, failed={})
    for number, group in enumerate(longest_first(utterances, mode.group)):
        loaded = _load(group, load_audio, run.failed)
        if number == 0 and loaded:
            run_untimed(partial(mode.run, [waveform for _, waveform in loaded]), warm_up)
        _answer(name, mode, loaded, run, clock)
        if progress:
            progress(min((number + 1) * mode.group, len(utterances)), len(utterances))
    if not run.answers:
        id_, cause = next(iter(run.failed.items()))
        raise RunFailed(f"The mode {name!r} gave no answer to any utterance; {id_}: {cause.rstrip('.')}.")
    return run


def _load(
    group: Sequence[Utterance], load_audio: LoadAudio, failed: dict[str, str]
) -> list[tuple[Utterance, Waveform]]:
    loaded = []
    for utterance in group:
        try:
            loaded.append((utterance, load_audio(utterance)))
        except Exception as err:  # noqa: BLE001  one item of a test set: recorded with its cause
            failed[utterance.id] = cause_of(err)
    return loaded


def _answer(name: str, mode: Mode, loaded: Sequence[tuple[Utterance, Waveform]], run: _Run, clock: Clock) -> None:
    """Run a group; where it fails as a whole, one by one, to find out which utterance is to blame."""
    if not loaded:
        return
    began = clock()
    try:
        answers = mode.run([waveform for _, waveform in loaded])
    except Exception as err:  # noqa: BLE001  as above
        if len(loaded) == 1:
            run.failed[loaded[0][0].id] = cause_of(err)
            return
        for item in loaded:
            _answer(name, mode, [item], run, clock)
        return
    taken_s = clock() - began
    if len(answers) != len(loaded):
        raise RunFailed(f"The mode {name!r} gave {len(answers)} answers for {len(loaded)} waveforms.")
    own = [answer.processing_s for answer in answers]
    run.processing_s += taken_s if None in own else sum(seconds for seconds in own if seconds is not None)
    for (utterance, _), answer in zip(loaded, answers, strict=True):
        run.audio_s += utterance.duration_s
        run.answers[utterance.id] = Answer(
            text=answer.text,
            latency_s=taken_s if answer.latency_s is None else answer.latency_s,
            first_s=answer.first_s,
        )


def _latencies_ms(run: _Run) -> dict[str, float | None]:
    taken_s = [answer.latency_s for answer in run.answers.values() if answer.latency_s is not None]
    p50, p95, p99, most = latency_percentiles_ms(taken_s, (50, 95, 99, 100))
    return {"mean": 1000 * sum(taken_s) / len(taken_s), "p50": p50, "p95": p95, "p99": p99, "max": most}


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
