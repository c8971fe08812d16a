"""Conversions between seconds, samples and frames, and sizes for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core.units import (
    DEFAULT_SAMPLE_RATE_HZ,
    format_bytes,
    format_duration,
    frame_count,
    frames_to_seconds,
    samples_to_seconds,
    seconds_to_samples,
)


def test_default_rate_is_what_speech_models_take() -> None:
    assert DEFAULT_SAMPLE_RATE_HZ == 16_000


@pytest.mark.parametrize(
    ("seconds", "rate", "samples"),
    [(0.0, 16_000, 0), (1.0, 16_000, 16_000), (0.1, 44_100, 4_410), (0.00003, 16_000, 0), (0.00004, 16_000, 1)],
)
def test_seconds_become_the_nearest_sample(seconds: float, rate: int, samples: int) -> None:
    assert seconds_to_samples(seconds, sample_rate_hz=rate) == samples


@given(st.integers(0, 10**9), st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]))
def test_samples_survive_the_way_through_seconds(samples: int, rate: int) -> None:
    seconds = samples_to_seconds(samples, sample_rate_hz=rate)
    assert seconds_to_samples(seconds, sample_rate_hz=rate) == samples


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (159, 1), (160, 2), (319, 2), (320, 3), (16_000, 101)])
def test_one_frame_at_zero_then_one_per_full_hop(samples: int, frames: int) -> None:
    assert frame_count(samples, hop_samples=160) == frames


def test_frames_begin_a_hop_apart() -> None:
    assert frames_to_seconds(0, hop_samples=160, sample_rate_hz=16_000) == 0.0
    assert frames_to_seconds(250, hop_samples=160, sample_rate_hz=16_000) == 2.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.8504, "850 ms"),
        (1, "1.0 s"),
        (12.34, "12.3 s"),
        (60, "1 min 00 s"),
        (245.4, "4 min 05 s"),
        (3_599.7, "1 h 00 min"),
        (7_380, "2 h 03 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3.4 * 1024**2, "3.4 MiB"),
        (139.1 * 1024**3, "139.1 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text
