"""Many files through one recognizer: in order, and no file lost to another's fault."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.audio import AudioDecodeError
from harken.audio.decode import DecodeLimits
from harken.core import InputError, Transcript, Waveform
from harken.inference import files as room
from harken.inference.files import transcribe_files


class Meter:
    """A recognizer that says how many samples it was given, and refuses what is too long."""

    sample_rate_hz = 16_000

    def __init__(self, *, longest: int = 10**9) -> None:
        self.longest = longest
        self.batches: list[int] = []

    def transcribe(self, audio: "Waveform | str | Path") -> Transcript:
        assert isinstance(audio, np.ndarray)
        return self.transcribe_batch([audio])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        self.batches.append(len(waveforms))
        if max(map(len, waveforms), default=0) > self.longest:
            raise InputError("Audio is too long.")
        return [Transcript(text=str(len(w)), duration_s=len(w) / 16_000) for w in waveforms]


def write(folder: Path, samples: int) -> Path:
    path = folder / f"{samples}.wav"
    soundfile.write(path, np.zeros(samples), 16_000)
    return path


def test_results_come_in_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [write(tmp_path, samples) for samples in (500, 3000, 20, 1000)]
    results = list(transcribe_files(Meter(), paths))
    assert [result.path for result in results] == [str(path) for path in paths]
    assert [result.transcript and result.transcript.text for result in results] == ["500", "3000", "20", "1000"]
    assert [result.error for result in results] == [None] * 4


def test_one_broken_file_gives_its_error_and_stops_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio at all")
    paths = [write(tmp_path, 100), broken, tmp_path / "absent.wav", write(tmp_path, 200)]
    first, second, third, fourth = transcribe_files(Meter(), paths)
    assert first.transcript is not None
    assert first.transcript.text == "100"
    assert fourth.transcript is not None
    assert fourth.transcript.text == "200"
    assert isinstance(second.error, AudioDecodeError)
    assert "broken.wav" in str(second.error)
    assert "absent.wav does not exist" in str(third.error)


def test_a_file_the_recognizer_refuses_is_named_and_stops_nothing(tmp_path: Path) -> None:
    paths = [write(tmp_path, samples) for samples in (100, 5000, 200)]
    first, second, third = transcribe_files(Meter(longest=1000), paths)
    assert first.transcript is not None
    assert first.transcript.text == "100"
    assert third.transcript is not None
    assert third.transcript.text == "200"
    assert second.transcript is None
    assert str(second.error) == f"{paths[1]}: Audio is too long."


def test_only_broken_files_are_all_reported(tmp_path: Path) -> None:
    results = list(transcribe_files(Meter(), [tmp_path / "a.wav", tmp_path / "b.wav"]))
    assert [result.transcript for result in results] == [None, None]
    assert ["a.wav" in str(results[0].error), "b.wav" in str(results[1].error)] == [True, True]


def test_more_files_than_a_window_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WINDOW_FILES", 3)
    paths = [write(tmp_path, samples) for samples in range(100, 800, 100)]
    meter = Meter()
    results = list(transcribe_files(meter, iter(paths)))
    assert [result.path for result in results] == [str(path) for path in paths]
    assert [int(result.transcript.text) for result in results if result.transcript] == list(range(100, 800, 100))
    assert meter.batches == [3, 3, 1]


def test_no_files_give_no_results() -> None:
    assert list(transcribe_files(Meter(), [])) == []


def test_limits_are_the_callers(tmp_path: Path) -> None:
    (result,) = transcribe_files(Meter(), [write(tmp_path, 32_000)], limits=DecodeLimits(max_duration_s=1.0))
    assert isinstance(result.error, AudioDecodeError)
    assert "32000.wav" in str(result.error)
    assert "1.0 s" in str(result.error)
