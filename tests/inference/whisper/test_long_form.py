"""Splitting windows by their time tokens; windows that follow one another without loss or repetition."""

from typing import Any

import numpy as np
import pytest

from harken.core import InputError
from harken.inference.whisper.long_form import Independent, Sequential, split_by_times
from harken.inference.whisper.sample_stream import SampleStream
from harken.inference.whisper.speech_windows import SpeechSpan


def ids_of(whisper: Any, *parts: float | str) -> list[int]:
    tokenizer = whisper.tokenizer
    found: list[int] = []
    for part in parts:
        found += tokenizer.encode(part) if isinstance(part, str) else [tokenizer.time_id(part)]
    return found


@pytest.mark.parametrize(
    ("parts", "segments", "advance_s"),
    [
        # whole segments, the last unfinished: from the last pair of times on it is left to the next window
        ((0.0, "a", 0.5, 0.5, "b", 0.9, 0.9, "c"), [(0.0, 0.5, "a"), (0.5, 0.9, "b")], 0.9),
        # a time and nothing after it: the window is done
        ((0.1, "a", 0.5, 0.6, "b", 0.9), [(0.1, 0.5, "a"), (0.6, 0.9, "b")], 1.5),
        ((0.2, "a", 0.9), [(0.2, 0.9, "a")], 1.5),
        # one segment that never ended
        ((0.2, "a"), [(0.2, 1.5, "a")], 1.5),
        ((0.0, "a"), [(0.0, 1.5, "a")], 1.5),
        (("a",), [(0.0, 1.5, "a")], 1.5),
        ((0.0,), [], 1.5),
        ((), [], 1.5),
        # a gap between segments; one that ends with a pair is not decoded again
        ((0.0, "a", 0.3, 0.8, "b", 1.2, 1.2), [(0.0, 0.3, "a"), (0.8, 1.2, "b")], 1.2),
        # no time has passed: everything is taken, or the next window would be this one
        ((0.0, "a", 0.0, 0.0, "b"), [(0.0, 0.0, "a"), (0.0, 1.5, "b")], 1.5),
    ],
)
def test_split(whisper: Any, parts: tuple[Any, ...], segments: list[Any], advance_s: float) -> None:
    found, advance = split_by_times(ids_of(whisper, *parts), whisper.tokenizer, length_s=1.5)
    assert [(s.start_s, s.end_s, whisper.tokenizer.decode(s.ids)) for s in found] == segments
    assert advance == pytest.approx(advance_s)


def test_times_beyond_the_sound_are_its_end(whisper: Any) -> None:
    found, advance = split_by_times(ids_of(whisper, 0.0, "a", 0.4, 0.4, "b", 1.4, 1.4), whisper.tokenizer, length_s=0.7)
    assert [(s.start_s, s.end_s) for s in found] == [(0.0, 0.4), (0.4, 0.7)]
    assert advance == 0.7


def sequential(whisper: Any, samples: np.ndarray, *, timestamps: bool = False) -> Sequential:
    pieces = np.array_split(samples, 7)
    return Sequential(SampleStream(pieces), whisper.tokenizer, longest=24_000, rate_hz=16_000, timestamps=timestamps)


@pytest.mark.parametrize("advance_s", [1.5, 1.0, 0.02])
def test_windows_begin_where_the_last_was_taken_care_of(whisper: Any, advance_s: float) -> None:
    samples = np.random.default_rng(0).standard_normal(60_000).astype(np.float32)
    windows = sequential(whisper, samples)
    seek, count = 0, 0
    while (window := windows.next()) is not None:
        assert windows.next() is None  # one at a time
        assert window.start == seek
        assert window.timestamps
        np.testing.assert_array_equal(window.samples, samples[seek : seek + 24_000])
        windows.accept(window, advance_s)
        seek += min(len(window.samples), round(16_000 * advance_s))
        count += 1
    assert windows.finished
    assert 60_000 - 320 < seek <= 60_000
    assert count == -(-60_000 // round(16_000 * advance_s)) - (advance_s == 0.02) * (60_000 % 320 > 0)


def test_one_window_needs_no_times(whisper: Any) -> None:
    for samples, timestamps in ((24_000, False), (24_001, True), (321, False)):
        window = sequential(whisper, np.ones(samples, np.float32)).next()
        assert window is not None
        assert window.timestamps is timestamps
    wanted = sequential(whisper, np.ones(100_0, np.float32), timestamps=True).next()
    assert wanted is not None
    assert wanted.timestamps


def test_silence_is_passed_over(whisper: Any) -> None:
    samples = np.zeros(24_000 * 4, np.float32)
    samples[60_000] = 0.5
    windows = sequential(whisper, samples)
    window = windows.next()
    assert window is not None
    assert (window.start, len(window.samples)) == (48_000, 24_000)
    windows.accept(window, 1.5)
    assert windows.next() is None
    assert windows.finished
    for count in (0, 1, 319):
        short = sequential(whisper, np.ones(count, np.float32))
        assert short.next() is None
        assert short.finished


def test_long_audio_without_time_tokens_is_refused(untimed: Any) -> None:
    with pytest.raises(
        InputError, match=r"followed by time tokens, and this model's tokenizer has none. Set long_form"
    ):
        sequential(untimed, np.ones(24_001, np.float32)).next()
    assert sequential(untimed, np.ones(24_000, np.float32)).next() is not None


def test_independent_windows_all_at_once() -> None:
    spans = [SpeechSpan(start=n, samples=np.ones(5, np.float32)) for n in (3, 50)]
    windows = Independent(iter(spans), timestamps=False)
    found = [windows.next(), windows.next()]
    assert [window.start for window in found if window] == [3, 50]
    assert windows.next() is None
    assert not windows.finished
    for window in found:
        assert window is not None
        windows.accept(window, 1.0)
    assert windows.finished
