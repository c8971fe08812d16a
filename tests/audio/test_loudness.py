"""Loudness against the figures that ITU-R BS.1770 and EBU Tech 3341 publish, and against pyloudnorm."""

import numpy as np
import numpy.typing as npt
import pytest

from harken.audio.loudness import _k_weighting, integrated_loudness

MONO_LU = -3.01
"""The published signals of EBU Tech 3341 are stereo; one of their two channels carries half the power."""


def sine(db: float, seconds: float, rate: int = 48_000, hertz: float = 1_000.0) -> npt.NDArray[np.float32]:
    t = np.arange(round(seconds * rate)) / rate
    return (10 ** (db / 20) * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def test_a_full_scale_sine_reads_minus_3_01() -> None:
    """BS.1770-5, annex 1: a 0 dB FS, 997 Hz sine in one channel."""
    assert integrated_loudness(sine(0, 5, hertz=997), sample_rate_hz=48_000) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_other_rates_read_the_same(rate: int) -> None:
    assert integrated_loudness(sine(0, 5, rate, 997), sample_rate_hz=rate) == pytest.approx(-3.01, abs=0.05)


def test_the_filters_are_the_published_ones_at_48_khz() -> None:
    """BS.1770-5, tables 1 and 2."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(_k_weighting(48_000), [shelf, high_pass], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_the_signals_of_ebu_tech_3341(parts: list[tuple[float, float]], expected: float) -> None:
    """Cases 1 to 5 with the document's tolerance of 0.1 LU; gates have to leave the quiet parts out."""
    signal = np.concatenate([sine(db, seconds) for db, seconds in parts])
    found = integrated_loudness(signal, sample_rate_hz=48_000)
    assert found == pytest.approx(expected + MONO_LU, abs=0.1)


@pytest.mark.rival
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.4, 0.5, 3.7])
def test_pyloudnorm_reads_the_same(rate: int, seconds: float) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    generator = np.random.default_rng(round(seconds * 10) + rate)
    signal = generator.standard_normal(round(seconds * rate)) * np.geomspace(0.3, 0.001, round(seconds * rate))
    found = integrated_loudness(signal.astype(np.float32), sample_rate_hz=rate)
    exact = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(signal)
    approximate = pyloudnorm.Meter(rate).integrated_loudness(signal)  # its default weighting is an approximation
    assert found == pytest.approx(exact, abs=0.01)
    assert found == pytest.approx(approximate, abs=0.5)


def test_none_where_there_is_no_block_to_measure() -> None:
    assert integrated_loudness(sine(-20, 0.399, 16_000), sample_rate_hz=16_000) is None
    assert integrated_loudness(sine(-20, 0.4, 16_000), sample_rate_hz=16_000) is not None
    assert integrated_loudness(np.zeros(16_000, np.float32), sample_rate_hz=16_000) is None
    assert integrated_loudness(sine(-80, 2, 16_000), sample_rate_hz=16_000) is None
    assert integrated_loudness(np.zeros(0, np.float32), sample_rate_hz=16_000) is None
    assert integrated_loudness(sine(-20, 2, 2_000, 300), sample_rate_hz=2_000) is None


def test_blocks_of_rates_that_100_ms_do_not_divide() -> None:
    assert integrated_loudness(sine(-20, 2, 11_025, 997), sample_rate_hz=11_025) == pytest.approx(-23.01, abs=0.06)
