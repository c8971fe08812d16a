"""The utterances a plan is made for: how long they are, how long their labels, and which are far beyond the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harken.autoconfig.dataset import DatasetProfile
from harken.autoconfig.plan_inputs import PlanSettings
from harken.core import InputError

if TYPE_CHECKING:
    from harken.autoconfig.model import ModelProfile

CHARACTERS_PER_S = 20.0
"""Of fast speech (200 words of 6 letters a minute), for data whose texts are not known."""

_FRAMES_PER_S = 100  # of the finest front ends
_FAR_TIMES, _FAR_QUANTILE, _FAR_FROM_S = 4.0, 0.99, 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Speech:
    """The known utterances from short to long. They stand for all `utterances` of the set.

    `tokens` are the expected lengths of their labels. `window_s` is what a row costs in memory whatever it holds, None
    for models that read audio of any length.
    """

    durations_s: npt.NDArray[np.float64]  # (known,) ascending
    tokens: npt.NDArray[np.int64]  # (known,)
    utterances: int
    window_s: float | None

    @property
    def ordinary_s(self) -> float:
        """Longer utterances are far beyond the rest: over a minute, and four times the 99th percentile."""
        usual_s = float(np.quantile(self.durations_s, _FAR_QUANTILE, method="lower"))
        return max(_FAR_FROM_S, _FAR_TIMES * usual_s)

    def cost_s(self, duration_s: float) -> float:
        """What a row of this duration is padded to at least, rounded up to milliseconds as bucket edges are."""
        return milliseconds_up(duration_s) if self.window_s is None else self.window_s

    def allowed(self, longest_s: float) -> int:
        """Known utterances up to this duration."""
        return int(np.searchsorted(self.durations_s, longest_s, side="right"))

    def tokens_at(self, duration_s: float) -> int:
        """Length of the labels of the first known utterance that lasts as long, or of the longest."""
        place = int(np.searchsorted(self.durations_s, duration_s))
        return int(self.tokens[min(place, self.tokens.size - 1)])


def speech_of(dataset: "DatasetProfile", model: "ModelProfile") -> Speech:
    """Durations and labels as the planner needs them. Raises InputError for a data set without utterances."""
    durations_s = _decimal(dataset.durations_s)
    if not durations_s.size:
        raise InputError(
            f"{dataset.source} has no utterances with a known duration.", hint="Check the manifest: harken data stats."
        )
    characters = np.asarray(dataset.characters, dtype=np.int64)
    if not characters.any():
        characters = np.ceil(durations_s * CHARACTERS_PER_S).astype(np.int64)
    counts, place = np.unique(characters, return_inverse=True)
    tokens = np.array([model.tokens(count) for count in counts.tolist()], dtype=np.int64)[place]
    if model.longest_tokens is None:  # training leaves out labels that are longer than the frames
        tokens = np.minimum(tokens, np.ceil(durations_s * _FRAMES_PER_S).astype(np.int64))
    order = np.argsort(durations_s, kind="stable")
    return Speech(
        durations_s=durations_s[order],
        tokens=tokens[order],
        utterances=dataset.utterances,
        window_s=model.window_s,
    )


def _decimal(durations_s: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Single precision made double, with 12.3 as 12.3 and not 12.3000002, which the next edge up would not be."""
    short = np.round(durations_s.astype(np.float64), 3)
    same: npt.NDArray[np.bool_] = short.astype(np.float32) == durations_s
    return np.where(same, short, durations_s.astype(np.float64))


def milliseconds_up(duration_s: float) -> float:
    """The duration rounded up to milliseconds, as the edges of buckets are."""
    return math.ceil(duration_s * 1000) / 1000


def longest_allowed_s(speech: Speech, settings: PlanSettings) -> float:
    """Longest utterance that the model and the user allow, whatever fits; infinite where neither sets a bound."""
    bounds = (settings.max_audio_duration_s, speech.window_s)
    return min((bound for bound in bounds if bound is not None), default=float("inf"))


def share_out(counts: Sequence[int], total: int) -> list[int]:
    """`total` in proportion to `counts`, in whole numbers that add up to it (largest remainders, Hamilton 1792)."""
    known = sum(counts)
    exact = [count * total / known for count in counts]
    shares = [count * total // known for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares
