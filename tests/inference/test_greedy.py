"""Greedy CTC decoding against a slow, obvious loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.inference.greedy import BLANK, collapse


def slow_collapse(ids: list[int], probabilities: list[float]) -> list[tuple[int, int, int, float]]:
    """Frame by frame: a token begins where the id changes to one that is not the blank."""
    tokens: list[tuple[int, int, int, float]] = []
    before = BLANK
    for frame, id_ in enumerate(ids):
        if id_ != BLANK and id_ == before:
            kept, first, _, total = tokens[-1]
            tokens[-1] = (kept, first, frame + 1, total + probabilities[frame])
        elif id_ != BLANK:
            tokens.append((id_, frame, frame + 1, probabilities[frame]))
        before = id_
    return [(id_, first, end, total / (end - first)) for id_, first, end, total in tokens]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1, width=32)), max_size=60))
def test_collapse_equals_the_slow_loop(frames: list[tuple[int, float]]) -> None:
    ids, probabilities = [id_ for id_, _ in frames], [probability for _, probability in frames]
    found = collapse(np.array(ids, dtype=np.int64), np.array(probabilities, dtype=np.float32))
    expected = slow_collapse(ids, probabilities)
    assert [(token.id, token.first, token.end) for token in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([token.probability for token in found], [row[3] for row in expected], atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "collapsed"),
    [([], []), ([0, 0], []), ([1], [1]), ([1, 1, 1], [1]), ([1, 0, 1], [1, 1]), ([0, 2, 2, 1, 1, 0, 1], [2, 1, 1])],
)
def test_repeats_merge_unless_a_blank_parts_them(ids: list[int], collapsed: list[int]) -> None:
    tokens = collapse(np.array(ids, dtype=np.int64), np.ones(len(ids), dtype=np.float32))
    assert [token.id for token in tokens] == collapsed
