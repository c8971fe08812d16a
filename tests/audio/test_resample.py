"""Resampling against SciPy's polyphase filter, and what must not come through."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from harken.audio.resample import StreamResampler, resample, resampled_samples


def band_limited(seconds: float, rate_hz: int) -> np.ndarray:
    """Noise-like sum of tones up to 2.5 kHz, faded at both ends: representable at every rate below."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    generator = np.random.default_rng(0)
    tones = [
        np.sin(2 * np.pi * hertz * t + phase)
        for hertz, phase in zip(generator.uniform(100, 2500, 40), generator.uniform(0, 6, 40), strict=True)
    ]
    return (np.sum(tones, axis=0) * np.hanning(len(t)) / 40).astype(np.float32)


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "up", "down"),
    [(48_000, 16_000, 1, 3), (44_100, 16_000, 160, 441), (8_000, 16_000, 2, 1), (16_000, 8_000, 1, 2)],
)
def test_equals_scipy_in_the_band(from_hz: int, to_hz: int, up: int, down: int) -> None:
    waveform = band_limited(1.0, from_hz)
    ours, theirs = resample(waveform, from_hz=from_hz, to_hz=to_hz), resample_poly(waveform, up, down)
    assert ours.dtype == np.float32
    assert len(ours) == to_hz
    assert np.abs(ours - theirs[: len(ours)]).max() < 2e-3 * np.abs(waveform).max()
    assert np.abs(ours - band_limited(1.0, to_hz)).max() < 1e-3 * np.abs(waveform).max()  # no delay either


@pytest.mark.parametrize("hertz", [9_000, 10_000, 15_000, 20_000])
def test_what_the_lower_rate_cannot_hold_is_removed(hertz: int) -> None:
    """Keeping every third sample would bring a 10 kHz tone back at 6 kHz, at full strength."""
    t = np.arange(48_000) / 48_000
    tone = (np.sin(2 * np.pi * hertz * t) * np.hanning(48_000)).astype(np.float32)
    left = np.abs(resample(tone, from_hz=48_000, to_hz=16_000)).max()
    assert 20 * np.log10(left) < -80
    assert np.abs(tone[::3]).max() > 0.9


@pytest.mark.parametrize(
    ("samples", "from_hz", "to_hz"), [(1, 8_000, 16_000), (7, 44_100, 16_000), (441, 44_100, 16_000)]
)
def test_number_of_samples(samples: int, from_hz: int, to_hz: int) -> None:
    waveform = np.ones(samples, dtype=np.float32)
    assert len(resample(waveform, from_hz=from_hz, to_hz=to_hz)) == round(samples * to_hz / from_hz)


def test_equal_rates_give_the_same_array_back_and_nothing_gives_nothing() -> None:
    waveform, nothing = np.ones(5, dtype=np.float32), np.zeros(0, dtype=np.float32)
    assert resample(waveform, from_hz=16_000, to_hz=16_000) is waveform
    assert resample(nothing, from_hz=8_000, to_hz=16_000).shape == (0,)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(0, 16_000), (16_000, -1)])
def test_rates_have_to_be_above_zero(from_hz: int, to_hz: int) -> None:
    with pytest.raises(ValueError, match=f"the rates are {from_hz} and {to_hz} Hz; use whole numbers above 0"):
        resample(np.ones(5, dtype=np.float32), from_hz=from_hz, to_hz=to_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (16_000, 16_000)])
@pytest.mark.parametrize("piece", [1_000, 4_096, 100_000])
def test_pieces_together_equal_one_call(from_hz: int, to_hz: int, piece: int) -> None:
    waveform = np.random.default_rng(1).uniform(-1, 1, from_hz).astype(np.float32)
    stream = StreamResampler(from_hz=from_hz, to_hz=to_hz)
    pieces = [stream.push(waveform[start : start + piece]) for start in range(0, len(waveform), piece)]
    together = np.concatenate([*pieces, stream.finish()])
    assert np.array_equal(together, resample(waveform, from_hz=from_hz, to_hz=to_hz))
    assert len(together) == resampled_samples(len(waveform), from_hz=from_hz, to_hz=to_hz)


def test_more_than_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"waveform has the shape \(2, 5\); use one channel"):
        resample(np.ones((2, 5), dtype=np.float32), from_hz=8_000, to_hz=16_000)
