"""Forced alignment against every path there is, and against a slow trellis in the manner of torchaudio's tutorial."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.core import InputError
from harken.inference.ctc.alignment import align_ids, frames_needed
from harken.inference.greedy import Token, collapse
from harken.inference.scoring import LogProbs


def random_scores(frames: int, units: int, *, seed: int = 0, spread: float = 2.0) -> LogProbs:
    scores = np.random.default_rng(seed).standard_normal((frames, units)) * spread
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def best_by_trying_all(log_probs_TV: LogProbs, ids: list[int]) -> float:
    frames, units = log_probs_TV.shape
    paths = itertools.product(range(units), repeat=frames)
    return max(
        sum(float(log_probs_TV[t, id_]) for t, id_ in enumerate(path))
        for path in paths
        if [token.id for token in collapse(np.array(path), np.ones(frames, np.float32))] == ids
    )


def score_of(tokens: list[Token], log_probs_TV: LogProbs) -> float:
    path = np.zeros(len(log_probs_TV), dtype=np.int64)
    for token in tokens:
        path[token.first : token.end] = token.id
    return float(log_probs_TV[np.arange(len(path)), path].astype(np.float64).sum())


def slow_trellis(log_probs_TV: LogProbs, ids: list[int]) -> float:
    """The best score by a loop over frames and states."""
    states = [0]
    for id_ in ids:
        states += [id_, 0]
    best = {0: float(log_probs_TV[0, 0]), 1: float(log_probs_TV[0, states[1]])}
    for frame in range(1, len(log_probs_TV)):
        new = {}
        for s, id_ in enumerate(states):
            before = [s, s - 1] + ([s - 2] if s > 1 and id_ and id_ != states[s - 2] else [])
            found = [best[b] for b in before if b in best]
            if found:
                new[s] = max(found) + float(log_probs_TV[frame, id_])
        best = new
    return max(best.get(len(states) - 1, -np.inf), best.get(len(states) - 2, -np.inf))


@pytest.mark.parametrize("ids", [[1], [1, 2], [1, 1], [2, 2, 1], [1, 2, 1]])
@pytest.mark.parametrize("seed", range(4))
def test_no_path_is_better(ids: list[int], seed: int) -> None:
    log_probs = random_scores(6, 3, seed=seed)
    tokens = align_ids(log_probs, ids)
    assert [token.id for token in tokens] == ids
    assert score_of(tokens, log_probs) == pytest.approx(best_by_trying_all(log_probs, ids), abs=1e-4)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 20), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_equals_a_slow_trellis(ids: list[int], spare: int, seed: int) -> None:
    log_probs = random_scores(frames_needed(ids) + spare, 5, seed=seed)
    tokens = align_ids(log_probs, ids)
    assert score_of(tokens, log_probs) == pytest.approx(slow_trellis(log_probs, ids), abs=1e-3)
    spans = [(token.first, token.end) for token in tokens]
    assert all(a < b for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))


def test_frames_and_probability_by_hand() -> None:
    path = [0, 1, 1, 0, 1, 2, 0]
    log_probs = np.full((7, 3), np.log(0.1), np.float32)
    log_probs[np.arange(7), path] = np.log([0.8, 0.8, 0.6, 0.8, 0.7, 0.5, 0.8])
    found = [(t.id, t.first, t.end, round(t.probability, 5)) for t in align_ids(log_probs, [1, 1, 2])]
    assert found == [(1, 1, 3, 0.7), (1, 4, 5, 0.7), (2, 5, 6, 0.5)]


def test_as_many_frames_as_are_needed() -> None:
    assert frames_needed([1, 1, 2]) == 4
    assert [(t.first, t.end) for t in align_ids(random_scores(4, 3), [1, 1, 2])] == [(0, 1), (2, 3), (3, 4)]
    with pytest.raises(InputError, match="3 ids need at least 4 frames, and there are 3"):
        align_ids(random_scores(3, 3), [1, 1, 2])


def test_nothing_to_align() -> None:
    assert align_ids(random_scores(5, 3), []) == []
    assert align_ids(np.zeros((0, 3), np.float32), []) == []
    with pytest.raises(InputError, match="at least 1 frames"):
        align_ids(np.zeros((0, 3), np.float32), [1])


@pytest.mark.parametrize(("id_", "message"), [(0, "id 0 is the blank"), (3, "id 3 is outside 1..2")])
def test_wrong_ids(id_: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align_ids(random_scores(5, 3), [1, id_])


def test_scores_that_are_no_use() -> None:
    log_probs = random_scores(5, 3)
    log_probs[2, 1] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        align_ids(log_probs, [2])
    log_probs = random_scores(5, 3)
    log_probs[:, 1] = -np.inf
    with pytest.raises(InputError, match="no probability"):
        align_ids(log_probs, [1])


def test_long_audio_in_little_memory() -> None:
    """20,000 frames and 3,000 ids: the table of moves takes 30 MB, where one of int32 would take 480."""
    log_probs = random_scores(20_000, 8)
    ids = np.random.default_rng(1).integers(1, 8, 3_000).tolist()
    tracemalloc.start()
    started = time.process_time()
    tokens = align_ids(log_probs, ids)
    took_s = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [token.id for token in tokens] == ids
    assert peak < 40e6
    assert took_s < 10


def test_equal_paths_give_the_earliest() -> None:
    even = np.full((5, 3), np.log(1 / 3), np.float32)
    assert [(t.first, t.end) for t in align_ids(even, [1, 2])] == [(0, 1), (1, 2)]
