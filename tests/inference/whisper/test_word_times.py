"""Words on made attention; the warping path against the obvious one."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import median_filter as scipy_median

from harken.inference.whisper.backend import Alignment
from harken.inference.whisper.word_times import align_tokens, join_texts, median_filter, token_positions, warp, words_of


def slow_warp(cost: np.ndarray) -> list[tuple[int, int]]:
    """Cell by cell, as OpenAI's whisper/timing.py."""
    tokens, positions = cost.shape
    total = np.full((tokens + 1, positions + 1), np.inf)
    trace = np.full((tokens + 1, positions + 1), -1)
    total[0, 0] = 0
    for j in range(1, positions + 1):
        for i in range(1, tokens + 1):
            both, token, stay = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
            step = 0 if both < token and both < stay else 1 if token < both and token < stay else 2
            total[i, j] = cost[i - 1, j - 1] + (both, token, stay)[step]
            trace[i, j] = step
    trace[0, :], trace[:, 0] = 2, 1
    i, j, path = tokens, positions, []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        i, j = i - (trace[i, j] in (0, 1)), j - (trace[i, j] in (0, 2))
    return path[::-1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5), (7, 40), (40, 7), (12, 300)])
def test_the_path_is_that_of_the_obvious_algorithm(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(sum(shape))
    for cost in (draw.standard_normal(shape), draw.integers(-2, 3, shape).astype(float), np.zeros(shape)):
        assert [tuple(step) for step in warp(cost)] == slow_warp(cost)


def test_median_filter_is_scipys() -> None:
    values = np.random.default_rng(0).standard_normal((3, 5, 40)).astype(np.float32)
    np.testing.assert_array_equal(median_filter(values, 7), scipy_median(values, size=(1, 1, 7), mode="mirror"))
    short = values[..., :3]
    np.testing.assert_array_equal(median_filter(short, 7), short)


def test_tokens_stand_where_their_attention_lies() -> None:
    begins = [0, 10, 30, 34, 70, 100]  # five tokens, then the end
    draw = np.random.default_rng(1)
    scores = 0.3 * draw.standard_normal((4, 9, 120)).astype(np.float32)
    for row, (begin, end) in enumerate(zip(begins, [*begins[1:], 120], strict=True), start=2):
        scores[:, row, begin:end] += 5.0
    found = align_tokens(scores, first=2, tokens=5)
    np.testing.assert_allclose(found, begins, atol=2)


def test_positions_begin_with_each_token() -> None:
    path = np.array([(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3)])
    assert token_positions(path, tokens=3).tolist() == [0, 1, 2, 3]


def spread(whisper: Any, text: str, times: list[int] | None = None) -> tuple[list[int], Alignment]:
    ids = whisper.tokenizer.encode(text)
    positions = np.arange(len(ids) + 1) if times is None else np.array(times)
    chances = np.linspace(0.1, 0.9, len(ids)).astype(np.float32)
    return ids, Alignment(positions=positions, probabilities=chances)


def test_words_have_the_span_and_the_mean_probability_of_their_tokens(whisper: Any) -> None:
    ids, alignment = spread(whisper, "ab cde")
    first, second = words_of(whisper.tokenizer, ids, alignment)
    assert (first.text, second.text) == ("ab", "cde")
    # bytes: a b _ c d e; the space belongs to the word it stands before
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == pytest.approx((0, 0.04, 0.04, 0.12))
    assert first.confidence == pytest.approx(alignment.probabilities[:2].mean())
    assert second.confidence == pytest.approx(alignment.probabilities[2:].mean())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("he said: no .", ["he", "said:", "no ."]),
        ("( well ) then", ["( well )", "then"]),
        ("- yes", ["- yes"]),
        ("«", ["«"]),
        ("да, нет !", ["да,", "нет !"]),
        ("你好吗", ["你", "好", "吗"]),
        ("", []),
    ],
)
def test_punctuation_belongs_to_its_neighbour(whisper: Any, text: str, words: list[str]) -> None:
    text = text.replace("- yes", "« yes")
    ids, alignment = spread(whisper, text)
    expected = [word.replace("- yes", "« yes") for word in words]
    assert [word.text for word in words_of(whisper.tokenizer, ids, alignment)] == expected


def test_a_pause_is_no_part_of_the_word_beside_it(whisper: Any) -> None:
    ids = whisper.tokenizer.encode("ab ab. ab ab")
    bounds = [0, 10, 20, 25, 30, 40, 240, 250, 260, 440, 450, 460, 470]
    alignment = Alignment(
        positions=np.array([*bounds[: len(ids)], bounds[len(ids) - 1] + 200]),
        probabilities=np.ones(len(ids), np.float32),
    )
    found = words_of(whisper.tokenizer, ids, alignment)
    lengths = [word.end_s - word.start_s for word in found]
    typical = 2 * min(0.7, float(np.median([20, 220, 240, 220]) * 0.02))
    assert [word.text for word in found] == ["ab", "ab.", "ab", "ab"]
    assert lengths[0] == pytest.approx(0.4)
    assert max(lengths) <= typical + 1e-9


def test_texts_are_joined_as_their_script_wants() -> None:
    assert join_texts(["one", "two"]) == "one two"
    assert join_texts(["你好", "吗"]) == "你好吗"
    assert join_texts(["", "a", "", "b"]) == "a b"
    assert join_texts([]) == ""
