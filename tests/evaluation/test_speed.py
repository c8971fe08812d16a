"""Rounds of recognizers that take a known time."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, Transcript, Waveform
from harken.evaluation.speed import PassTime, SpeedReport, measure_speed


class Slow:
    """Takes so many seconds for a call and so many for a batch, and notes when it was called."""

    def __init__(self, call_s: float, batch_s: float, calls: list[str], name: str, rate: int = 16_000) -> None:
        self.call_s, self.batch_s, self.calls, self.name, self.sample_rate_hz = call_s, batch_s, calls, name, rate

    def transcribe(self, audio: "Waveform | str | Path") -> Transcript:
        self.calls.append(self.name)
        time.sleep(self.call_s)
        text = self.name if len(audio) > 20_000 else "same"  # type: ignore[arg-type]
        return Transcript(text=text, duration_s=1.0)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        self.calls.append(self.name.upper())
        time.sleep(self.batch_s)
        return [Transcript(text="", duration_s=1.0) for _ in waveforms]


AUDIO = [np.zeros(16_000, np.float32), np.zeros(32_000, np.float32)]


def test_they_take_turns_after_a_round_that_is_not_counted() -> None:
    calls: list[str] = []
    reports = measure_speed(
        {"a": Slow(0.01, 0.01, calls, "a"), "b": Slow(0.03, 0.02, calls, "b")}, AUDIO, rounds=2, threads=1
    )
    assert calls == list("aaAbbB" + "bbBaaA" + "aaAbbB")
    report = reports["b"]
    assert (report.audio_s, report.pieces) == (3.0, 2)
    assert len(report.alone.wall_s) == len(report.together.wall_s) == 2
    assert report.latency.count == 4
    assert report.latency.warm_up == 2
    # No shorter than the sleeps; how much longer is up to what else the machine does.
    assert 30 <= (report.latency.p50_ms or 0) < 300
    assert 0.06 <= report.alone.median_wall_s < 0.6
    assert 0.02 <= report.together.median_wall_s < 0.2
    assert report.latency.rtf == pytest.approx(report.latency.processing_s / 6.0)
    assert (reports["a"].same_text, report.same_text) == (2, 1)


def test_what_follows_from_the_times() -> None:
    latency = measure_speed({"a": Slow(0, 0, [], "a")}, AUDIO, rounds=1)["a"].latency
    report = SpeedReport(
        audio_s=60.0,
        latency=latency,
        alone=PassTime(wall_s=(9.0, 1.0, 2.0), cpu_s=(6.0, 4.0, 5.0)),
        together=PassTime(wall_s=(1.0,), cpu_s=(2.0,)),
        same_text=2,
        pieces=2,
    )
    assert (report.audio_per_cpu_s, report.batch_gain) == (30.0, 2.5)
    assert (report.alone.median_wall_s, report.alone.median_cpu_s) == (2.0, 5.0)
    assert report.as_json()["together"] == {"wall_s": (1.0,), "cpu_s": (2.0,)}


def test_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="1 rounds of 1 recognizers of 1 sample rates, 0 files"):
        measure_speed({"a": Slow(0, 0, [], "a")}, [], rounds=1)
    with pytest.raises(InputError, match="2 recognizers of 2 sample rates"):
        measure_speed({"a": Slow(0, 0, [], "a"), "b": Slow(0, 0, [], "b", 8_000)}, AUDIO)
    with pytest.raises(InputError, match="0 rounds"):
        measure_speed({"a": Slow(0, 0, [], "a")}, AUDIO, rounds=0)
