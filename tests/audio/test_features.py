"""Features against the implementations they claim to match, and against a slow float64 version."""

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.audio.features import (
    FeatureConfig,
    FeatureExtractor,
    KaldiConfig,
    MfccConfig,
    NemoConfig,
    check_features,
    normalize_features,
)
from harken.core import InputError, dump_settings, parse_settings

Array = npt.NDArray[Any]
RATE = 16_000

EVERY_KIND = {
    "kaldi": FeatureConfig(),
    "kaldi-mirrored": FeatureConfig(kaldi=KaldiConfig(snip_edges=False)),
    "whisper": FeatureConfig(kind="whisper"),
    "nemo": FeatureConfig(kind="nemo"),
    "nemo-1": FeatureConfig(kind="nemo", nemo=NemoConfig(pad_mode="reflect")),
    "mfcc": FeatureConfig(kind="mfcc", dimensions=13),
    "waveform": FeatureConfig(kind="waveform", dimensions=1),
}


def speech_like(samples: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Harmonics of a gliding pitch, in syllables, over noise and a constant offset; every band within 50 dB."""
    generator = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    phase = 2 * np.pi * (120 * time + 15 * np.sin(2 * np.pi * 0.7 * time))
    voice = sum(np.sin(k * phase + k) / k for k in range(1, 50)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * time))
    return np.asarray(0.1 * voice + 0.01 * generator.standard_normal(samples) + 0.01, np.float32)


def assert_same_logs(ours: Array, theirs: Array, atol: float = 1e-4) -> None:
    """Equal to `atol` within 50 dB of the loudest filter of the frame, to ten times that in float32's rounding."""
    assert ours.shape == theirs.shape
    loud = theirs > theirs.max(axis=1, keepdims=True) - 5 * np.log(10)
    np.testing.assert_allclose(ours[loud], theirs[loud], atol=atol, rtol=0)
    np.testing.assert_allclose(ours[~loud], theirs[~loud], atol=10 * atol, rtol=0)


def kaldi_frames(computer: Any, waveform: Array) -> Array:
    computer.accept_waveform(RATE, (waveform * 32768).tolist())
    computer.input_finished()
    return np.array([computer.get_frame(index) for index in range(computer.num_frames_ready)])


def kaldi_fbank(waveform: Array, *, mels: int = 80, snip_edges: bool = True) -> Array:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = snip_edges
    options.mel_opts.num_bins = mels
    return kaldi_frames(knf.OnlineFbank(options), waveform)


def slow_kaldi_fbank(waveform: Array, mels: int = 80) -> Array:
    """Frame by frame in float64, as feature-window.cc and mel-computations.cc read."""
    samples = waveform.astype(np.float64) * 32768
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85

    def mel(hz: Array | float) -> Array:
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = mel(20.0) + (mel(8000.0) - mel(20.0)) / (mels + 1) * np.arange(mels + 2)
    bins = mel(np.arange(256) * RATE / 512)
    rows = []
    for first in range(0, len(samples) - 399, 160):
        frame = samples[first : first + 400] - samples[first : first + 400].mean()
        frame = (frame - 0.97 * np.concatenate((frame[:1], frame[:-1]))) * window
        power = np.abs(np.fft.rfft(frame, 512))[:256] ** 2
        row = []
        for left, centre, right in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            weight = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
            row.append(power @ np.maximum(weight, 0))
        rows.append(row)
    return np.log(np.maximum(rows, np.finfo(np.float32).eps))


# --- kaldi


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("samples", [400, 401, 480, 559, 560, 12_345, 16_000, 48_077])
def test_kaldi_equals_kaldi_native_fbank(samples: int, snip_edges: bool) -> None:
    waveform = speech_like(samples)
    ours = FeatureExtractor(FeatureConfig(kaldi=KaldiConfig(snip_edges=snip_edges)))(waveform)
    theirs = kaldi_fbank(waveform, snip_edges=snip_edges)
    assert_same_logs(ours, theirs)


def test_kaldi_equals_a_slow_float64_version_over_many_blocks() -> None:
    waveform = speech_like(10 * RATE + 17)
    exact = slow_kaldi_fbank(waveform)
    assert_same_logs(FeatureExtractor(FeatureConfig())(waveform), exact)


def test_kaldi_is_closer_to_float64_than_kaldi_native_fbank() -> None:
    waveform = speech_like(3 * RATE)
    exact = slow_kaldi_fbank(waveform)
    ours = np.abs(FeatureExtractor(FeatureConfig())(waveform) - exact)
    theirs = np.abs(kaldi_fbank(waveform) - exact)
    assert ours.mean() < 0.5 * theirs.mean()
    assert ours.max() < theirs.max()


@pytest.mark.parametrize("mels", [23, 40, 128])
def test_kaldi_with_other_numbers_of_mels(mels: int) -> None:
    waveform = speech_like(8_000)
    ours = FeatureExtractor(FeatureConfig(dimensions=mels))(waveform)
    # At 128, one bin may be a whole filter, and theirs has its weight from mel values rounded to float32.
    assert_same_logs(ours, kaldi_fbank(waveform, mels=mels), atol=5e-4 if mels == 128 else 1e-4)


def test_a_large_constant_offset_changes_nothing() -> None:
    waveform = speech_like(RATE) - np.float32(0.01)
    extractor = FeatureExtractor(FeatureConfig())
    np.testing.assert_allclose(extractor(waveform + np.float32(0.5)), extractor(waveform), atol=2e-3)


# --- mfcc


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize(
    ("coefficients", "settings"),
    [(13, MfccConfig()), (13, MfccConfig(use_energy=False)), (40, MfccConfig(mel_bins=40, use_energy=False)),
     (20, MfccConfig(mel_bins=30, lifter=0.0)), (13, MfccConfig(energy_floor=1e6))],
)  # fmt: skip
def test_mfcc_equals_kaldi_native_fbank(coefficients: int, settings: MfccConfig, snip_edges: bool) -> None:
    knf = pytest.importorskip("kaldi_native_fbank")
    waveform = speech_like(20_011)
    options = knf.MfccOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = snip_edges
    options.mel_opts.num_bins = settings.mel_bins
    options.num_ceps = coefficients
    options.use_energy = settings.use_energy
    options.energy_floor = settings.energy_floor
    options.cepstral_lifter = settings.lifter
    theirs = kaldi_frames(knf.OnlineMfcc(options), waveform)
    config = FeatureConfig(
        kind="mfcc", dimensions=coefficients, mfcc=settings, kaldi=KaldiConfig(snip_edges=snip_edges)
    )
    ours = FeatureExtractor(config)(waveform)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(
        ours, theirs, atol=3e-4 if settings.lifter else 1e-4
    )  # the lifter multiplies by up to 12


# --- whisper


@pytest.fixture(scope="module")
def whisper_rivals() -> dict[int, Any]:
    transformers = pytest.importorskip("transformers")
    return {mels: transformers.WhisperFeatureExtractor(feature_size=mels) for mels in (80, 128)}


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [401, 16_000, 77_777])
def test_whisper_equals_transformers_without_padding(whisper_rivals: dict[int, Any], samples: int, mels: int) -> None:
    waveform = speech_like(samples)
    theirs = whisper_rivals[mels](waveform, sampling_rate=RATE, padding="do_not_pad", return_tensors="np")
    ours = FeatureExtractor(FeatureConfig(kind="whisper", dimensions=mels))(waveform)
    np.testing.assert_allclose(ours, theirs.input_features[0].T, atol=1e-4)
    exact = whisper_rivals[mels]._np_extract_fbank_features([waveform], "cpu")[0].T  # its own float64 road
    np.testing.assert_allclose(ours, exact, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 5_000, 100_001, 480_000])
