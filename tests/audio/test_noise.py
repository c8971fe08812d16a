"""Noise with the spectrum of speech, and the ratio at which noise is added, recomputed by hand."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import welch

from harken.audio.level import active_samples
from harken.audio.noise import SPEECH_BANDS_DB, SPEECH_BANDS_HZ, add_noise, generate_noise

Wave = npt.NDArray[np.float32]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_speech_noise_has_the_published_level_in_every_third_of_an_octave(rate: int) -> None:
    noise = generate_noise(60 * rate, "speech", sample_rate_hz=rate, generator=np.random.default_rng(3))
    assert noise.dtype == np.float32
    hz, density = welch(noise, rate, nperseg=rate)  # bins of 1 Hz
    centres = np.array([f for f in SPEECH_BANDS_HZ if 100 <= f <= 0.8 * rate / 2])
    edges = 2 ** (1 / 6)
    measured = np.array([density[(hz >= c / edges) & (hz < c * edges)].sum() for c in centres])
    published = np.array(SPEECH_BANDS_DB[SPEECH_BANDS_HZ.index(100) :][: len(centres)])
    difference = 10 * np.log10(measured) - published
    np.testing.assert_allclose(difference - difference.mean(), 0, atol=1.0)
    assert density[hz < 50].max() < density.max() * 1e-3


def test_the_ratio_holds_where_speech_is_in_noise_already() -> None:
    """What counts is the noise that is added, over the samples that are active before it is."""
    generator = np.random.default_rng(4)
    on = np.arange(64_000) // 8_000 % 2 == 0
    recorded = np.asarray(generator.standard_normal(64_000) * np.where(on, 0.1, 0.005), np.float32)
    for snr_db in (5.0, 20.0):
        noise = generate_noise(64_000, "speech", sample_rate_hz=16_000, generator=generator)
        mix = add_noise(recorded, noise, snr_db=snr_db, sample_rate_hz=16_000)
        added = mix.astype(np.float64) - recorded
        ratio = np.square(recorded[on], dtype=np.float64).sum() / np.square(added[on]).sum()
        assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.02)
    np.testing.assert_array_equal(active_samples(recorded, sample_rate_hz=16_000), on)


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
def test_tiny_speech_noise(samples: int) -> None:
    noise = generate_noise(samples, "speech", sample_rate_hz=16_000, generator=np.random.default_rng(0))
    assert noise.shape == (samples,)
    assert np.isfinite(noise).all()
