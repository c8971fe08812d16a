"""Measures of quality on signals whose quality is known."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harken.audio.quality import AudioQuality, measure_quality, peak_normalize
from harken.core import InputError

RATE_HZ = 16_000
SHARED = Path(__file__).parents[3] / "shared" / "data"


def measure(samples: npt.NDArray[np.floating]) -> AudioQuality:
    return measure_quality(samples.astype(np.float32), sample_rate_hz=RATE_HZ)


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.5) -> npt.NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


def speechlike(generator: np.random.Generator, seconds: float = 10.0) -> tuple[npt.NDArray[np.float64], npt.NDArray]:
    """Harmonics of a gliding voice in syllables with pauses, a third of the time silent; and where it is not."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    gate = np.zeros(len(t))
    position = 0
    while position < len(t):
        on, off = (round(RATE_HZ * generator.uniform(*span)) for span in ((0.15, 0.6), (0.08, 0.3)))
        gate[position : position + on] = np.hanning(on)[: len(t) - position] ** 0.3
        position += on + off
    return voice * gate, gate > 0


def test_levels() -> None:
    quality = measure(tone(440) + 0.1)
    assert quality.duration_s == 1.0
    assert quality.peak_db == pytest.approx(20 * math.log10(0.6), abs=0.01)
    assert quality.rms_db == pytest.approx(10 * math.log10(0.5**2 / 2 + 0.1**2), abs=0.01)
    assert quality.dc_offset == pytest.approx(0.1, abs=1e-5)


def test_clipping_counts_runs_at_full_scale() -> None:
    samples = tone(100, amplitude=0.5)
    samples[1000:1010] = 1.0
    samples[2000:2005] = -1.0
    samples[3000] = 1.0  # a single one is what peak normalisation leaves
    samples[4000:4002] = -1.0
    assert measure(samples).clipped_share == pytest.approx(15 / 16_000)
    assert measure(tone(100)).clipped_share == 0.0
    assert measure(np.clip(tone(100, amplitude=5.0), -1, 1)).clipped_share > 0.8


def test_clipping_is_seen_after_the_level_was_lowered() -> None:
    cut = np.clip(tone(100, amplitude=5.0), -1, 1)
    assert measure(0.3 * cut).clipped_share == pytest.approx(measure(cut).clipped_share, abs=1e-3)
    assert measure(0.3 * cut - 0.02).clipped_share > 0.8  # and after its ends were moved apart
    one_sided = np.minimum(tone(100), 0.2)
    assert measure(one_sided).clipped_share == pytest.approx(float((one_sided == 0.2).mean()), abs=1e-4)
    few = tone(100, amplitude=0.5) * np.linspace(1, 0.2, RATE_HZ)
    few[100:106] = 0.6  # one flat peak, as the loudest one of an 8-bit recording has
    assert measure(few).clipped_share == 0.0


