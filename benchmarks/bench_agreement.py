"""Whisper on a stream: LocalAgreement beside windows of 2.0 s with 0.5 s of overlap, and beside offline recognition.

    python -m benchmarks.run agreement

Needs the Free Spoken Digit Dataset as `digit_sets` says. HARKEN_AGREEMENT_MODEL names a model folder that
`benchmarks.agreement_model` made; without it one is trained first. Two tracks of held-out speech: sentences with
pauses, in which a buffer ends at each of them, and speech without, in which buffers grow until they are trimmed.
Latencies are those of `bench_streaming`.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement_model import trained, unbroken
from benchmarks.digit_sets import corpus, division
from benchmarks.stream_track import RATE_HZ, Track, latencies, make_track
from harken.core import Waveform, Word
from harken.data.importers import import_corpus
from harken.evaluation import align_words
from harken.evaluation.streaming import listen
from harken.inference.engines import load
from harken.inference.streaming.asr import StreamingASR
from harken.inference.streaming.config import AgreementConfig, PolicyName, StreamingConfig
from harken.inference.streaming.events import Committed, StreamEvent
from harken.inference.streaming.stream import StreamState
from harken.inference.whisper.recognizer import WhisperRecognizer

NAME = "agreement"
TITLE = "Whisper on a stream of connected digits, one thread"
TARGET = (
    "on both tracks: WER of local-agreement at most 1.0 points above offline (the better of sentences and whole "
    "track), and below that of windows of 2.0 s with 0.5 s of overlap"
)
NOTE = (
    "The model was trained without text before its windows, so it is given none (prompt_characters 0). Times of words "
    "are those of the cross-attention, beside the ends of the clips that the track was made of."
)
MINUTES = 5.0  # of each track
CHUNK_S = 0.05
MOST_ABOVE_OFFLINE = 1.0  # points
POLICIES: tuple[PolicyName, ...] = ("local-agreement", "fixed")
WERS = ("WER, sentences", "WER, whole track", "WER, local-agreement", "WER, fixed")
LEAD_S, TAIL_S = 0.1, 0.3  # of silence around a sentence that is recognised by itself


class Recorded:
    """A stream that keeps the words it commits, with the times it gives them."""

    def __init__(self, asr: StreamingASR) -> None:
        self.words: list[Word] = []
        self._asr = asr

    @property
    def sample_rate_hz(self) -> int:
        return self._asr.sample_rate_hz

    def start(self) -> StreamState:
        return self._asr.start()

    def step(self, state: StreamState, chunk: Waveform) -> tuple[StreamState, Sequence[StreamEvent]]:
        return self._kept(*self._asr.step(state, chunk))

    def finish(self, state: StreamState) -> tuple[StreamState, Sequence[StreamEvent]]:
        return self._kept(*self._asr.finish(state))

    def _kept(self, state: StreamState, events: Sequence[StreamEvent]) -> tuple[StreamState, Sequence[StreamEvent]]:
        self.words += [word for event in events if isinstance(event, Committed) for word in event.words]
        return state, events


def run() -> dict[str, Any]:
    held_out = division(import_corpus("fsdd", corpus()).utterances, None)["test"]
    tracks = {
        "pauses": make_track(held_out, MINUTES),
        "no pauses": _first_minutes(unbroken(make_track(held_out, 3 * MINUTES, seed=1)), MINUTES),
    }
    with tempfile.TemporaryDirectory(prefix="harken-agreement-") as folder:
        model = Path(os.environ.get("HARKEN_AGREEMENT_MODEL") or trained(Path(folder)))
        recognizer = load(model, engine="torch")
        if not isinstance(recognizer, WhisperRecognizer):
            raise TypeError(f"{model} holds no Whisper")
        figures = {
            f"{name}: {what}": figure
            for name, track in tracks.items()
            for what, figure in compared(recognizer, track).items()
        }
    met = all(reached({what: figures[f"{name}: {what}"]["value"] for what in WERS}) for name in tracks)
    return {"name": NAME, "title": TITLE, "note": NOTE, "figures": figures, "target": TARGET, "met": met, "rivals": {}}


def reached(wer: dict[str, float]) -> bool:
    offline = min(wer["WER, sentences"], wer["WER, whole track"])
    return wer["WER, local-agreement"] <= offline + MOST_ABOVE_OFFLINE and (
        wer["WER, local-agreement"] < wer["WER, fixed"]
    )


def compared(recognizer: WhisperRecognizer, track: Track) -> dict[str, Any]:
    """WER offline and of both policies; latencies, corrections and cost of the policies."""
    sentences = [_cut(track, item.words[0][1] - LEAD_S, item.words[-1][2] + TAIL_S) for item in track.sentences]
    alone = " ".join(transcript.text for transcript in offline(recognizer).transcribe_batch(sentences))
    begun = time.process_time()
    whole = offline(recognizer).transcribe(track.waveform)
    audio_s = len(track.waveform) / RATE_HZ
    figures: dict[str, Any] = {
        "WER, sentences": _wer(track, alone.split()),
        "WER, whole track": _wer(track, whole.text.split()),
        "CPU per audio-second, whole track": {"value": (time.process_time() - begun) / audio_s, "unit": "s"},
    }
    for policy in POLICIES:
        config = StreamingConfig(policy=policy, agreement=AgreementConfig(prompt_characters=0))
        asr = Recorded(StreamingASR(recognizer, config=config))
        heard = listen(asr, track.waveform, chunk_s=CHUNK_S, clock=time.process_time)
        late = latencies(track, heard)
        figures |= {
            f"WER, {policy}": _wer(track, heard.text.split()),
            f"hypothesis latency, {policy}": _seconds(late.shown_s),
            f"committed latency, {policy}": _seconds(late.committed_s),
            f"corrections per word, {policy}": {
                "value": round(heard.corrections / max(1, len(heard.words)), 4), "unit": "",
            },
            f"CPU per audio-second, {policy}": {"value": heard.cpu_s / heard.audio_s, "unit": "s"},
        }  # fmt: skip
        if policy == "local-agreement":
            figures["end of a committed word, distance to the truth"] = _seconds(end_errors_s(track, asr.words))
    return figures


def offline(recognizer: WhisperRecognizer) -> WhisperRecognizer:
    """The recognizer for audio of many windows, which are cut where nobody speaks: it knows no time tokens."""
    return recognizer.with_config(replace(recognizer.config, long_form="vad"))


def end_errors_s(track: Track, words: Sequence[Word]) -> list[float]:
    """For each word that was recognised: how far the end it was given lies from that of its clip."""
    found = []
    reference = hypothesis = 0
    for operation in align_words([word for word, _, _ in track.words], [word.text for word in words]):
        if operation.kind == "C":
            found.append(abs(words[hypothesis].end_s - track.words[reference][2]))
        reference += operation.kind != "I"
        hypothesis += operation.kind != "D"
    return found


def _cut(track: Track, begin_s: float, end_s: float) -> Waveform:
    return track.waveform[max(0, round(begin_s * RATE_HZ)) : round(end_s * RATE_HZ)]


def _first_minutes(track: Track, minutes: float) -> Track:
    """The sentences that end within them."""
    sentences = [sentence for sentence in track.sentences if sentence.words[-1][2] <= minutes * 60]
    return Track(waveform=_cut(track, 0.0, sentences[-1].words[-1][2] + TAIL_S), sentences=sentences)


def _wer(track: Track, heard: Sequence[str]) -> dict[str, Any]:
    said = [word for word, _, _ in track.words]
    errors = sum(operation.kind != "C" for operation in align_words(said, list(heard)))
    return {"value": round(100 * errors / len(said), 3), "unit": "%", "words": len(said), "errors": errors}


def _seconds(values: Sequence[float]) -> dict[str, Any]:
    if not values:  # not a single word was right
        return {"value": None, "unit": "s", "words": 0}
    low, middle, high = (round(float(x), 3) for x in np.percentile(values, [5, 50, 95]))
    return {"value": middle, "unit": "s", "spread": [low, high], "words": len(values)}
