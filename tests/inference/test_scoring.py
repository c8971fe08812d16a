"""Greedy decoding of scores, and padding."""

import numpy as np

from harken.inference.greedy import Token
from harken.inference.scoring import decode_greedily, pad_features


def test_greedy_tokens_of_log_probabilities() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    with np.errstate(divide="ignore"):
        tokens = decode_greedily(np.log(probabilities).astype(np.float32))
    assert [(token.id, token.first, token.end) for token in tokens] == [(1, 1, 3), (2, 4, 5)]
    np.testing.assert_allclose([token.probability for token in tokens], [0.7, 0.7], rtol=1e-6)
    assert isinstance(tokens[0], Token)
    assert decode_greedily(np.zeros((0, 3), np.float32)) == []


def test_padding_is_zero() -> None:
    padded, frames = pad_features([np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)])
    assert padded.shape == (2, 4, 3)
    assert padded.dtype == np.float32
    assert frames.tolist() == [2, 4]
    assert padded.sum(axis=(1, 2)).tolist() == [6, 24]
    assert not padded[0, 2:].any()