def test_whisper_padded_to_30_s_equals_transformers(whisper_rivals: dict[int, Any], samples: int) -> None:
    waveform = speech_like(samples)
    theirs = whisper_rivals[80](waveform, sampling_rate=RATE, return_tensors="np").input_features[0].T
    ours = FeatureExtractor(FeatureConfig(kind="whisper", pad_to_s=30.0))(waveform)
    assert ours.shape == (3000, 80)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_whisper_keeps_audio_longer_than_its_padding() -> None:
    extractor = FeatureExtractor(FeatureConfig(kind="whisper", pad_to_s=1.0))
    assert extractor(speech_like(24_000)).shape == (150, 80) == (extractor.frame_count(24_000), 80)


# --- nemo


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [4_800, 16_000, 48_211])
def test_nemo_equals_the_feature_extractor_of_parakeet(samples: int, mels: int) -> None:
    transformers = pytest.importorskip("transformers")
    rival = transformers.ParakeetFeatureExtractor(feature_size=mels)
    waveform = speech_like(samples)
    theirs = rival(waveform, sampling_rate=RATE, return_tensors="np")
    frames = int(theirs.attention_mask.sum())
    ours = FeatureExtractor(FeatureConfig(kind="nemo", dimensions=mels, normalize="per-feature"))(waveform)
    assert len(ours) == frames
    np.testing.assert_allclose(ours, theirs.input_features[0][:frames], atol=1e-4)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_nemo_equals_the_published_pipeline_in_float64(pad_mode: Any) -> None:
    torch = pytest.importorskip("torch")
    audio_utils = pytest.importorskip("transformers.audio_utils")
    waveform = speech_like(30_000)
    signal = torch.from_numpy(waveform.astype(np.float64))[None]
    signal = torch.cat((signal[:, :1], signal[:, 1:] - 0.97 * signal[:, :-1]), dim=1)
    window = torch.hann_window(400, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(signal, 512, 160, 400, window=window, center=True, pad_mode=pad_mode, return_complex=True)
    filters = audio_utils.mel_filter_bank(257, 80, 0, 8000, RATE, norm="slaney", mel_scale="slaney")
    expected = np.log(filters.T @ spectrum[0].abs().numpy() ** 2 + 2.0**-24).T
    ours = FeatureExtractor(FeatureConfig(kind="nemo", nemo=NemoConfig(pad_mode=pad_mode)))(waveform)
    assert len(ours) == 30_000 // 160 + (pad_mode == "reflect")  # NeMo 2 leaves the last one out
    np.testing.assert_allclose(ours, expected[: len(ours)], atol=1e-4)


# --- waveform and normalisation


def test_waveform_equals_wav2vec2() -> None:
    transformers = pytest.importorskip("transformers")
    waveform = speech_like(12_345)
    theirs = transformers.Wav2Vec2FeatureExtractor()(waveform, sampling_rate=RATE).input_values[0]
    config = FeatureConfig(kind="waveform", dimensions=1, normalize="mean-scale")
    np.testing.assert_allclose(FeatureExtractor(config)(waveform)[:, 0], theirs, atol=1e-4)
    raw = FeatureExtractor(EVERY_KIND["waveform"])(waveform)
    np.testing.assert_array_equal(raw[:, 0], waveform)
    assert raw.base is not waveform


def test_normalisations_by_hand() -> None:
    features = np.array([[1, 10], [3, 10], [5, 40]], np.float32)
    centred = np.array([[-2, -10], [0, -10], [2, 20]], np.float64)
    np.testing.assert_allclose(normalize_features(features.copy(), "none"), features)
    np.testing.assert_allclose(normalize_features(features.copy(), "mean"), centred, atol=1e-6)
    np.testing.assert_allclose(
        normalize_features(features.copy(), "mean-scale"), centred / np.sqrt((centred**2).mean()), rtol=1e-6
    )
    deviations = np.array([2.0, np.sqrt(600 / 2)]) + 1e-5
    np.testing.assert_allclose(normalize_features(features.copy(), "per-feature"), centred / deviations, rtol=1e-6)


@pytest.mark.parametrize("normalize", ["none", "mean", "mean-scale", "per-feature"])
@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("samples", [0, 1, 2, 79, 80, 159, 160, 161, 399, 400, 4_000])
def test_silence_of_any_length_gives_finite_features(name: str, normalize: Any, samples: int) -> None:
    config = EVERY_KIND[name]
    if name == "waveform" and normalize == "per-feature":
        return
    settings = dump_settings(config) | {"normalize": normalize}
    extractor = FeatureExtractor(parse_settings(FeatureConfig, settings, source="test"))
    features = extractor(np.zeros(samples, np.float32))
    assert features.shape == (extractor.frame_count(samples), config.dimensions)
    assert np.isfinite(features).all()
    if normalize != "none":
        np.testing.assert_allclose(features, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "samples", "frames"),
    [("kaldi", 399, 0), ("kaldi", 400, 1), ("kaldi", 559, 1), ("kaldi", 560, 2), ("kaldi", 16_000, 98),
     ("kaldi-mirrored", 79, 0), ("kaldi-mirrored", 80, 1), ("kaldi-mirrored", 16_000, 100),
     ("whisper", 0, 0), ("whisper", 1, 0), ("whisper", 159, 0), ("whisper", 160, 1), ("whisper", 16_000, 100),
     ("nemo", 159, 0), ("nemo", 160, 1), ("nemo-1", 0, 0), ("nemo-1", 1, 1), ("nemo-1", 160, 2),
     ("waveform", 1, 1), ("mfcc", 400, 1)],
)  # fmt: skip
def test_frame_counts_of_the_documentation(name: str, samples: int, frames: int) -> None:
    assert FeatureExtractor(EVERY_KIND[name]).frame_count(samples) == frames


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(EVERY_KIND)), samples=st.integers(0, 90_000), seed=st.integers(0, 9))
def test_frame_count_is_exact(name: str, samples: int, seed: int) -> None:
    extractor = FeatureExtractor(EVERY_KIND[name])
    waveform = np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)
    assert extractor(waveform).shape == (extractor.frame_count(samples), extractor.dimensions)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100])
