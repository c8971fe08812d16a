import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.core import Utterance
from harken.data.quality_stats import MEASURES, listen_and_summarize

Make = Callable[..., Utterance]


@pytest.fixture
def items(tmp_path: Path, make_utterance: Make) -> list[Utterance]:
    """Ten noises at falling levels (the first clipped, the last at 8 kHz), one silent and one that is absent."""
    generator = np.random.default_rng(0)
    made = []
    for n in range(10):
        samples = generator.normal(0, 1, 16_000) * (2.0 if n == 0 else 10 ** (-(20 + n) / 20))
        rate = 8_000 if n == 9 else 16_000
        soundfile.write(tmp_path / f"{n}.wav", np.clip(samples, -1, 1), rate)
        made.append(make_utterance(f"u{n}", audio=str(tmp_path / f"{n}.wav"), duration_s=16_000 / rate))
    soundfile.write(tmp_path / "zero.wav", np.zeros(4_000), 16_000)
    made.append(make_utterance("zero", audio=str(tmp_path / "zero.wav"), duration_s=0.25))
    return [*made, make_utterance("gone", audio=str(tmp_path / "gone.wav"))]


def test_totals_and_values(items: list[Utterance]) -> None:
    stats = listen_and_summarize(iter(items))
    assert (stats.utterances, stats.duration_s) == (11, pytest.approx(11.25))
    assert stats.sample_rates_hz == {16_000: 10, 8_000: 1}
    assert [(rejection.item, rejection.reason.split("/")[-1]) for rejection in stats.unreadable] == [
        ("gone", "gone.wav does not exist")
    ]
    assert (stats.silent, stats.clipped) == (1, 1)
    assert list(stats.values) == list(MEASURES)
    assert all(len(values) == 11 for values in stats.values.values())
    levels = stats.known("loudness_lufs")
    assert len(levels) == 10  # none of silence
    np.testing.assert_allclose(np.diff(levels[1:9]), -1.0, atol=0.15)  # made to fall by 1 dB each
    assert stats.known("bandwidth_hz").max() == 8_000
    assert np.isnan(stats.values["bandwidth_hz"][10])
    assert stats.known("peak_db")[0] == 0.0


def test_it_can_be_printed_and_saved(items: list[Utterance]) -> None:
    stats = listen_and_summarize(items)
    data = json.loads(json.dumps(stats.as_json(), allow_nan=False))
    assert data["sample_rates_hz"] == {"16000": 10, "8000": 1}
    loudness = data["measures"]["loudness_lufs"]
    assert loudness["known"] == sum(loudness["histogram"]["counts"]) == 10
    assert loudness["p50"] == pytest.approx(float(np.median(stats.known("loudness_lufs"))), abs=1e-3)
    lines = {line[:22].strip(): line[23:] for line in stats.table().splitlines()}
    assert lines["sample rate"] == "16,000 Hz (10), 8,000 Hz (1)"
    assert lines["unreadable"].startswith("1, the first is gone: ")
    assert lines["loudness"].endswith("; unknown for 1")
    most = float(lines["clipping"].removeprefix("in 1, at most ").removesuffix("% of the samples")) / 100
    over = 0.3085  # of a normal law lies above half its standard deviation; runs of three or more count
    assert most == pytest.approx(2 * over**3 * (3 - 2 * over), abs=0.01)
    assert lines["without any sound"] == "1"


def test_threads_do_not_change_it(items: list[Utterance]) -> None:
    one, three = (listen_and_summarize(items * 3, threads=threads) for threads in (1, 3))
    assert json.dumps(one.as_json()) == json.dumps(three.as_json())


def test_nothing_to_hear(make_utterance: Make) -> None:
    for items in ([], [make_utterance("a")]):
        stats = listen_and_summarize(items)
        assert (stats.utterances, stats.sample_rates_hz, stats.clipped) == (0, {}, 0)
        assert json.loads(json.dumps(stats.as_json()))["measures"]["snr_db"]["known"] == 0
        assert "unknown" in stats.table()
