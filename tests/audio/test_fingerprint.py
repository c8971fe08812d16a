"""Fingerprints: alike for one recording however it was stored, different for different ones."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from harken.audio.decode import decode_native
from harken.audio.fingerprint import fingerprint
from harken.audio.resample import resample

RATE_HZ = 16_000
SHARED = Path(__file__).parents[3] / "shared" / "data"
Wave = npt.NDArray[np.float32]


def babbling(seed: int, seconds: float = 2.0, rate: int = RATE_HZ) -> Wave:
    """Bands of noise, each with its own random envelope: changes in time as speech does."""
    from scipy.signal import butter, sosfilt

    generator = np.random.default_rng(seed)
    count = round(seconds * rate)
    whole = np.zeros(count)
    for low, high in ((200, 500), (500, 1_200), (1_200, 2_200), (2_200, 3_400)):
        knots = np.linspace(0, count, round(8 * seconds))
        envelope = np.interp(np.arange(count), knots, generator.lognormal(-1, 1.2, len(knots)))
        band = sosfilt(butter(4, (low, high), "band", fs=rate, output="sos"), generator.standard_normal(count))
        whole += envelope * band
    return (0.3 * whole / np.abs(whole).max()).astype(np.float32)


def similarity(one: Wave, other: Wave, rate: int = RATE_HZ, other_rate: int | None = None) -> float:
    first = fingerprint(one, sample_rate_hz=rate)
    second = fingerprint(other, sample_rate_hz=other_rate or rate)
    assert first is not None
    assert second is not None
    return float(first.astype(np.float32) @ second.astype(np.float32))


def stored(waveform: Wave, kind: str, subtype: str) -> Wave:
    memory = io.BytesIO()
    soundfile.write(memory, waveform, RATE_HZ, format=kind, subtype=subtype)
    samples, rate = decode_native(memory.getvalue())
    assert rate == RATE_HZ
    return samples[0]


@pytest.mark.parametrize(
    "changed",
    [
        lambda x: 0.05 * x,
        lambda x: np.clip(x + 0.01, -1, 1),
        lambda x: stored(x, "WAV", "ULAW"),
        lambda x: stored(x, "OGG", "VORBIS"),
        lambda x: stored(x, "OGG", "OPUS"),
        lambda x: stored(x, "MP3", "MPEG_LAYER_III"),
    ],
)
def test_one_recording_stored_in_many_ways(changed: Callable[[Wave], Wave]) -> None:
    for seed in range(3):
        waveform = babbling(seed)
        assert similarity(waveform, changed(waveform).astype(np.float32)) >= 0.995


def test_another_sample_rate() -> None:
    waveform = babbling(0)
    assert similarity(waveform, resample(waveform, from_hz=RATE_HZ, to_hz=8_000), other_rate=8_000) >= 0.995
    assert similarity(waveform, resample(waveform, from_hz=RATE_HZ, to_hz=44_100), other_rate=44_100) >= 0.995


def test_different_or_trimmed_recordings_are_not_alike() -> None:
    waves = [babbling(seed) for seed in range(30)]
    prints = np.stack([fingerprint(wave, sample_rate_hz=RATE_HZ) for wave in waves]).astype(np.float32)
    alike = prints @ prints.T - np.eye(30)
    assert alike.max() < 0.6
    assert similarity(waves[0], waves[0][RATE_HZ // 5 :]) < 0.9


def test_what_hardly_changes_has_none() -> None:
    generator = np.random.default_rng(0)
    t = np.arange(RATE_HZ) / RATE_HZ
    assert fingerprint(np.zeros(RATE_HZ, np.float32), sample_rate_hz=RATE_HZ) is None
    assert fingerprint(np.sin(2 * np.pi * 997 * t).astype(np.float32), sample_rate_hz=RATE_HZ) is None
    assert fingerprint(babbling(0)[:511], sample_rate_hz=RATE_HZ) is None  # one sample less than a frame
    assert fingerprint(babbling(0), sample_rate_hz=6_000) is None
    assert fingerprint(np.zeros(0, np.float32), sample_rate_hz=RATE_HZ) is None
    noises = [generator.normal(0, 0.1, 2 * RATE_HZ).astype(np.float32) for _ in range(20)]
    prints = [found for noise in noises if (found := fingerprint(noise, sample_rate_hz=RATE_HZ)) is not None]
    assert all(float(a.astype(np.float32) @ b) < 0.6 for n, a in enumerate(prints) for b in prints[:n])


def test_length_and_a_single_frame() -> None:
    found = fingerprint(babbling(1), sample_rate_hz=RATE_HZ)
    assert found is not None
    assert (found.shape, found.dtype) == ((384,), np.float16)
    assert float(np.linalg.norm(found.astype(np.float64))) == pytest.approx(1.0, abs=1e-3)
    assert fingerprint(babbling(0)[:512], sample_rate_hz=RATE_HZ) is None  # one frame does not change


@pytest.mark.shared
def test_takes_of_one_word_by_one_speaker_are_not_alike() -> None:
    """2,500 recordings of ten words: about 700,000 pairs of nearly equal length, none the same recording."""
    from harken.data.near_duplicates import find_near_duplicates

    folder = SHARED / "fsdd" / "recordings"
    if not folder.is_dir():
        pytest.skip(f"there are no recordings in {folder}")
    prints, durations = [], []
    for path in sorted(folder.glob("*.wav")):
        samples, rate = decode_native(path)
        found = fingerprint(samples[0], sample_rate_hz=rate)
        assert found is not None
        prints.append(found)
        durations.append(samples.shape[1] / rate)
    assert find_near_duplicates(prints, durations, similarity=0.995) == []
