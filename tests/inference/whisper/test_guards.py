"""Tests of a text: repetition, likelihood, silence."""

import zlib

import pytest

from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.guards import (
    compression_ratio,
    is_silence,
    is_too_repetitive,
    is_unlikely,
    trim_repeats,
)

CONFIG = WhisperDecodingConfig()
OFF = WhisperDecodingConfig(max_compression_ratio=None, min_average_log_prob=None, no_speech_threshold=None)


def test_compression_ratio() -> None:
    text = "она сказала да " * 9
    assert compression_ratio(text) == len(text.encode()) / len(zlib.compress(text.encode()))
    assert compression_ratio("") == 0
    assert compression_ratio("What is said once stays below one or so.") < 1.1
    assert is_too_repetitive(2.41, CONFIG)
    assert not is_too_repetitive(2.4, CONFIG)
    assert not is_too_repetitive(99, OFF)


def test_likelihood() -> None:
    assert is_unlikely(-1.01, CONFIG)
    assert not is_unlikely(-1.0, CONFIG)
    assert not is_unlikely(-99, OFF)


@pytest.mark.parametrize(
    ("no_speech", "average", "silent"), [(0.7, -1.2, True), (0.7, -0.9, False), (0.6, -1.2, False), (0.1, -3.0, False)]
)
def test_silence_needs_both_signs(no_speech: float, average: float, silent: bool) -> None:
    assert is_silence(no_speech, average, CONFIG) is silent


def test_silence_by_one_sign_where_the_other_is_off() -> None:
    assert is_silence(0.7, -0.1, WhisperDecodingConfig(min_average_log_prob=None))
    assert not is_silence(1.0, -9.0, OFF)


def slow_trim(ids: list[int], most: int) -> list[int]:
    """The longest tail that repeats the shortest unit more than `most` times, the last time maybe in part."""
    for period in range(1, len(ids)):
        for length in range(len(ids), (most + 1) * period - 1, -1):
            tail = ids[len(ids) - length :]
            if all(tail[n] == tail[n % period] for n in range(length)):
                return ids[: len(ids) - length] + tail[: most * period]
    return ids


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        ([1, 2, 3, 3, 3, 3, 3, 3], [1, 2, 3, 3]),
        ([9, 1, 2, 1, 2, 1, 2, 1, 2], [9, 1, 2, 1, 2]),
        ([9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1], [9, 1, 2, 3, 1, 2, 3]),
        ([5, 5], [5, 5]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([7, 7, 7, 1], [7, 7, 7, 1]),
        ([], []),
    ],
)
def test_loops_at_the_end_are_cut_to_two(ids: list[int], kept: list[int]) -> None:
    assert trim_repeats(ids, 2) == kept
    assert slow_trim(ids, 2) == kept
