"""The telephone line: its band, its companding, its delay and level."""

import io

import numpy as np
import pytest
import soundfile

from harken.audio.telephone import compand, telephone

ALL = np.arange(-32_768, 32_768, dtype=np.int32)


@pytest.mark.parametrize(("law", "subtype"), [("mu", "ULAW"), ("a", "ALAW")])
def test_companding_equals_that_of_libsndfile_for_every_sample(law: str, subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, ALL.astype(np.int16), 8_000, format="WAV", subtype=subtype)
    file.seek(0)
    np.testing.assert_array_equal(compand(ALL, law), soundfile.read(file, dtype="int16")[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("law", ["mu", "a"])
def test_companding_knows_256_values_and_changes_none_of_them(law: str) -> None:
    values = np.unique(compand(ALL, law))  # type: ignore[arg-type]
    assert len(values) in (255, 256)  # mu-law has a positive and a negative zero
    np.testing.assert_array_equal(compand(values, law), values)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("law", ["mu", "a"])
def test_tones_pass_inside_the_band_and_no_others(rate: int, law: str) -> None:
    time = np.arange(2 * rate) / rate
    tones = [100, 200, 500, 1_000, 3_000] + ([3_800] if rate == 8_000 else [3_800, 5_000])
    waveform = np.asarray(sum(0.05 * np.sin(2 * np.pi * hz * time) for hz in tones), np.float32)
    heard = telephone(waveform, law=law, sample_rate_hz=rate)  # type: ignore[arg-type]
    before, after = (np.abs(np.fft.rfft(x)) for x in (waveform, heard))
    gains = {hz: 20 * np.log10(after[2 * hz] / before[2 * hz]) for hz in tones}
    assert gains[500] == pytest.approx(gains[1_000], abs=0.5)
    assert gains[500] == pytest.approx(gains[3_000], abs=0.5)
    for hz in tones:
        if not 300 <= hz <= 3_400:
            assert gains[hz] < gains[1_000] - 20, hz
    phases = np.angle(np.fft.rfft(heard) / np.fft.rfft(waveform))[[1_000, 2_000, 6_000]]
    np.testing.assert_allclose(phases, 0, atol=0.01)  # no delay at all
    assert (heard.dtype, heard.shape) == (np.float32, waveform.shape)


@pytest.mark.parametrize("samples", [0, 1, 5, 100])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_tiny_waveforms(samples: int, rate: int) -> None:
    heard = telephone(np.full(samples, 0.1, np.float32), law="mu", sample_rate_hz=rate)
    assert heard.shape == (samples,)
    assert np.isfinite(heard).all()