def test_other_sample_rates(rate: int) -> None:
    knf = pytest.importorskip("kaldi_native_fbank")
    waveform = speech_like(rate)
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = rate
    options.mel_opts.num_bins = 40
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(rate, (waveform * 32768).tolist())
    computer.input_finished()
    theirs = np.array([computer.get_frame(index) for index in range(computer.num_frames_ready)])
    ours = FeatureExtractor(FeatureConfig(sample_rate_hz=rate, dimensions=40))(waveform)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_a_batch_of_threads_and_a_pickled_copy_give_the_same_bits() -> None:
    extractor = FeatureExtractor(FeatureConfig(normalize="mean-scale"))
    waveforms = [speech_like(3_000 + 1_711 * index, seed=index) for index in range(24)]
    alone = [extractor(waveform) for waveform in waveforms]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(extractor, waveforms))
    copy = pickle.loads(pickle.dumps(extractor))
    for one, other, waveform in zip(alone, together, waveforms, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, copy(waveform))


@pytest.mark.parametrize("name", EVERY_KIND)
def test_the_waveform_is_left_alone(name: str) -> None:
    waveform = speech_like(5_000)
    before = waveform.copy()
    waveform.flags.writeable = False
    FeatureExtractor(EVERY_KIND[name])(waveform)
    np.testing.assert_array_equal(waveform, before)
    every_other = np.repeat(before, 2)[::2]
    np.testing.assert_array_equal(
        FeatureExtractor(EVERY_KIND[name])(every_other), FeatureExtractor(EVERY_KIND[name])(before)
    )


