"""Reading a stream by position gives the samples of the whole, however it is cut."""

import numpy as np
import pytest

from harken.inference.whisper.sample_stream import SampleStream


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [10, 10, 50], [99]])
def test_reads_are_slices(cuts: list[int]) -> None:
    whole = np.arange(100, dtype=np.float32)
    stream = SampleStream(np.split(whole, cuts))
    for start, count in ((0, 5), (0, 1), (3, 30), (20, 0), (20, 7), (60, 100), (99, 5), (100, 5)):
        stream.drop(min(start, 60))
        np.testing.assert_array_equal(stream.read(start, count), whole[start : start + count])
    assert stream.length() == 100


def test_length_counts_what_was_never_read() -> None:
    assert SampleStream([np.zeros(7, np.float32), np.zeros(0, np.float32), np.zeros(4, np.float32)]).length() == 11
    assert SampleStream([]).length() == 0


def test_what_was_dropped_is_not_held() -> None:
    stream = SampleStream(np.zeros(1000, np.float32) for _ in range(50))
    for start in range(0, 50_000, 500):
        stream.drop(start)
        assert len(stream.read(start, 700)) == min(700, 50_000 - start)
        assert len(stream._held) <= 2000
