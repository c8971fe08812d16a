"""Which tokens may come next: suppression, repetition, and the grammar of Whisper's time tokens.

Radford et al. 2022, section 4.5. Works in place on scores of all hypotheses at once.

Shapes: N hypotheses, T tokens chosen so far, V vocab.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.inference.whisper.backend import Search

Scores = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialIds:
    """Ids that steer decoding; `first_time` is that of 0.00 s, with all other times behind it (None: no times)."""

    start: int
    end: int
    no_timestamps: int
    first_time: int | None
    no_speech: int | None


class TokenRules:
    """The rules of one call of `generate`."""

    def __init__(
        self, special: SpecialIds, search: Search, *, suppressed: Sequence[int], suppressed_first: Sequence[int]
    ) -> None:
        self._special, self._search = special, search
        self._suppressed = np.array(sorted({*suppressed, *search.suppress}), np.int64)
        self._suppressed_first = np.array(sorted(set(suppressed_first)), np.int64)

    def apply(self, scores_NV: Scores, chosen_NT: Ids) -> None:
        """Set the scores of tokens that may not follow `chosen_NT` to minus infinity."""
        first = chosen_NT.shape[1] == 0
        if self._search.repetition_penalty != 1 and not first:
            _penalise(scores_NV, chosen_NT, np.float32(self._search.repetition_penalty))
        if self._search.no_repeat_ngram:
            _forbid_ngrams(scores_NV, chosen_NT, self._search.no_repeat_ngram)
        scores_NV[:, self._suppressed] = -np.inf
        if first:
            scores_NV[:, self._suppressed_first] = -np.inf
        if self._search.timestamps and self._special.first_time is not None:
            self._apply_times(scores_NV, chosen_NT, self._special.first_time)

    def _apply_times(self, scores_NV: Scores, chosen_NT: Ids, first_time: int) -> None:
        scores_NV[:, self._special.no_timestamps] = -np.inf
        times = scores_NV[:, first_time:]
        if chosen_NT.shape[1] == 0:  # a window begins with a time, and soon
            scores_NV[:, :first_time] = -np.inf
            times[:, self._search.latest_first + 1 :] = -np.inf
            return
        is_time = chosen_NT >= first_time
        last, before = is_time[:, -1], is_time[:, -2] if chosen_NT.shape[1] > 1 else np.True_
        closing = (
            last & ~before
        )  # text, then a time: the segment's end, which wants the next one's beginning or the end
        times[last & before] = -np.inf
        scores_NV[closing, : self._special.end] = -np.inf
        latest_N = np.where(is_time, chosen_NT, 0).max(axis=1)
        lowest_N = np.where(latest_N > 0, latest_N + ~closing - first_time, 0)
        times[np.arange(times.shape[1]) < lowest_N[:, None]] = -np.inf
        # All times together likelier than any one other token: it is time for a time.
        text_N = scores_NV[:, :first_time].max(axis=1)
        scores_NV[log_sum(times) > text_N, :first_time] = -np.inf


def log_sum(scores_NV: Scores) -> npt.NDArray[np.float32]:
    """(N,) logarithm of the sum of exponentials; minus infinity where nothing is allowed."""
    peak_N1 = scores_NV.max(axis=1, keepdims=True)
    peak_N1[~np.isfinite(peak_N1)] = 0
    with np.errstate(divide="ignore"):
        total: npt.NDArray[np.float32] = np.log(np.exp(scores_NV - peak_N1).sum(axis=1)) + peak_N1[:, 0]
    return total


def _penalise(scores_NV: Scores, chosen_NT: Ids, penalty: np.float32) -> None:
    """Keskar et al. 2019, section 4.1: what was said before is made less likely."""
    found = np.take_along_axis(scores_NV, chosen_NT, axis=1)
    np.put_along_axis(scores_NV, chosen_NT, np.where(found < 0, found * penalty, found / penalty), axis=1)


def _forbid_ngrams(scores_NV: Scores, chosen_NT: Ids, length: int) -> None:
    """Forbid every token that would end an n-gram of `length` for the second time (Paulus et al. 2017, section 2.5)."""
    tokens = chosen_NT.shape[1]
    if tokens < length:
        return
    windows = np.lib.stride_tricks.sliding_window_view(chosen_NT, length, axis=1)
    tail_N1 = chosen_NT[:, tokens - length + 1 :][:, None]
    rows, places = np.nonzero((windows[:, :, : length - 1] == tail_N1).all(axis=2))
    scores_NV[rows, windows[rows, places, length - 1]] = -np.inf
