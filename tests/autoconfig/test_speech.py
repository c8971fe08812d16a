"""The utterances as the planner sees them."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.speech import longest_allowed_s, milliseconds_up, share_out, speech_of
from harken.core import InputError


def test_sorted_with_the_labels_beside(planning: Any) -> None:
    dataset = planning.dataset_of([3.0, 1.0, 2.0], characters=np.array([7, 11, 2], dtype=np.int32))
    speech = speech_of(dataset, planning.Shape(tokens_per_character=0.5, prompt_tokens=4))
    assert speech.durations_s.tolist() == [1.0, 2.0, 3.0]
    assert speech.tokens.tolist() == [10, 5, 8]  # 5.5 up, 1, 3.5 up, and the prompt
    assert speech.cost_s(1.0001) == 1.001
    assert speech.utterances == 3


def test_labels_are_never_longer_than_the_model_takes(planning: Any) -> None:
    dataset = planning.dataset_of([3.0], characters=np.array([9000], dtype=np.int32))
    assert speech_of(dataset, planning.Shape(longest_tokens=448)).tokens.tolist() == [448]


def test_labels_are_never_longer_than_the_finest_frames(planning: Any) -> None:
    dataset = planning.dataset_of([3.0, 0.004], characters=np.array([9000, 1], dtype=np.int32))
    assert speech_of(dataset, planning.Shape()).tokens.tolist() == [1, 300]


def test_without_texts_labels_are_those_of_fast_speech(planning: Any) -> None:
    dataset = planning.dataset_of([3.0, 10.0], characters=np.zeros(2, dtype=np.int32))
    assert speech_of(dataset, planning.Shape()).tokens.tolist() == [60, 200]


def test_a_row_of_a_model_with_a_window_costs_the_window(planning: Any) -> None:
    speech = speech_of(planning.dataset_of([3.0]), planning.Shape(window_s=30.0))
    assert speech.cost_s(3.0) == 30.0


def test_no_durations_are_refused(planning: Any) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl has no utterances with a known duration"):
        speech_of(planning.dataset_of([], utterances=5), planning.Shape())


@pytest.mark.parametrize(
    ("durations_s", "ordinary_s"),
    [
        ([5.0] * 100, 60.0),  # four times 5 s is below a minute
        ([20.0] * 100 + [10_800.0], 80.0),
        ([5.0, 10_800.0], 60.0),
        ([300.0], 1200.0),
    ],
)
def test_what_is_far_beyond_the_rest(planning: Any, durations_s: list[float], ordinary_s: float) -> None:
    assert speech_of(planning.dataset_of(durations_s), planning.Shape()).ordinary_s == ordinary_s


@pytest.mark.parametrize(
    ("window_s", "asked_s", "bound_s"),
    [(None, None, float("inf")), (30.0, None, 30.0), (None, 12.0, 12.0), (30.0, 12.0, 12.0), (30.0, 50.0, 30.0)],
)
def test_the_shorter_bound_holds(planning: Any, window_s: float | None, asked_s: float | None, bound_s: float) -> None:
    speech = speech_of(planning.dataset_of([3.0]), planning.Shape(window_s=window_s))
    assert longest_allowed_s(speech, PlanSettings(max_audio_duration_s=asked_s)) == bound_s


def test_labels_at_a_duration_are_those_of_an_utterance_as_long(planning: Any) -> None:
    speech = speech_of(planning.dataset_of([1.0, 2.0, 5.0]), planning.Shape())
    assert [speech.tokens_at(duration_s) for duration_s in (0.5, 2.0, 5.0, 100.0)] == [10, 20, 50, 50]


def test_edges_are_rounded_up() -> None:
    assert [milliseconds_up(value) for value in (1.0, 1.0004, 1.0006, 1.001)] == [1.0, 1.001, 1.001, 1.001]


@given(counts=st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), extra=st.integers(0, 10**6))
def test_shares_add_up_and_are_within_one_of_exact(counts: list[int], extra: int) -> None:
    total = sum(counts) + extra
    shares = share_out(counts, total)
    assert sum(shares) == total
    for count, share in zip(counts, shares, strict=True):
        assert abs(share - Fraction(count * total, sum(counts))) < 1


def test_the_largest_remainders_get_what_is_left() -> None:
    assert share_out([1, 1, 1], 10) == [4, 3, 3]
    assert share_out([5, 3, 2], 11) == [6, 3, 2]  # 5.5, 3.3, 2.2
    assert share_out([4, 6], 10) == [4, 6]
