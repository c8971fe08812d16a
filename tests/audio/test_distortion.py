import numpy as np
import pytest

from harken.audio.distortion import clip_waveform

RATE = 16_000


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_the_share_of_active_speech_that_was_asked_for_is_cut_off(share: float) -> None:
    samples = np.random.default_rng(0).standard_normal(4 * RATE)
    on = (np.arange(len(samples)) // (RATE // 2)) % 2 == 0
    waveform = np.asarray(samples * np.where(on, 0.1, 1e-5), np.float32)
    clipped = clip_waveform(waveform, share, sample_rate_hz=RATE)
    limit = np.abs(clipped).max()
    assert np.mean(np.abs(waveform[on]) > limit) == pytest.approx(share, abs=1e-4)
    np.testing.assert_array_equal(clipped, np.clip(waveform, -limit, limit))  # the rest is untouched
    assert clipped.dtype == np.float32


@pytest.mark.parametrize("samples", [0, 1, 500])
def test_silence_cannot_be_clipped(samples: int) -> None:
    silence = np.zeros(samples, np.float32)
    assert clip_waveform(silence, 0.1, sample_rate_hz=RATE) is silence


def test_sound_with_few_samples_above_zero_is_not_cut_to_nothing() -> None:
    clicks = np.zeros(1600, np.float32)
    clicks[::50] = np.linspace(0.1, 0.4, 32)
    clipped = clip_waveform(clicks, 0.05, sample_rate_hz=RATE)
    assert clipped[::50] == pytest.approx(0.1)
