"""One recognizer run in several ways on the same test set: in batches, one by one, as a stream.

A mode is a function, so a new way to run a model (streaming, a server, another decoder) is one more entry of the
mapping that `compare_modes` takes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harken.core import InputError, Recognizer, Utterance, Waveform, Word
from harken.evaluation.latency import latency_percentiles_ms
from harken.evaluation.mode_runs import ModeRun, TimedWords, run_mode
from harken.evaluation.recognition import LoadAudio
from harken.evaluation.report import references_of
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.intervals import Interval, bootstrap_interval, choose_units
from harken.evaluation.word_latency import HeardWord, word_latencies

Clock = Callable[[], float]
WordTimes = Callable[[Utterance, Waveform], Sequence[Word]]
"""Gives the words of an utterance with their times in its audio."""

_IDS_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a mode says about one waveform.

    `latency_s` is the time from the end of its audio until the final text; None where that is the whole call.
    `first_s` is the time until the first words appeared, for modes that show them early. `processing_s` is the time
    spent computing, `cpu_s` the CPU time of that; None where it is the whole call, which it is not for a mode that
    waits for audio to arrive. `words` and `corrections` are those of a mode that shows words while they are spoken: the
    words of its text with the times they were shown at, and how many it took back on the way.
    """

    text: str
    latency_s: float | None = None
    first_s: float | None = None
    processing_s: float | None = None
    cpu_s: float | None = None
    words: tuple[HeardWord, ...] | None = None
    corrections: int | None = None


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

    `processing_s` is all the time spent computing, `rtf` that over the audio's length, `cpu_s` its CPU time, of all
    threads together. `latency_ms` has mean, p50, p95, p99 and max over the utterances that were answered, `first_ms`
    the mean time until the first words, None where the mode does not show them early. `warm_up` untimed calls came
    first. `different` are the ids (the first few) whose text is not that of the first mode, `different_count` how many
    there are. `failed` names what gave no answer, with the cause; it scores as recognised empty.

    For a mode that shows words while they are spoken: `shown_ms` and `committed_ms` have mean, p50 and p95 of the times
    from the end of a word until it was first shown in its final place (hypothesis latency), and until it was committed.
    They are of `timed_words` words, those that the word times have too, and None without any. `untimed` names the
    utterances whose words could not be timed, with the cause. `corrections_per_word` are words taken back over words of
    the final texts. All of them are None, and `untimed` is empty, for other modes.
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
    cpu_s: float
    shown_ms: Mapping[str, float | None] | None
    committed_ms: Mapping[str, float | None] | None
    timed_words: int | None
    untimed: Mapping[str, str]
    corrections_per_word: float | None

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
    cpu_clock: Clock = time.process_time,
    word_times: WordTimes | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[ModeResult]:
    """Recognise the test set once in each mode and put accuracy, time and latency side by side, in the order given.

    `load_audio` gives an utterance's waveform at the recognizer's rate; reading is not timed. `warm_up` untimed calls
    with the longest group come first in each mode. `threads` is stated in the result. `word_times` is asked once for
    each utterance, untimed, as soon as a mode says when it showed the words of one; without it there are no latencies
    of words. `progress` is called with the mode, how many utterances are done and how many there are.

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
    times = TimedWords(word_times)
    for name, mode in modes.items():
        told = None if progress is None else (lambda done, total, name=name: progress(name, done, total))
        run = run_mode(
            name, mode, utterances, load_audio, warm_up=warm_up, clocks=(clock, cpu_clock), times=times, progress=told
        )
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
                cpu_s=run.cpu_s,
                **_of_words(run, times, normalizer),
            )
        )
    return results


def format_modes(results: Sequence[ModeResult]) -> str:
    """Lines for people: a row for each mode, a second table where one shows words while they are spoken, and what needs
    to be said about them.
    """
    lines = _table(
        ("mode", "WER %", "CER %", "time s", "RTF", "p50 ms", "p95 ms", "max ms", "other texts"),
        [
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
        ],
    )
    if any(result.corrections_per_word is not None or result.timed_words is not None for result in results):
        lines += ["", *_stream_table(results)]
    for result in results:
        for id_, cause in list(result.failed.items())[:1]:
            lines.append(f"{result.mode}: {len(result.failed):,} without an answer, the first is {id_}: {cause}")
        for id_, cause in list(result.untimed.items())[:1]:
            lines.append(f"{result.mode}: {len(result.untimed):,} without word times, the first is {id_}: {cause}")
    return "\n".join(lines)


def _stream_table(results: Sequence[ModeResult]) -> list[str]:
    """When words were seen. Modes that show nothing early have their CPU time here, to compare with."""
    head = ("mode", "first ms", "shown p50", "p95", "committed p50", "p95", "corrections", "words timed", "CPU s")
    rows = [
        (
            result.mode,
            _number(result.first_ms, 1, 1),
            *(
                _number(None if figures is None else figures[name], 1, 1)
                for figures in (result.shown_ms, result.committed_ms)
                for name in ("p50", "p95")
            ),
            _number(result.corrections_per_word, 1, 3),
            "-" if result.timed_words is None else f"{result.timed_words:,}",
            f"{result.cpu_s:.2f}",
        )
        for result in results
    ]
    return [*_table(head, rows), "shown, committed: ms from the end of each word; corrections: per word"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in (head, *rows)
    ]


def _latencies_ms(run: ModeRun) -> dict[str, float | None]:
    taken_s = [answer.latency_s for answer in run.answers.values() if answer.latency_s is not None]
    p50, p95, p99, most = latency_percentiles_ms(taken_s, (50, 95, 99, 100))
    return {"mean": 1000 * sum(taken_s) / len(taken_s), "p50": p50, "p95": p95, "p99": p99, "max": most}


def _of_words(run: ModeRun, times: TimedWords, normalizer: str) -> dict[str, Any]:
    """The fields about words that were shown while they were spoken."""
    shown_s: list[float] = []
    committed_s: list[float] = []
    streamed = {id_: answer.words for id_, answer in run.answers.items() if answer.words is not None}
    for id_, words in streamed.items():
        found = word_latencies(times.words.get(id_, ()), words, normalizer=normalizer)
        shown_s += found.shown_s
        committed_s += found.committed_s
    corrections = [answer.corrections for answer in run.answers.values() if answer.corrections is not None]
    count = sum(len(words) for words in streamed.values())
    return {
        "shown_ms": _word_figures(shown_s),
        "committed_ms": _word_figures(committed_s),
        "timed_words": len(shown_s) if streamed and times.given else None,
        "untimed": {id_: cause for id_, cause in times.failed.items() if id_ in streamed},
        "corrections_per_word": sum(corrections) / count if corrections and count else None,
    }


def _word_figures(latencies_s: Sequence[float]) -> dict[str, float | None] | None:
    if not latencies_s:
        return None
    p50, p95 = latency_percentiles_ms(latencies_s, (50, 95))
    return {"mean": 1000 * sum(latencies_s) / len(latencies_s), "p50": p50, "p95": p95}


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
