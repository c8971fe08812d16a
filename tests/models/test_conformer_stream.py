"""Chunk after chunk with caches equals the pass over the whole with the chunk mask."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harken.core import InputError
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.conformer_stream import StreamCaches, StreamingConformer, join_streams, split_streams

DIMENSIONS, VOCAB = 5, 7


def tiny(**settings: object) -> ConformerCtc:
    torch.manual_seed(0)
    defaults: dict[str, object] = {"chunk_frames": 4, "left_chunks": 2}
    chosen = ConformerSettings(width=16, layers=3, heads=2, kernel=5, **{**defaults, **settings})  # type: ignore[arg-type]
    model = ConformerCtc(chosen, DIMENSIONS, VOCAB).eval()
    for layer in model.layers:  # statistics as after training, not the neutral ones of the start
        layer.convolution.batch_norm.running_mean.normal_()  # type: ignore[union-attr, operator]
        layer.convolution.batch_norm.running_variance.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
    return model


def offline(model: ConformerCtc, features_BFM: Tensor, frames: int) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model(features_BFM, torch.full((len(features_BFM),), frames))[0]
        return scores.log_softmax(-1)


def windows_of(network: StreamingConformer, features_BFM: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Windows, and how many features of each are real; what lies beyond the signal is loud, and must not count."""
    streams, frames, _ = features_BFM.shape
    loud = torch.full((streams, 500, DIMENSIONS), 30.0)
    padded = torch.cat([loud[:, : network.lead_features], features_BFM, loud], dim=1)
    most = network.window_features - network.lead_features
    return [
        (padded[:, first : first + network.window_features], torch.full((streams,), min(frames - first, most)))
        for first in range(0, frames, network.shift_features)
    ]


def streamed(network: StreamingConformer, features_BFM: Tensor) -> Tensor:
    caches, pieces = network.start(len(features_BFM)), []
    for window, real in windows_of(network, features_BFM):
        caches, log_probs_BCV, valid_B = network.step(caches, window, real)
        pieces.append(log_probs_BCV[:, : int(valid_B[0])])
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize(("chunk_frames", "left_chunks"), [(4, 0), (4, 1), (4, 5), (1, 0), (1, 7)])
@pytest.mark.parametrize("frames", [1, 3, 16, 17, 19, 20, 151, 400])
def test_streaming_equals_the_masked_pass(frames: int, chunk_frames: int, left_chunks: int) -> None:
    model = tiny(chunk_frames=chunk_frames, left_chunks=left_chunks)
    features = torch.randn(2, frames, DIMENSIONS)
    expected = offline(model, features, frames)
    torch.testing.assert_close(streamed(StreamingConformer(model), features), expected, atol=2e-5, rtol=0)


def test_positions_within_the_window_equal_positions_in_the_stream() -> None:
    # Offline, frame 4000 is rotated by 4000 steps, on the stream by at most 11; attention sees distances only.
    model = tiny()
    features = torch.randn(1, 16_000, DIMENSIONS)
    expected = offline(model, features, 16_000)
    got = streamed(StreamingConformer(model), features)
    torch.testing.assert_close(got[:, -500:], expected[:, -500:], atol=2e-3, rtol=0)
    assert torch.equal(got.argmax(-1), expected.argmax(-1))
    torch.testing.assert_close(got[:, :500], expected[:, :500], atol=2e-5, rtol=0)


def test_the_precision_of_a_frame_does_not_depend_on_its_place() -> None:
    # The same sound again after 60 repetitions gives the same bits: nothing drifts.
    network = StreamingConformer(tiny())
    sound = torch.randn(1, 320, DIMENSIONS)
    got = streamed(network, sound.repeat(1, 61, 1))[0].unflatten(0, (61, 80))
    assert torch.equal(got[1, 40:], got[59, 40:])


def test_other_sizes_equal_the_pass_with_those_sizes() -> None:
    model = tiny(dynamic_chunks=(2, 8))
    features = torch.randn(1, 200, DIMENSIONS)
    for chunk, left, same_left in ((8, None, 1), (3, None, 3), (2, 1, 1)):
        network = StreamingConformer(model, chunk_frames=chunk, left_chunks=left)
        assert (network.settings.chunk_frames, network.settings.left_chunks) == (chunk, same_left)
        other = tiny(chunk_frames=chunk, left_chunks=same_left)
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(streamed(network, features), offline(other, features, 200), atol=2e-5, rtol=0)


def test_streams_of_a_batch_may_stand_at_different_places() -> None:
    network = StreamingConformer(tiny(input_mean=0.3, input_scale=2.0))
    first, second = torch.randn(1, 150, DIMENSIONS), torch.randn(1, 70, DIMENSIONS)
    alone = streamed(network, second)
    caches, ahead = network.start(), windows_of(network, first)
    for window, real in ahead[:3]:
        caches, _, _ = network.step(caches, window, real)
    joined, pieces = join_streams([caches, network.start()]), []
    for (window, real), (other, other_real) in zip(ahead[3:8], windows_of(network, second), strict=True):
        joined, log_probs, valid = network.step(joined, torch.cat([window, other]), torch.cat([real, other_real]))
        pieces.append(log_probs[1:, : int(valid[1])])
    torch.testing.assert_close(torch.cat(pieces, dim=1), alone, atol=1e-6, rtol=0)
    apart = split_streams(joined)
    assert [c.keys_NBHSK.shape for c in apart] == [(3, 1, 2, 8, 8)] * 2
    assert torch.equal(join_streams(apart).tails_NBDP, joined.tails_NBDP)


def test_caches_keep_their_shape() -> None:
    network = StreamingConformer(tiny())
    shapes = [tensor.shape for tensor in network.start(3).tensors]
    caches = network.start(3)
    for window, real in windows_of(network, torch.randn(3, 300, DIMENSIONS)):
        caches, _, _ = network.step(caches, window, real)
    assert (
        [tensor.shape for tensor in caches.tensors] == shapes == [(3,), (3, 3, 2, 8, 8), (3, 3, 2, 8, 8), (3, 3, 16, 4)]
    )
    assert caches.done_B.tolist() == [8, 8, 8]  # what still matters, not the length of the stream


def test_models_that_cannot_stream_are_refused() -> None:
    everywhere = ConformerCtc(ConformerSettings(width=16, layers=1, heads=2), DIMENSIONS, VOCAB)
    with pytest.raises(InputError, match="trained without chunks"):
        StreamingConformer(everywhere)
    endless = tiny(left_chunks=None)
    with pytest.raises(InputError, match="no cache of fixed size"):
        StreamingConformer(endless)
    assert StreamingConformer(endless, left_chunks=3).left_frames == 12


def test_a_step_traces_as_tensors_only() -> None:
    """What an exporter needs: no Python number depends on a value."""
    network = StreamingConformer(tiny())
    (window, real), later = (windows := windows_of(network, torch.randn(1, 64, DIMENSIONS)))[0], windows[3]
    start = network.start()
    graph = torch.export.export(network, (window, real, *start.tensors), strict=False).module()
    caches = start
    for given in (windows[0], windows[1], windows[2], later):
        expected = network(*given, *caches.tensors)
        got = graph(*given, *caches.tensors)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        done, keys, values, tails = expected[2:]
        caches = StreamCaches(done_B=done, keys_NBHSK=keys, values_NBHSK=values, tails_NBDP=tails)
    assert replace(caches).done_B.tolist() == [8]