def test_silence_at_the_edges() -> None:
    sound = tone(440, 0.5)
    quality = measure(np.concatenate([np.zeros(RATE_HZ), sound, np.zeros(RATE_HZ // 4), sound, np.zeros(RATE_HZ // 2)]))
    assert (quality.leading_silence_s, quality.trailing_silence_s) == pytest.approx((1.0, 0.5), abs=0.03)
    assert quality.silence_share == pytest.approx(1.75 / 2.75, abs=0.01)
    plain = measure(sound)
    assert (plain.leading_silence_s, plain.trailing_silence_s) == (0.0, 0.0)
    nothing = measure(np.zeros(RATE_HZ))
    assert (nothing.leading_silence_s, nothing.trailing_silence_s) == (1.0, 0.0)


def test_a_constant_offset_is_neither_sound_nor_noise() -> None:
    speech, _ = speechlike(np.random.default_rng(3))
    noisy = 0.05 * (speech + 0.05 * np.random.default_rng(4).standard_normal(len(speech)))
    padded = np.concatenate([np.zeros(RATE_HZ), noisy])
    plain, moved = measure(padded), measure(padded + 0.1)
    assert moved.dc_offset == pytest.approx(plain.dc_offset + 0.1, abs=1e-6)
    assert moved.snr_db == pytest.approx(plain.snr_db, abs=0.01)
    assert moved.leading_silence_s == plain.leading_silence_s == pytest.approx(1.0, abs=0.04)
    assert measure(np.full(RATE_HZ, 0.3)).silence_share == 1.0


def test_silence_is_a_share_of_the_frames() -> None:
    assert measure(np.concatenate([tone(440), np.zeros(3 * RATE_HZ)])).silence_share == pytest.approx(0.75, abs=0.01)
    assert measure(tone(440)).silence_share == 0.0
    # 39 dB below the loudest is not silent, 41 dB below is
    for below_db, share in ((39, 0.0), (41, 0.5)):
        quiet = tone(440, amplitude=0.5 * 10 ** (-below_db / 20))
        assert measure(np.concatenate([tone(440), quiet])).silence_share == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("hertz", [1_000, 3_400, 7_000])
def test_bandwidth_is_where_the_spectrum_ends(hertz: int) -> None:
    from scipy.signal import firwin, lfilter

    noise = np.random.default_rng(0).standard_normal(4 * RATE_HZ) * 0.1
    limited = lfilter(firwin(801, hertz, fs=RATE_HZ, window=("kaiser", 10.0)), 1, noise)
    assert measure(limited).bandwidth_hz == pytest.approx(hertz, abs=150)
    assert measure(noise).bandwidth_hz == pytest.approx(8_000, abs=20)


@pytest.mark.parametrize("samples", [1, 2, 700, 1_024, 1_536, 40_001])
def test_bandwidth_is_that_of_welchs_method_in_scipy(samples: int) -> None:
    from scipy.signal import butter, sosfilt, welch

    noise = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    slope = sosfilt(butter(8, 2_000, fs=RATE_HZ, output="sos"), noise).astype(np.float32)
    frequencies, power = welch(slope, RATE_HZ, nperseg=min(1_024, samples))
    expected = frequencies[np.flatnonzero(power >= power.max() * 1e-5)[-1]] if power.max() > 0 else 0.0
    assert measure(slope).bandwidth_hz == pytest.approx(float(expected), abs=2 * RATE_HZ / min(1_024, samples))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 25, 30])
def test_snr_of_speech_with_pauses_in_white_noise(snr_db: float, seed: int) -> None:
    """Within 3 dB, against the power of the speech where it is active over the power of the noise."""
    generator = np.random.default_rng(seed)
    speech, active = speechlike(generator)
    noise = generator.standard_normal(len(speech))
    noise *= np.sqrt(np.mean(speech[active] ** 2) / np.mean(noise**2) * 10 ** (-snr_db / 10))
    mixture = speech + noise
    found = measure(0.5 * mixture / np.abs(mixture).max()).snr_db
    assert found == pytest.approx(snr_db, abs=3.0)


def test_snr_is_none_where_it_cannot_be_known() -> None:
    generator = np.random.default_rng(0)
    speech, _ = speechlike(generator, 3.0)
    barely = 1e-6 * generator.standard_normal(len(speech))  # pauses below the step of 16 bits
    assert measure(0.3 * speech / np.abs(speech).max() + barely).snr_db is None
    assert measure(0.1 * generator.standard_normal(19 * 320)).snr_db is None  # too short
    assert measure(np.zeros(RATE_HZ)).snr_db is None


def test_digital_silence_is_no_pause() -> None:
    generator = np.random.default_rng(2)
    speech, _ = speechlike(generator)
    noisy = 0.1 * (speech + 0.1 * generator.standard_normal(len(speech)))
    padded = np.concatenate([np.zeros(5 * RATE_HZ), noisy, np.zeros(5 * RATE_HZ)])
    assert measure(padded).snr_db == pytest.approx(measure(noisy).snr_db, abs=0.2)


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [10, 15, 20, 25])
def test_snr_of_recorded_speech_in_steady_noise(snr_db: float, kind: str) -> None:
    """The quietest speaker of the digits, clips joined by pauses; the ratio is set over active speech (ITU-T P.56)."""
    from harken.audio.decode import decode_audio
    from harken.audio.noise import add_noise, generate_noise

    folder = SHARED / "fsdd" / "recordings"
    if not folder.is_dir():
        pytest.skip(f"there are no recordings in {folder}")
    pause = np.zeros(round(0.3 * RATE_HZ), np.float32)
    errors = []
    for take in range(4):
        clips = [decode_audio(folder / f"{digit}_jackson_{take}.wav") for digit in range(10)]
        speech = np.concatenate([piece for clip in clips for piece in (clip, pause)])
        noise = generate_noise(
            len(speech),
            kind,
            sample_rate_hz=RATE_HZ,
            generator=np.random.default_rng(take),  # type: ignore[arg-type]
        )
        mixture = add_noise(speech, noise, snr_db=snr_db, sample_rate_hz=RATE_HZ)
        found = measure(mixture).snr_db
        assert found is not None
        errors.append(found - snr_db)
    assert max(map(abs, errors)) <= 3.0, errors


def test_noise_alone_has_no_signal() -> None:
    found = measure(0.1 * np.random.default_rng(0).standard_normal(5 * RATE_HZ)).snr_db
    assert found is not None
    assert found <= 3.0


def test_silence_and_nothing() -> None:
    silent = measure(np.zeros(RATE_HZ))
    assert (silent.peak_db, silent.rms_db, silent.silence_share, silent.bandwidth_hz) == (
        -math.inf,
        -math.inf,
        1.0,
        0.0,
    )
    assert (silent.loudness_lufs, silent.sample_rate_hz) == (None, RATE_HZ)
    nothing = measure(np.zeros(0))
    assert (nothing.duration_s, nothing.peak_db, nothing.silence_share) == (0.0, -math.inf, 1.0)
    single = measure(np.array([0.5]))
    assert single.peak_db == single.rms_db == pytest.approx(-6.02, abs=0.01)


def test_samples_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="1 samples that are NaN or infinite"):
        measure(np.array([0.1, np.nan, 0.2]))


def test_peak_normalize() -> None:
    waveform = np.array([0.1, -0.4, 0.2], dtype=np.float32)
    np.testing.assert_allclose(peak_normalize(waveform, peak_db=0.0), [0.25, -1.0, 0.5], rtol=1e-6)
    assert np.abs(peak_normalize(waveform)).max() == pytest.approx(10 ** (-1 / 20))
    silence = np.zeros(3, dtype=np.float32)
    np.testing.assert_array_equal(peak_normalize(silence), silence)
    assert len(peak_normalize(np.zeros(0, dtype=np.float32))) == 0
    assert peak_normalize(waveform).dtype == np.float32
    with pytest.raises(ValueError, match=r"peak_db is 1\.0; use 0 or less"):
        peak_normalize(waveform, peak_db=1.0)