# --- dither


def test_dither_is_keyed_by_the_samples_or_by_the_generator() -> None:
    plain = FeatureExtractor(FeatureConfig())
    dithered = FeatureExtractor(FeatureConfig(dither=1e-3))
    one, other = speech_like(4_000), speech_like(4_000, seed=1)
    np.testing.assert_array_equal(dithered(one), dithered(one))
    assert np.abs(dithered(one) - plain(one)).max() > 0.01
    expected = one + np.float32(1e-3) * np.random.default_rng(3).standard_normal(4_000, dtype=np.float32)
    np.testing.assert_array_equal(dithered(one, generator=np.random.default_rng(3)), plain(expected))
    silence = np.zeros(4_000, np.float32)
    assert dithered(silence).std() > 0.1  # no longer one floor
    assert not np.array_equal(dithered(other) - plain(other), dithered(one) - plain(one))


# --- refusals


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(bad: float) -> None:
    waveform = speech_like(1_000)
    waveform[[123, 400]] = bad
    with pytest.raises(InputError, match=r"2 samples that are NaN or infinite, the first at 123"):
        FeatureExtractor(FeatureConfig())(waveform)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [(np.zeros((2, 100), np.float32), r"shape \(2, 100\)"), (np.zeros(100), "float64"),
     (np.zeros(100, np.int16), "int16"), (np.float32(0), "float32"), ([0.0, 1.0], "list")],
)  # fmt: skip
def test_other_arrays_are_refused(waveform: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureExtractor(FeatureConfig())(waveform)


def test_features_from_elsewhere_are_checked() -> None:
    check_features(np.zeros((0, 80), np.float32), dimensions=80)
    with pytest.raises(InputError, match=r"shape \(10, 64\); the model needs \(frames, 80\)"):
        check_features(np.zeros((10, 64), np.float32), dimensions=80)
    with pytest.raises(InputError, match="float64"):
        check_features(np.zeros((10, 80)), dimensions=80)


def test_dimensions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="harken.audio.features"):
        FeatureExtractor(FeatureConfig(dimensions=64))
    assert "64 dimensions" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "whisper", "dimensions": 64}, "dimensions is 64; use 80, or 128"),
        ({"kind": "mfcc"}, "dimensions is 80; use at most mfcc.mel_bins"),
        ({"kind": "waveform"}, "dimensions is 80; use 1"),
        ({"kind": "waveform", "dimensions": 1, "normalize": "per-feature"}, "use mean-scale"),
        ({"kind": "kaldi", "pad_to_s": 30}, "pad_to_s is set but kind is kaldi"),
        ({"kind": "nemo", "kaldi": {}}, "kaldi is set but kind is nemo"),
        ({"kind": "whisper", "hop_s": 0.02}, "use 16000, 0.025 and 0.010"),
        ({"hop_s": 0.05}, "window_s is 0.025"),
        ({"hop_s": 0.0}, "hop_s is 0.0"),
        ({"dither": -1}, "dither is -1"),
        ({"sample_rate_hz": 8000, "kaldi": {"high_hz": 5000}}, "at most half"),
        ({"kaldi": {"low_hz": 300, "high_hz": 200}}, "use more than low_hz"),
        ({"dimension": 80}, "did you mean 'dimensions'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(FeatureConfig, settings, source="recipe.yaml")
