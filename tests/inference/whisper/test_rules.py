"""Rules of decoding are those of transformers' processors, row by row."""

from typing import Any

import numpy as np
import pytest
import torch

from harken.inference.whisper.backend import Search
from harken.inference.whisper.rules import SpecialIds, TokenRules, log_sum

processors = pytest.importorskip("transformers.generation.logits_process")

VOCAB, END, NO_TIMES, FIRST = 60, 20, 29, 30
SPECIAL = SpecialIds(start=21, end=END, no_timestamps=NO_TIMES, first_time=FIRST, no_speech=28)


class Generation:
    """What transformers' processor reads of a generation config."""

    no_timestamps_token_id = NO_TIMES
    eos_token_id = END
    max_initial_timestamp_index = 5


def applied(search: Search, scores: np.ndarray, chosen: np.ndarray, **options: Any) -> np.ndarray:
    rules = TokenRules(SPECIAL, search, suppressed=options.get("always", []), suppressed_first=options.get("first", []))
    scores = scores.copy()
    rules.apply(scores, chosen)
    return scores


def sequences(rows: int, length: int, seed: int) -> np.ndarray:
    """Tokens as the rules let them come: text, and times that do not decrease, alone or in pairs."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(rows):
        time = FIRST + int(draw.integers(5))
        row = [time]
        while len(row) < length:
            if draw.random() < 0.5:
                row.append(int(draw.integers(END)))
            else:
                time = min(VOCAB - 1, time + int(draw.integers(4)))
                row.append(time)
        found.append(row[:length])
    return np.array(found, np.int64).reshape(rows, length)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_times_follow_the_grammar_of_transformers(length: int, spread: float) -> None:
    scores = (spread * np.random.default_rng(length).standard_normal((200, VOCAB))).astype(np.float32)
    chosen = sequences(200, length, seed=length)
    theirs = processors.WhisperTimeStampLogitsProcessor(Generation(), begin_index=0)
    expected = theirs(torch.from_numpy(chosen), torch.from_numpy(scores.copy())).numpy()
    found = applied(Search(max_tokens=9, timestamps=True, latest_first=5), scores, chosen)
    np.testing.assert_array_equal(found, expected)
    assert np.isinf(found).any()
    assert np.isfinite(found).any(axis=1).all()


def test_without_timestamps_nothing_is_forbidden() -> None:
    scores = np.random.default_rng(0).standard_normal((5, VOCAB)).astype(np.float32)
    chosen = sequences(5, 4, seed=0)
    np.testing.assert_array_equal(applied(Search(max_tokens=9), scores, chosen), scores)


@pytest.mark.parametrize("length", [1, 6])
def test_repetition_and_ngrams_are_those_of_transformers(length: int) -> None:
    draw = np.random.default_rng(1)
    scores = draw.standard_normal((50, VOCAB)).astype(np.float32)
    chosen = draw.integers(0, 3, (50, length))
    tokens = torch.from_numpy(chosen)
    penalised = processors.RepetitionPenaltyLogitsProcessor(1.7)(tokens, torch.from_numpy(scores.copy())).numpy()
    np.testing.assert_allclose(applied(Search(max_tokens=9, repetition_penalty=1.7), scores, chosen), penalised)
    for size in (1, 2, 3):
        expected = processors.NoRepeatNGramLogitsProcessor(size)(tokens, torch.from_numpy(scores.copy())).numpy()
        np.testing.assert_array_equal(applied(Search(max_tokens=9, no_repeat_ngram=size), scores, chosen), expected)


def test_suppressed_tokens_are_never_chosen_and_some_not_first() -> None:
    scores = np.zeros((2, VOCAB), np.float32)
    options = {"always": [3, 4], "first": [7]}
    first = applied(Search(max_tokens=9, suppress=(5,)), scores, np.zeros((2, 0), np.int64), **options)
    later = applied(Search(max_tokens=9, suppress=(5,)), scores, np.array([[1], [2]]), **options)
    assert np.flatnonzero(np.isinf(first[1])).tolist() == [3, 4, 5, 7]
    assert np.flatnonzero(np.isinf(later[0])).tolist() == [3, 4, 5]


def test_log_sum() -> None:
    scores = np.array([[0.0, 1000.0, 1000.0], [-np.inf] * 3, [-np.inf, 2.0, -np.inf]], np.float32)
    np.testing.assert_allclose(log_sum(scores), [1000 + np.log(2), -np.inf, 2.0], rtol=1e-6)
