"""Scoring a live system: a recognizer, a test set, and a way to get at its audio."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from harken.core import HarkenError, Recognizer, Utterance, Waveform
from harken.evaluation.report import Hypotheses, SpeedFacts, build_report

LATENCY_UTTERANCES = 50
WINDOW_S = 1200.0


def recognize_all(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    load_audio: Callable[[Utterance], Waveform],
    *,
    latency_utterances: int = LATENCY_UTTERANCES,
    clock: Callable[[], float] = time.perf_counter,
) -> Hypotheses:
    """What the recognizer makes of every utterance, in windows of similar length, and how fast.

    The real-time factor is of batched recognition, decoding of files excluded. Latency is of `latency_utterances`
    utterances, spread evenly from the longest to the shortest, taken one at a time after one of warm-up. An utterance whose audio cannot be read,
    or that the recognizer refuses, is a failure with its reason; the others go on.
    """
    texts: dict[str, str] = {}
    failures: dict[str, str] = {}
    processing_s = audio_s = 0.0
    latencies: list[float] = []
    ordered = sorted(utterances, key=lambda u: (-u.duration_s, u.id))
    timed = {ordered[place * len(ordered) // latency_utterances].id for place in range(latency_utterances) if ordered}
    warm = False
    for window in _windows(ordered):
        loaded: list[tuple[Utterance, Waveform]] = []
        for utterance in window:
            try:
                loaded.append((utterance, load_audio(utterance)))
            except HarkenError as err:
                failures[utterance.id] = str(err)
        if not loaded:
            continue
        if not warm:
            _latencies(recognizer, loaded[-1:], clock)
            warm = True
        latencies += _latencies(recognizer, [item for item in loaded if item[0].id in timed], clock)
        began = clock()
        texts |= _together(recognizer, loaded, failures)
        processing_s += clock() - began
        audio_s += sum(len(waveform) for _, waveform in loaded) / recognizer.sample_rate_hz
    speed = SpeedFacts(processing_s=processing_s, audio_s=audio_s, latencies_s=tuple(latencies), threads=_threads())
    return Hypotheses(texts=texts, failures=failures, speed=speed if audio_s else None)


def evaluate_recognizer(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    load_audio: Callable[[Utterance], Waveform],
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Recognise a test set and score it: the content of report.json and the rows of utterances.jsonl."""
    hypotheses = recognize_all(recognizer, utterances, load_audio)
    return build_report(utterances, hypotheses, normalizer=normalizer, alignment=alignment)


def _windows(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    """Stretches of at most `WINDOW_S` seconds of audio, so that memory holds one of them."""
    windows: list[list[Utterance]] = []
    filled_s = WINDOW_S
    for utterance in utterances:
        if filled_s + utterance.duration_s > WINDOW_S:
            windows.append([])
            filled_s = 0.0
        windows[-1].append(utterance)
        filled_s += utterance.duration_s
    return windows


def _latencies(
    recognizer: Recognizer, items: Sequence[tuple[Utterance, Waveform]], clock: Callable[[], float]
) -> list[float]:
    latencies = []
    for _, waveform in items:
        began = clock()
        try:
            recognizer.transcribe(waveform)
        except HarkenError:  # named when its turn comes in the batch
            continue
        latencies.append(clock() - began)
    return latencies


def _together(
    recognizer: Recognizer, items: Sequence[tuple[Utterance, Waveform]], failures: dict[str, str]
) -> dict[str, str]:
    """Texts of a window; where the batch is refused, one by one, so that only the culprit is lost."""
    try:
        transcripts = recognizer.transcribe_batch([waveform for _, waveform in items])
        return {utterance.id: t.text for (utterance, _), t in zip(items, transcripts, strict=True)}
    except HarkenError as err:
        if len(items) == 1:
            failures[items[0][0].id] = str(err)
            return {}
    texts: dict[str, str] = {}
    for item in items:
        texts |= _together(recognizer, [item], failures)
    return texts


def _threads() -> int | None:
    """Threads the recognizer may use: what OMP_NUM_THREADS says, else the cores this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit():
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
