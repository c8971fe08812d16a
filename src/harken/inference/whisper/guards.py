"""Tests that tell a text from what Whisper writes when it is lost."""

import zlib
from collections.abc import Sequence

from harken.inference.whisper.config import WhisperDecodingConfig


def compression_ratio(text: str) -> float:
    """Bytes of a text for each byte zlib makes of it: high where it repeats itself. 0 for an empty one."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_too_repetitive(ratio: float, config: WhisperDecodingConfig) -> bool:
    return config.max_compression_ratio is not None and ratio > config.max_compression_ratio


def is_unlikely(average_log_prob: float, config: WhisperDecodingConfig) -> bool:
    return config.min_average_log_prob is not None and average_log_prob < config.min_average_log_prob


def is_silence(no_speech_prob: float, average_log_prob: float, config: WhisperDecodingConfig) -> bool:
    """Whether the model hears nobody speak and does not believe its own text either (section 4.5)."""
    if config.no_speech_threshold is None or no_speech_prob <= config.no_speech_threshold:
        return False
    return config.min_average_log_prob is None or average_log_prob < config.min_average_log_prob


def trim_repeats(ids: Sequence[int], most: int) -> list[int]:
    """`ids` without what goes beyond `most` repetitions, one after the other, at their end.

    The shortest repeated unit counts; a last repetition that broke off is one of those that go.
    """
    for period in range(1, len(ids) // (most + 1) + 1):
        alike = 0
        while alike + period < len(ids) and ids[-1 - alike] == ids[-1 - alike - period]:
            alike += 1
        if alike >= period * most:
            return list(ids[: len(ids) - alike + period * (most - 1)])
    return list(ids)
