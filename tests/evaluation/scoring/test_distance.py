"""Bit-parallel edit distance against the plain row-by-row algorithm and rapidfuzz."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.evaluation.scoring.distance import BLOCK, batch_distances, long_distance

LETTERS = st.text("abc", max_size=10)


def _row_by_row(reference: str, hypothesis: str) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, letter in enumerate(reference, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (letter != other))
    return row[-1]


def _numbers(text: str) -> np.ndarray:
    return np.array([ord(letter) for letter in text], dtype=np.int32)


def _batch(references: list[str], hypotheses: list[str]) -> list[int]:
    grids, lengths = [], []
    for texts in (references, hypotheses):
        lengths.append(np.array([len(text) for text in texts], dtype=np.int64))
        grid = np.zeros((int(lengths[-1].max(initial=0)), len(texts)), dtype=np.int32)
        for column, text in enumerate(texts):
            grid[: len(text), column] = _numbers(text)
        grids.append(grid)
    return batch_distances(*grids, *lengths).tolist()


@given(st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=8))
def test_short_texts(pairs: list[tuple[str, str]]) -> None:
    expected = [_row_by_row(*pair) for pair in pairs]
    assert _batch([r for r, _ in pairs], [h for _, h in pairs]) == expected
    assert [long_distance(_numbers(r), _numbers(h)) for r, h in pairs] == expected


def test_lengths_around_the_edges_of_blocks_in_one_batch() -> None:
    distance = pytest.importorskip("rapidfuzz.distance").Levenshtein.distance
    draw = random.Random(1)
    sizes = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK + 7]
    pairs = []
    for _ in range(400):
        reference = "".join(draw.choices("abcdefgh ", k=draw.choice(sizes)))
        kept = "".join(letter for letter in reference if draw.random() > 0.1)
        pairs.append((reference, "".join(draw.choice("abcx") if draw.random() < 0.2 else c for c in kept)))
    expected = [distance(r, h) for r, h in pairs]
    assert _batch([r for r, _ in pairs], [h for _, h in pairs]) == expected
    assert [long_distance(_numbers(r), _numbers(h)) for r, h in pairs] == expected


def test_a_very_long_text() -> None:
    numbers = np.random.default_rng(0).integers(1, 40, 20_000).astype(np.int32)
    assert long_distance(numbers, np.delete(numbers, [3, 9_999, 19_999])) == 3
    assert long_distance(numbers, numbers[:0]) == 20_000
