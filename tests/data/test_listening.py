from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.core import Utterance
from harken.data.listening import listen, listen_to_all

Make = Callable[..., Utterance]
SaveTone = Callable[..., Path]


def test_a_part_of_a_stereo_file_is_heard_as_its_mean(tmp_path: Path, make_utterance: Make) -> None:
    left, right = np.full(16_000, 0.4), np.full(16_000, 0.2)
    left[8_000:], right[8_000:] = 0.1, -0.3
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    heard = listen(make_utterance("a", audio=str(tmp_path / "s.wav"), offset_s=0.5, duration_s=0.25))
    assert (heard.file_s, heard.heard_s, heard.problem) == (1.0, 0.25, ("", ""))
    assert heard.quality is not None
    assert heard.quality.dc_offset == pytest.approx(-0.1, abs=1e-6)
    assert (heard.quality.duration_s, heard.quality.sample_rate_hz) == (0.25, 16_000)


def test_equal_samples_at_another_rate_are_not_equal(tmp_path: Path, make_utterance: Make) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 8_000)
    for rate in (8_000, 16_000):
        soundfile.write(tmp_path / f"{rate}.wav", samples, rate)
    one, two = (
        listen(make_utterance("a", audio=str(tmp_path / f"{rate}.wav"), duration_s=5)) for rate in (8_000, 16_000)
    )
    assert one.digest != two.digest


def test_bad_audio_is_a_problem_and_no_exception(tmp_path: Path, make_utterance: Make) -> None:
    gone = listen(make_utterance("a", audio=str(tmp_path / "gone.wav")))
    assert gone.quality is None
    assert gone.problem[0] == "unreadable"
    assert gone.problem[1].endswith("gone.wav does not exist")


def test_giving_up_stops_the_threads(tmp_path: Path, save_tone: SaveTone, make_utterance: Make) -> None:
    import threading

    path = str(save_tone(tmp_path / "a.wav"))
    items = [make_utterance(f"u{n}", audio=path, duration_s=0.5) for n in range(500)]
    results = listen_to_all(items, threads=3)
    assert next(results)[0].id == "u0"
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("harken-data")]
