"""Scoring a live system, with a recognizer that answers from its samples."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, RunFailed, Transcript, Utterance, Waveform
from harken.evaluation.evaluate import evaluate_recognizer
from harken.evaluation.recognition import RecognitionConfig, recognize_all

RATE_HZ = 100


class Clock:
    """Time that passes only where the recognizer takes some."""

    def __init__(self) -> None:
        self.now_s = 10.0

    def __call__(self) -> float:
        return self.now_s


class Speller:
    """Its text is the waveform's first sample; it takes 1 s for a single waveform and 0.1 s for each in a batch."""

    sample_rate_hz = RATE_HZ

    def __init__(self, clock: Clock, *, refuses: float | None = None) -> None:
        self.clock = clock
        self.refuses = refuses
        self.batches: list[list[str]] = []
        self.singles: list[str] = []

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        assert isinstance(audio, np.ndarray)
        self.clock.now_s += 1.0
        self.singles.append(self._text(audio))
        return Transcript(text=self._text(audio), duration_s=len(audio) / RATE_HZ)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        self.clock.now_s += 0.1 * len(waveforms)
        self.batches.append([str(int(waveform[0])) for waveform in waveforms])
        return [Transcript(text=self._text(w), duration_s=len(w) / RATE_HZ) for w in waveforms]

    def _text(self, waveform: Waveform) -> str:
        if self.refuses is not None and waveform[0] == self.refuses:
            raise InputError(f"I do not take {waveform[0]:.0f}.")
        return str(int(waveform[0]))


def utterances(durations_s: Sequence[float]) -> list[Utterance]:
    return [
        Utterance(id=f"u{number}", audio=f"/{number}.wav", duration_s=duration_s, text=str(number))
        for number, duration_s in enumerate(durations_s)
    ]


def load(utterance: Utterance) -> Waveform:
    return np.full(round(utterance.duration_s * RATE_HZ), float(utterance.id[1:]), dtype=np.float32)


def load_all_but(number: int) -> Callable[[Utterance], Waveform]:
    def chosen(utterance: Utterance) -> Waveform:
        if utterance.id == f"u{number}":
            raise InputError(f"{utterance.audio} is broken.", hint="Export it again.")
        return load(utterance)

    return chosen


def test_each_text_belongs_to_its_utterance_and_the_longest_go_first() -> None:
    clock = Clock()
    recognizer = Speller(clock)
    found = recognize_all(
        recognizer, utterances([1, 3, 2, 3]), load, config=RecognitionConfig(batch_size=3, warm_up=0), clock=clock
    )
    assert found.hypotheses == {"u0": "0", "u1": "1", "u2": "2", "u3": "3"}
    assert found.rejected == {}
    assert recognizer.batches == [["1", "3", "2"], ["0"]]


def test_audio_that_cannot_be_read_is_lost_alone() -> None:
    clock = Clock()
    found = recognize_all(Speller(clock), utterances([1, 3, 2]), load_all_but(1), clock=clock)
    assert found.hypotheses == {"u0": "0", "u2": "2"}
    assert found.rejected == {"u1": "InputError: /1.wav is broken. Export it again."}


def test_audio_the_recognizer_refuses_is_lost_alone() -> None:
    clock = Clock()
    recognizer = Speller(clock, refuses=1.0)
    found = recognize_all(recognizer, utterances([1, 3, 2]), load, config=RecognitionConfig(warm_up=0), clock=clock)
    assert found.hypotheses == {"u0": "0", "u2": "2"}
    assert found.rejected == {"u1": "InputError: I do not take 1."}
    assert recognizer.batches == [["1", "2", "0"], ["1"], ["2"], ["0"]]


def test_real_time_factor_is_of_batches_and_latency_of_single_utterances() -> None:
    clock = Clock()
    recognizer = Speller(clock)
    found = recognize_all(
        recognizer, utterances([1, 3, 2, 4]), load, config=RecognitionConfig(batch_size=2), threads=3, clock=clock
    )
    assert recognizer.batches[0] == ["3"]  # the warm-up, with the longest
    assert found.timing.audio_s == 10.0
    assert found.timing.processing_s == pytest.approx(0.4)  # neither warm-up nor the single ones are in it
    assert found.timing.rtf == pytest.approx(0.04)
    assert found.timing.latencies_s == {f"u{i}": pytest.approx(1.0) for i in range(4)}
    assert (found.timing.batch_size, found.timing.threads) == (2, 3)


def test_with_batches_of_one_each_is_timed_where_it_stands() -> None:
    clock = Clock()
    recognizer = Speller(clock)
    found = recognize_all(recognizer, utterances([1, 2]), load, config=RecognitionConfig(batch_size=1), clock=clock)
    assert found.timing.latencies_s == {"u0": pytest.approx(0.1), "u1": pytest.approx(0.1)}
    assert recognizer.singles == []


def test_latency_is_of_utterances_of_all_lengths() -> None:
    clock = Clock()
    recognizer = Speller(clock)
    recognize_all(
        recognizer, utterances(range(11, 0, -1)), load, config=RecognitionConfig(latency_utterances=3), clock=clock
    )
    assert recognizer.singles == ["0", "5", "10"]


def test_a_recognizer_that_loses_a_result_is_found_out() -> None:
    class Forgetful(Speller):
        def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
            return super().transcribe_batch(waveforms)[: 1 if len(waveforms) > 1 else None]

    clock = Clock()
    found = recognize_all(Forgetful(clock), utterances([1, 2]), load, clock=clock)
    assert found.hypotheses == {"u0": "0", "u1": "1"}  # one by one, as after any other failure


def test_nothing_recognised_is_a_failed_run_and_no_utterances_an_input_error() -> None:
    clock = Clock()
    with pytest.raises(RunFailed, match=r"None of the 1 utterances .* The first, u0: InputError: .* again\."):
        recognize_all(Speller(clock), utterances([1]), load_all_but(0), clock=clock)
    with pytest.raises(InputError, match="The test set has no utterances"):
        recognize_all(Speller(clock), [], load, clock=clock)


def test_progress_counts_utterances() -> None:
    seen: list[tuple[int, int]] = []
    config = RecognitionConfig(batch_size=2)
    recognize_all(Speller(Clock()), utterances([1, 2, 3]), load, config=config, progress=lambda *at: seen.append(at))
    assert seen == [(2, 3), (3, 3)]


def test_the_report_has_texts_rejections_and_speed() -> None:
    clock = Clock()
    report = evaluate_recognizer(Speller(clock), utterances([1, 3, 2]), load_all_but(1), clock=clock, threads=2)
    summary = report.summary
    assert summary["wer"]["value"] == pytest.approx(1 / 3)
    assert summary["deletions"] == 1
    assert summary["rejected"] == [{"id": "u1", "cause": "InputError: /1.wav is broken. Export it again."}]
    assert summary["rtf"] == pytest.approx(0.2 / 3)
    assert summary["timing"]["threads"] == 2
    assert [row["hypothesis"] for row in report.rows] == ["0", "", "2"]


def test_a_set_without_texts_is_refused_before_any_work() -> None:
    recognizer = Speller(Clock())
    untold = Utterance(id="u0", audio="/0.wav", duration_s=1.0)
    with pytest.raises(InputError, match="without a reference text"):
        evaluate_recognizer(recognizer, [untold], load)
    assert recognizer.batches == []


@pytest.mark.parametrize(("field", "value"), [("batch_size", 0), ("latency_utterances", -1), ("warm_up", -1)])
def test_settings_are_checked(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}; use"):
        RecognitionConfig(**{field: value})
