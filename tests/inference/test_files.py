"""Many files through one recognizer: in order, and no file lost to another's fault."""

from collections.abc import Iterator, Sequence
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
        self.paths: list[str] = []

    def transcribe(self, audio: "Waveform | str | Path") -> Transcript:
        if not isinstance(audio, np.ndarray):
            self.paths.append(str(audio))
            return Transcript(text=f"read {Path(audio).name}", duration_s=1.0)
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


def test_long_files_are_read_by_the_recognizer_and_keep_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LONG_S", 0.1)
    paths = [write(tmp_path, samples) for samples in (100, 1601, 1600)]
    meter = Meter()
    texts = [result.transcript and result.transcript.text for result in transcribe_files(meter, paths)]
    assert texts == ["100", "read 1601.wav", "1600"]
    assert meter.paths == [str(paths[1])]


def test_a_long_file_that_is_refused_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LONG_S", 0.1)

    class Short(Meter):
        def transcribe(self, audio: "Waveform | str | Path") -> Transcript:
            raise InputError(f"{audio} is too long.")

    first, second = transcribe_files(Short(), [write(tmp_path, 5000), write(tmp_path, 200)])
    assert str(first.error) == f"{first.path} is too long."
    assert second.transcript is not None


def test_a_window_holds_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WINDOW_S", 0.1)
    meter = Meter()
    paths = [write(tmp_path, samples) for samples in (1000, 1001, 1002, 1003, 1004)]
    assert len(list(transcribe_files(meter, paths))) == 5
    assert meter.batches == [2, 2, 1]


def test_no_more_is_decoded_ahead_than_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "READ_AHEAD", 2)
    monkeypatch.setattr(room, "WINDOW_FILES", 1)
    taken: list[int] = []

    def paths() -> Iterator[Path]:
        for samples in range(100, 110):
            taken.append(samples)
            yield write(tmp_path, samples)

    results = transcribe_files(Meter(), paths())
    next(results)
    assert taken == [100, 101, 102]
    results.close()  # type: ignore[attr-defined]
    assert taken == [100, 101, 102]
