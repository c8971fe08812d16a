"""Modes side by side, with a recognizer that says what it is told and a clock that ticks as it is told."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, RunFailed, Transcript, Utterance, Waveform
from harken.evaluation.modes import Answer, Mode, batch_mode, compare_modes, format_modes, single_mode

TEXTS = {100: "one two", 200: "three", 300: "four five six", 400: "", 500: "seven"}
UTTERANCES = [
    Utterance(id=f"u{length}", audio=f"{length}.wav", duration_s=length / 100, text=text, speaker=f"s{length % 3}")
    for length, text in TEXTS.items()
]


class Clock:
    """Time that passes only in `wait`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class Parrot:
    """Knows each waveform by its length; takes 0.1 s for a call and 0.01 s for a waveform."""

    sample_rate_hz = 100

    def __init__(self, clock: Clock, answers: dict[int, str] | None = None) -> None:
        self.clock = clock
        self.answers = TEXTS | (answers or {})
        self.calls: list[list[int]] = []

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        assert isinstance(audio, np.ndarray)
        return self.transcribe_batch([audio])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        lengths = [len(waveform) for waveform in waveforms]
        self.calls.append(lengths)
        self.clock.wait(0.1 + 0.01 * len(lengths))
        if any(self.answers[length] == "!" for length in lengths):
            raise ValueError("cannot hear that")
        return [Transcript(text=self.answers[length], duration_s=length / 100) for length in lengths]


def read(utterance: Utterance) -> Waveform:
    return np.zeros(round(utterance.duration_s * 100), np.float32)


def test_batch_and_single_give_the_same_texts_at_different_times() -> None:
    clock = Clock()
    parrot = Parrot(clock, {500: "sieben"})
    seen: list[tuple[str, int, int]] = []
    batch, single = compare_modes(
        {"batch": batch_mode(parrot, batch_size=3), "single": single_mode(parrot)},
        UTTERANCES,
        read,
        warm_up=2,
        threads=1,
        clock=clock,
        progress=lambda *told: seen.append(told),
    )
    # the longest first; two calls to warm up in each mode are not counted
    assert parrot.calls == [[500, 400, 300]] * 3 + [[200, 100]] + [[500]] * 3 + [[400], [300], [200], [100]]
    assert (batch.mode, batch.wer, batch.words, batch.utterances) == ("batch", 1 / 7, 7, 5)
    assert (single.wer, single.cer) == (batch.wer, batch.cer)
    assert batch.wer_interval == single.wer_interval
    assert (batch.wer_interval.unit, batch.wer_interval.units) == ("speaker", 3)
    assert (batch.processing_s, single.processing_s) == pytest.approx((0.13 + 0.12, 5 * 0.11))
    assert (batch.audio_s, batch.rtf) == pytest.approx((15.0, 0.25 / 15))
    # three wait 0.13 s for their batch, two 0.12 s
    assert (batch.latency_ms["p50"], batch.latency_ms["mean"], batch.latency_ms["max"]) == pytest.approx(
        (130, 126, 130)
    )
    assert list(single.latency_ms.values()) == pytest.approx([110.0] * 5)
    assert (single.different_count, single.different, single.failed) == (0, (), {})
    assert seen[:2] == [("batch", 3, 5), ("batch", 5, 5)]
    assert json.loads(json.dumps(batch.as_json(), allow_nan=False))["threads"] == 1
    lines = format_modes([batch, single]).splitlines()
    assert lines[1].split() == ["batch", "14.29", "6.67", "0.25", "0.0167", "130.0", "130.0", "130.0", "0"]


def test_a_streaming_mode_says_itself_when_its_words_came() -> None:
    """Audio arrives in pieces of one second; each costs 0.02 s, and the text is final 0.05 s after the last."""
    clock = Clock()

    def stream(waveforms: Sequence[Waveform]) -> list[Answer]:
        (waveform,) = waveforms
        pieces = len(waveform) // 100
        clock.wait(pieces + 0.05)  # a stream is paced by its audio, so the call lasts longer than the work
        words = TEXTS[len(waveform)].split()
        text = " ".join(words[:2])  # and it loses the third word
        return [Answer(text=text, latency_s=0.05, first_s=1.02, processing_s=0.02 * pieces)]

    single, streaming = compare_modes(
        {"single": single_mode(Parrot(clock)), "streaming": Mode(run=stream)}, UTTERANCES, read, clock=clock
    )
    assert (single.wer, streaming.wer) == (0.0, 1 / 7)
    assert (streaming.different_count, streaming.different) == (1, ("u300",))
    assert streaming.processing_s == pytest.approx(0.02 * 15)
    assert (streaming.latency_ms["max"], streaming.first_ms) == pytest.approx((50.0, 1020.0))
    assert single.first_ms is None


def test_what_fails_is_named_and_scores_as_empty() -> None:
    clock = Clock()
    parrot = Parrot(clock, {300: "!"})

    def unreadable(utterance: Utterance) -> Waveform:
        if utterance.id == "u100":
            raise OSError("the disk is gone")
        return read(utterance)

    (batch,) = compare_modes({"batch": batch_mode(parrot)}, UTTERANCES, unreadable, clock=clock)
    assert batch.failed == {"u100": "OSError: the disk is gone", "u300": "ValueError: cannot hear that"}
    assert batch.wer == 5 / 7
    assert batch.processing_s == pytest.approx(3 * 0.11)  # one by one after the batch failed
    assert batch.audio_s == pytest.approx(11.0)
    assert "batch: 2 without an answer, the first is u100: OSError" in format_modes([batch])


def test_what_cannot_be_compared_is_refused() -> None:
    clock = Clock()
    parrot = Parrot(clock)
    with pytest.raises(InputError, match="no modes"):
        compare_modes({}, UTTERANCES, read)
    with pytest.raises(InputError, match="no utterances"):
        compare_modes({"single": single_mode(parrot)}, [], read)
    with pytest.raises(InputError, match="without a reference text"):
        compare_modes({"single": single_mode(parrot)}, [Utterance(id="a", audio="a", duration_s=1.0)], read)
    with pytest.raises(RunFailed, match="'odd' gave 0 answers for 1 waveforms"):
        compare_modes({"odd": Mode(run=lambda _: [])}, UTTERANCES, read)
    silent = Parrot(clock, dict.fromkeys(TEXTS, "!"))
    with pytest.raises(RunFailed, match="'single' gave no answer to any utterance; u500: ValueError: cannot hear that"):
        compare_modes({"single": single_mode(silent)}, UTTERANCES, read)
    with pytest.raises(ValueError, match="group is 0; use 1 or more"):
        batch_mode(parrot, batch_size=0)
