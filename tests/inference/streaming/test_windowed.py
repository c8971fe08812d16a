"""Windows with context: equal to offline where the context is the whole, aligned and bounded otherwise."""

import numpy as np
import numpy.typing as npt
import pytest
from tests.inference.streaming.conftest import Make, noise

from harken.audio.features import FeatureConfig, FeatureExtractor, Normalization
from harken.core import Waveform
from harken.inference.scoring import LogProbs, pad_features
from harken.inference.streaming.config import WindowConfig
from harken.inference.streaming.windowed import WindowedFrames

PLAIN = FeatureConfig(kind="nemo", dimensions=20)


class Counting:
    """Scores whose best id tells which output frame of the stream it is: the first feature says so."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(
        self, features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        self.lengths.append(int(frames_B[0]))
        return features_BFM[:, ::4, :7].copy(), (frames_B + 3) // 4


def streamed(source: WindowedFrames, waveform: Waveform, cuts: list[int]) -> tuple[LogProbs, list[int]]:
    state, found, ahead = source.start(), [], []
    for piece in np.split(waveform, cuts):
        state, frames = source.step(state, piece)
        found.append(frames.final_TV)
        ahead.append(-1 if frames.ahead_TV is None else len(frames.ahead_TV))
    last = source.finish(state)[1]
    return np.concatenate([*found, last.final_TV]), ahead


@pytest.mark.parametrize("normalize", ["none", "mean", "mean-scale", "per-feature"])
def test_context_of_the_whole_gives_the_offline_scores(parts: Make, normalize: Normalization) -> None:
    recognizer = parts(normalize=normalize, chunked=False).recognizer()
    waveform = noise(3)
    expected = recognizer.scorer(*pad_features([recognizer.extractor(waveform)]))[0][0]
    source = WindowedFrames(
        recognizer.scorer,
        recognizer.extractor.config,
        subsampling=4,
        vocab_size=5,
        config=WindowConfig(left_s=9, chunk_s=3, right_s=9),
    )
    got, _ = streamed(source, waveform, list(range(1000, 48_000, 1000)))
    np.testing.assert_allclose(got, expected, atol=5e-3)


@pytest.mark.parametrize("samples", [160, 16_000, 16_161, 50_000])
def test_every_frame_is_scored_once_in_its_place(samples: int) -> None:
    scorer, waveform = Counting(), noise(4)[:samples]
    config = WindowConfig(left_s=0.32, chunk_s=0.24, right_s=0.16)
    source = WindowedFrames(scorer, PLAIN, subsampling=4, vocab_size=7, config=config)
    got, _ = streamed(source, waveform, list(range(512, samples, 512)))
    expected = FeatureExtractor(PLAIN)(waveform)[::4, :7]
    np.testing.assert_allclose(got, expected, atol=2e-4)
    assert max(scorer.lengths) <= 32 + 24 + 16 + 4  # the last one hears what is left
    if samples == 50_000:
        assert scorer.lengths[:4] == [24 + 16, 24 + 24 + 16, 72, 72]
    assert source.latency_s == pytest.approx(0.40 + 201 / 16_000)


def test_what_lies_ahead_is_told_beside() -> None:
    config = WindowConfig(left_s=0.32, chunk_s=0.24, right_s=0.16)
    source = WindowedFrames(Counting(), PLAIN, subsampling=4, vocab_size=7, config=config)
    _, ahead = streamed(source, noise(1), list(range(1600, 16_000, 1600)))
    assert ahead == [-1, -1, -1, -1, 4, -1, 4, -1, 4, -1]


def test_digital_silence_is_not_asked_about() -> None:
    scorer = Counting()
    source = WindowedFrames(scorer, PLAIN, subsampling=4, vocab_size=7)
    got, _ = streamed(source, np.zeros(64_000, np.float32), [32_000])
    assert (got.argmax(1) == 0).all()
    assert scorer.lengths == []
    assert len(got) == 100


def test_what_is_carried_does_not_grow() -> None:
    source = WindowedFrames(Counting(), PLAIN, subsampling=4, vocab_size=7)
    state = source.start()
    for seed in range(20):
        state, _ = source.step(state, noise(1, seed))
    assert len(state.held) <= (1.6 + 0.64 + 0.64) * 100
    assert state.held.base is None


def test_a_model_that_hears_samples() -> None:
    def scorer(
        features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        count = (int(frames_B[0]) - 400) // 320 + 1  # as Wav2Vec2: only whole windows, the last one is missing
        return np.repeat(features_BFM[:, ::320], 3, axis=2)[:, :count], np.array([count])

    waveform = noise(1)
    source = WindowedFrames(scorer, FeatureConfig(kind="waveform", dimensions=1), subsampling=320, vocab_size=3)
    got, _ = streamed(source, waveform, [77, 5000])
    np.testing.assert_array_equal(got[:-1, 1], waveform[::320][:-1])
    assert len(got) == 50
    assert got[-1].argmax() == 0  # silence in the place of the missing one
