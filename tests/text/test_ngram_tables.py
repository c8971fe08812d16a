"""Sorted arrays of n-grams against a dictionary."""

import numpy as np

from harken.text.ngram import NgramConfig, build_ngrams


def test_places_are_those_of_a_dictionary() -> None:
    texts = ["a b c a b", "b c", "c c c a", "a"]
    tables = build_ngrams(texts, NgramConfig(order=3)).tables
    count = len(tables.words)
    grams: list[tuple[int, ...]] = [(id_,) for id_ in range(count)]
    for k, order in enumerate(tables.orders[1:], 2):
        before = grams
        grams = [(*before[key // count], key % count) for key in order.keys_N.tolist()]
        assert sorted(set(grams)) == sorted(grams)
        number = {gram: place for place, gram in enumerate(grams)}
        every = np.stack(np.meshgrid(*[np.arange(count)] * k, indexing="ij"), axis=-1).reshape(-1, k)
        expected = [number.get(tuple(row), -1) for row in every.tolist()]
        assert tables.places(every).tolist() == expected
    spelled = {" ".join(tables.words[id_] for id_ in gram) for gram in grams}
    assert {"<s> a b", "c a </s>", "c c c", "b c </s>"} < spelled
    assert "a </s> <s>" not in spelled
