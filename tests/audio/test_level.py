"""The active level, held against ITU-T P.56 as the Recommendation describes it."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter

from harken.audio.level import active_power, active_samples, keep_level, within_full_scale

RATE = 16_000
Wave = npt.NDArray[np.float32]


def syllables(seconds: float = 6.0, seed: int = 0) -> Wave:
    """Harmonics in syllables of a quarter of a second with short gaps, a long pause in the middle, a little noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time + k) / k for k in range(1, 20))
    beat = np.clip(np.sin(2 * np.pi * 2.5 * time) + 0.4, 0, None) * ((time < 0.4 * seconds) | (time > 0.6 * seconds))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return np.asarray(0.1 * voice * beat + 1e-4 * noise, np.float32)


def p56_level_db(waveform: Wave) -> float:
    """Method B of ITU-T P.56: envelope by two smoothings of 30 ms, hangover 200 ms, margin 15.9 dB."""
    decay = np.exp(-1 / (0.03 * RATE))
    envelope = lfilter([(1 - decay) ** 2], [1, -2 * decay, decay**2], np.abs(waveform.astype(np.float64)))
    energy, places, before = np.square(waveform, dtype=np.float64).sum(), np.arange(len(waveform)), None
    for halvings in range(24):
        threshold = 2.0**-halvings
        since = places - np.maximum.accumulate(np.where(envelope >= threshold, places, -(10**9)))
        active = np.count_nonzero(since <= 0.2 * RATE)
        if not active:
            continue
        level = 10 * np.log10(energy / active)
        margin = level - 20 * np.log10(threshold)
        if before and before[0] < 15.9 <= margin:
            share = (15.9 - before[0]) / (margin - before[0])
            return float(before[1] + share * (level - before[1]))
        before = (margin, level)
    raise AssertionError("no level")


def test_the_level_is_near_that_of_p56_and_never_under_it() -> None:
    """P.56 counts gaps under 200 ms as speech, frames do not; so frames come out up to 3 dB higher."""
    waveform = syllables()
    level = 10 * np.log10(active_power(waveform, sample_rate_hz=RATE))
    assert 0 <= level - p56_level_db(waveform) < 3


def test_silence_around_speech_does_not_lower_its_level() -> None:
    waveform = syllables()
    longer = np.concatenate([np.zeros(5 * RATE, np.float32), waveform, np.zeros(5 * RATE, np.float32)])
    assert active_power(longer, sample_rate_hz=RATE) == pytest.approx(active_power(waveform, sample_rate_hz=RATE))
    assert not active_samples(longer, sample_rate_hz=RATE)[: 5 * RATE].any()


def test_the_level_is_brought_back() -> None:
    waveform = syllables()
    for gain in (0.01, 0.5, 3.0):
        kept = keep_level(np.float32(gain) * waveform, waveform, sample_rate_hz=RATE)
        np.testing.assert_allclose(kept, waveform, rtol=1e-5, atol=1e-9)
        assert kept.dtype == np.float32


def test_full_scale_is_kept_by_the_whole() -> None:
    loud = np.array([0.5, -2.0, 1.0], np.float32)
    np.testing.assert_array_equal(within_full_scale(loud), np.array([0.25, -1.0, 0.5], np.float32))
    quiet = loud / 4
    assert within_full_scale(quiet) is quiet


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_silence_has_no_level_and_stays(samples: int) -> None:
    silence = np.zeros(samples, np.float32)
    assert active_power(silence, sample_rate_hz=RATE) == 0
    np.testing.assert_array_equal(keep_level(silence, syllables()[:samples], sample_rate_hz=RATE), silence)
