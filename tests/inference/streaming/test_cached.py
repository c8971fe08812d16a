"""The cached Conformer: any split of the audio gives the masked offline pass, to the last token."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.streaming.conftest import Make, Parts, noise

from harken.audio.features import FeatureExtractor
from harken.core import InputError, Waveform
from harken.inference.scoring import LogProbs
from harken.inference.streaming.cached import CachedFrames
from harken.inference.streaming.torch_network import TorchChunkNetwork
from harken.models.conformer_stream import StreamingConformer


def source_of(made: Parts) -> CachedFrames:
    network = TorchChunkNetwork(StreamingConformer(made.model), torch.device("cpu"))
    return CachedFrames(network, made.features)


def offline(made: Parts, waveform: Waveform) -> LogProbs:
    features = torch.from_numpy(FeatureExtractor(made.features)(waveform))
    with torch.inference_mode():
        scores = made.model.eval()(features[None], torch.tensor([len(features)]))[0][0]
        found: LogProbs = scores.log_softmax(-1).numpy()
    return found


def streamed(source: CachedFrames, waveform: Waveform, cuts: list[int]) -> LogProbs:
    state, found = source.start(), []
    for piece in np.split(waveform, sorted(min(cut, len(waveform)) for cut in cuts)):
        state, frames = source.step(state, piece)
        assert frames.ahead_TV is None
        found.append(frames.final_TV)
    return np.concatenate([*found, source.finish(state)[1].final_TV])


@pytest.fixture(scope="module")
def made(parts: Make) -> Parts:
    return parts()


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(160, 40_000),
    cuts=st.lists(st.integers(0, 40_000), max_size=10),
    seed=st.integers(0, 3),
)
def test_any_split_equals_the_masked_pass(made: Parts, samples: int, cuts: list[int], seed: int) -> None:
    waveform = noise(2.5, seed)[:samples]
    expected = offline(made, waveform)
    got = streamed(source_of(made), waveform, cuts)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-3)
    assert (got.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("piece", [1, 160, 641])
def test_pieces_of_one_size(made: Parts, piece: int) -> None:
    waveform = noise(0.7)
    got = streamed(source_of(made), waveform, list(range(piece, len(waveform), piece)))
    np.testing.assert_allclose(got, offline(made, waveform), atol=2e-3)


def test_too_little_audio_for_a_frame(made: Parts) -> None:
    assert streamed(source_of(made), noise(0.001), []).shape == (0, 5)
    assert streamed(source_of(made), noise(0), []).shape == (0, 5)


def test_scores_come_after_the_latency_that_is_stated(made: Parts) -> None:
    source = source_of(made)
    # 4 frames of 40 ms, 3 feature frames ahead, and the half window of the last feature frame.
    assert source.latency_s == pytest.approx((16 + 3 - 1) * 0.01 + 201 / 16_000)
    waveform, due = noise(1), round(source.latency_s * 16_000)
    state, frames = source.step(source.start(), waveform[: due - 1])
    assert len(frames.final_TV) == 0
    assert len(source.step(state, waveform[due - 1 : due])[1].final_TV) == 4


def test_what_is_carried_does_not_grow(made: Parts) -> None:
    source = source_of(made)
    state, sizes = source.start(), set()
    for seed in range(30):
        state, _ = source.step(state, noise(0.33, seed))
        arrays = [state.audio.samples, state.pending]
        assert all(array.base is None for array in arrays)  # no view that keeps a larger array alive
        sizes.add(sum(array.size for array in arrays) < 3000)
    assert sizes == {True}


def test_whole_utterance_normalisation_is_refused(parts: Make) -> None:
    with pytest.raises(InputError, match=r"normalised over each utterance \(mean-scale\).*windowed"):
        source_of(parts(normalize="mean-scale"))
