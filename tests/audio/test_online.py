"""Features from pieces equal features from the whole; running statistics equal those of what was heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.audio.features import FeatureConfig, FeatureExtractor, KaldiConfig, NemoConfig, normalize_features
from harken.audio.online import OnlineExtractor, RunningStatistics
from harken.core import Features, InputError, Waveform

CONFIGS = {
    "kaldi": FeatureConfig(kind="kaldi", dimensions=40),
    "kaldi, edges mirrored": FeatureConfig(kind="kaldi", dimensions=40, kaldi=KaldiConfig(snip_edges=False)),
    "kaldi, long hop": FeatureConfig(kind="kaldi", hop_s=0.02, window_s=0.02, kaldi=KaldiConfig(snip_edges=False)),
    "kaldi, 8 kHz": FeatureConfig(kind="kaldi", sample_rate_hz=8000, dimensions=23),
    "mfcc": FeatureConfig(kind="mfcc", dimensions=13),
    "nemo": FeatureConfig(kind="nemo", dimensions=40),
    "nemo 1": FeatureConfig(kind="nemo", dimensions=40, nemo=NemoConfig(pad_mode="reflect")),
    "nemo, 32 ms": FeatureConfig(kind="nemo", dimensions=40, window_s=0.032, hop_s=0.016),
    "nemo, odd window": FeatureConfig(kind="nemo", dimensions=40, sample_rate_hz=11_025),
    "waveform": FeatureConfig(kind="waveform", dimensions=1),
}


def noise(samples: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def in_pieces(extractor: OnlineExtractor, waveform: Waveform, cuts: list[int]) -> Features:
    state, found = extractor.start(), []
    for piece in np.split(waveform, sorted(cuts)):
        state, features = extractor.step(state, piece)
        found.append(features)
    return np.concatenate([*found, extractor.finish(state)[1]])


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=40, deadline=None)
@given(samples=st.integers(0, 6000), cuts=st.lists(st.integers(0, 6000), max_size=12))
def test_any_split_gives_the_frames_of_the_whole(name: str, samples: int, cuts: list[int]) -> None:
    waveform = noise(samples)
    whole = FeatureExtractor(CONFIGS[name])(waveform)
    pieces = in_pieces(OnlineExtractor(CONFIGS[name]), waveform, [min(cut, samples) for cut in cuts])
    assert pieces.shape == whole.shape
    np.testing.assert_allclose(pieces, whole, atol=2e-4)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("piece", [1, 7, 160])
def test_small_pieces(name: str, piece: int) -> None:
    waveform = noise(2500)
    whole = FeatureExtractor(CONFIGS[name])(waveform)
    pieces = in_pieces(OnlineExtractor(CONFIGS[name]), waveform, list(range(piece, 2500, piece)))
    np.testing.assert_allclose(pieces, whole, atol=2e-4)


def test_a_piece_of_thirty_seconds() -> None:
    waveform = noise(480_000)
    whole = FeatureExtractor(CONFIGS["nemo"])(waveform)
    np.testing.assert_allclose(in_pieces(OnlineExtractor(CONFIGS["nemo"]), waveform, []), whole, atol=2e-4)


def test_frames_come_as_soon_as_their_samples_are_there() -> None:
    extractor = OnlineExtractor(CONFIGS["kaldi"])
    state, features = extractor.step(extractor.start(), noise(400))
    assert len(features) == 1
    state, features = extractor.step(state, noise(159))
    assert len(features) == 0
    state, features = extractor.step(state, noise(1))
    assert len(features) == 1
    assert extractor.delay_s == 0.025
    centred = OnlineExtractor(CONFIGS["nemo"])
    assert [len(centred.step(centred.start(), noise(samples))[1]) for samples in (200, 201 + 160)] == [0, 2]


def test_what_is_carried_does_not_grow() -> None:
    extractor = OnlineExtractor(CONFIGS["nemo"])
    state, sizes = extractor.start(), []
    for seed in range(200):
        state, _ = extractor.step(state, noise(777, seed))
        sizes.append(len(state.samples))
    assert max(sizes) <= 1200
    assert state.frames == 200 * 777 // 160 - 1


def test_bad_input_is_refused() -> None:
    extractor = OnlineExtractor(CONFIGS["nemo"])
    state, features = extractor.step(extractor.start(), np.zeros(0, np.float32))
    assert features.shape == (0, 40)
    with pytest.raises(InputError, match="NaN or infinite"):
        extractor.step(state, np.full(10, np.nan, np.float32))
    with pytest.raises(InputError, match="float64"):
        extractor.step(state, np.zeros(10))
    ended, _ = extractor.finish(state)
    for call in (lambda: extractor.step(ended, noise(10)), lambda: extractor.finish(ended)):
        with pytest.raises(InputError, match="has ended"):
            call()
    with pytest.raises(InputError, match="loudest point"):
        OnlineExtractor(FeatureConfig(kind="whisper"))


@pytest.mark.parametrize("normalization", ["none", "mean", "mean-scale", "per-feature"])
def test_statistics_within_the_horizon_are_those_of_the_utterance(normalization: str) -> None:
    features = np.random.default_rng(1).normal(-8, 3, (90, 5)).astype(np.float32)
    statistics = RunningStatistics.empty(5)
    for piece in np.split(features, [1, 1, 40, 77]):
        statistics = statistics.update(piece, horizon_frames=100)
    expected = normalize_features(features.copy(), normalization)  # type: ignore[arg-type]
    np.testing.assert_allclose(statistics.normalize(features, normalization), expected, atol=1e-5)  # type: ignore[arg-type]


def test_what_lies_beyond_the_horizon_is_forgotten() -> None:
    statistics = RunningStatistics.empty(1).update(np.full((1000, 1), 5, np.float32), horizon_frames=100)
    draw = np.random.default_rng(2)
    for _ in range(100):
        statistics = statistics.update(draw.normal(-3, 2, (20, 1)).astype(np.float32), horizon_frames=100)
    assert statistics.frames == 120
    assert abs(statistics.mean_M[0] + 3) < 0.5
    assert abs(np.sqrt(statistics.squares_M[0] / statistics.frames) - 2) < 0.4
