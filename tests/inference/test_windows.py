"""Windows cover a stream once; pieces decoded one after the other give what the whole gives."""

import numpy as np
import pytest

from harken.inference.greedy import BLANK, Token
from harken.inference.scoring import decode_greedily
from harken.inference.windows import Grid, PieceDecoder, forced_cut, last_pause, silent_scores, windows_of

GRID = Grid(frame_samples=10, chunk_samples=100, context_samples=30)


def test_a_grid_is_made_of_whole_frames() -> None:
    grid = Grid.of(frame_samples=640, window_samples=480_000, context_samples=64_000)
    assert grid == Grid(frame_samples=640, chunk_samples=352_000, context_samples=64_000)
    odd = Grid.of(frame_samples=640, window_samples=10_000, context_samples=1_000)
    assert (odd.chunk_samples % 640, odd.context_samples) == (0, 640)
    assert odd.chunk_samples + 2 * odd.context_samples <= 10_000
    assert Grid.of(frame_samples=640, window_samples=700, context_samples=0).chunk_samples == 640


@pytest.mark.parametrize("chunk_frames", [1, 4, 7, 16, 300])
def test_windows_begin_with_a_chunk_of_the_model(chunk_frames: int) -> None:
    grid = Grid.of(frame_samples=10, window_samples=7_500, context_samples=1_000, chunk_frames=chunk_frames)
    assert grid.chunk_samples % (10 * chunk_frames) == grid.context_samples % (10 * chunk_frames) == 0
    assert grid.chunk_samples > 0
    assert grid.context_samples >= 1_000
    assert grid.chunk_samples + 2 * grid.context_samples <= 7_500 or chunk_frames == 300
    begins = [int(window.samples[0]) for window in windows_of([np.arange(60_000, dtype=np.float32)], grid)]
    assert len(begins) > 5
    assert all(begin % (10 * chunk_frames) == 0 for begin in begins)


@pytest.mark.parametrize("samples", [1, 9, 100, 129, 130, 131, 160, 230, 231, 1000, 1234])
@pytest.mark.parametrize("piece", [1, 7, 100, 5000])
def test_every_frame_is_scored_once_with_its_context(samples: int, piece: int) -> None:
    """A model whose frame k is the mean of its ten samples: joined, they are those of the whole."""
    signal = np.arange(samples, dtype=np.float32)
    pieces = [signal[i : i + piece] for i in range(0, samples, piece)]
    frames: list[float] = []
    for window in windows_of(pieces, GRID):
        assert len(window.samples) <= GRID.chunk_samples + 2 * GRID.context_samples
        scored = [window.samples[i : i + 10].mean() for i in range(0, len(window.samples), 10)]
        end = None if window.frames is None else window.first + window.frames
        if frames:
            assert window.first == GRID.context_samples // 10
        if end is not None:
            assert len(scored) >= end + GRID.context_samples // 10
        frames += scored[window.first : end]
    np.testing.assert_array_equal(frames, [signal[i : i + 10].mean() for i in range(0, samples, 10)])


def test_nothing_has_no_windows() -> None:
    assert list(windows_of([], GRID)) == []


def scores_of(ids: list[int], units: int = 4) -> np.ndarray:
    probabilities = np.full((len(ids), units), 0.1 / (units - 1))
    probabilities[np.arange(len(ids)), ids] = 0.9
    return np.log(probabilities).astype(np.float32)


def test_silent_scores_are_blank() -> None:
    scores = silent_scores(3, 5)
    assert scores.shape == (3, 5)
    assert (scores.argmax(1) == BLANK).all()
    assert decode_greedily(scores) == []


def test_cuts_lie_in_pauses() -> None:
    ids = [1, 0, 0, 0, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1]
    assert last_pause(scores_of(ids), 4) == 12
    assert last_pause(scores_of(ids[:8]), 4) == 3
    assert last_pause(scores_of([1, 2, 0]), 2) == 0
    assert last_pause(scores_of([0, 0, 0]), 3) == 1
    blanks = scores_of([1, 0, 2, 3, 2, 0, 1, 1])
    blanks[6, BLANK] = -0.5
    assert forced_cut(blanks) == 5
    assert forced_cut(scores_of([0, 0, 0, 1, 2, 2, 3, 3])) == 6
    assert forced_cut(scores_of([2] * 6)) == 3


def assert_same(found: list[Token], expected: list[Token]) -> None:
    assert [(t.id, t.first, t.end) for t in found] == [(t.id, t.first, t.end) for t in expected]
    np.testing.assert_allclose([t.probability for t in found], [t.probability for t in expected], rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_pieces_give_the_tokens_of_the_whole(seed: int) -> None:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 20, 60)
    ids = [int(i) for n in lengths for i in [draw.integers(0, 4)] * n]
    scores = scores_of(ids)
    decoder, tokens, taken = PieceDecoder(decode_greedily, piece_frames=60), [], 0
    while taken < len(scores):
        size = int(draw.integers(1, 30))
        tokens += decoder.push(scores[taken : taken + size])
        taken += size
    assert_same(tokens + decoder.finish(), decode_greedily(scores))
    assert decoder.finish() == []


def test_speech_without_a_pause_is_cut_all_the_same() -> None:
    ids = [1, 2, 0] * 100
    decoder = PieceDecoder(decode_greedily, piece_frames=50)
    tokens = [token for i in range(0, 300, 10) for token in decoder.push(scores_of(ids[i : i + 10]))]
    assert len(tokens) > 100  # not all is kept until the end
    assert_same(tokens + decoder.finish(), decode_greedily(scores_of(ids)))
