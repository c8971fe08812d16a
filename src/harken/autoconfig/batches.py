"""Which utterances a plan keeps, the buckets they fall into, and the batch sizes that memory and the update allow.

Everything here is arithmetic on sorted durations and the laws of memory and speed.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.autoconfig.plan import BucketPlanRow
from harken.autoconfig.plan_inputs import MemoryModel, PlanSettings, SpeedModel
from harken.autoconfig.speech import Speech, longest_allowed_s, milliseconds_up, share_out
from harken.data.sampler import plan_buckets

_BEYOND = 1.25  # of an update: some batches may hold more, as others (a bucket's last, many short rows) hold less
_SHORT_SHARE = 0.1  # of a batch, by which an update may fall short before it takes one batch more
_HALVINGS = 30  # of the search for a bound in seconds: finer than one utterance
_ROUNDS = 2  # of settling the number of buckets, which depends on the size of a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Buckets with their sizes, how many batches make an update, and what an epoch of them takes.

    An update should hold `target_s` seconds of speech, and a batch `batch_s` where memory allows. `bounded` says
    whether a batch could hold more of an update if there was more memory. `kept` counts known utterances, `utterances`
    those of the whole set they stand for; `rejected` are the others. `ordinary` of the known ones are not far beyond
    the rest. `batches` are those of an epoch in each bucket.
    """

    rows: tuple[BucketPlanRow, ...]
    batches: tuple[int, ...]
    accumulate: int
    target_s: float
    batch_s: float
    bounded: bool
    kept: int
    ordinary: int
    utterances: int
    rejected: int
    speech_s: float
    rejected_s: float
    epoch_s: float

    @property
    def steps(self) -> int:
        """Micro-batches of an epoch."""
        return sum(self.batches)

    @property
    def updates(self) -> int:
        """Optimiser updates of an epoch."""
        return -(-self.steps // self.accumulate)

    @property
    def update_s(self) -> float:
        """Seconds of speech in an update, on average."""
        return self.speech_s / self.updates

    @property
    def seconds_per_audio_s(self) -> float:
        """Wall time for a second of speech."""
        return self.epoch_s / self.speech_s


def plan_batches(
    speech: Speech, memory: MemoryModel, speed: SpeedModel, settings: PlanSettings, *, budget_bytes: int
) -> Batches | None:
    """Batches that fit the budget and make updates of the audio asked for; None where not one utterance fits.

    Buckets are never merged: that would pad more, and saves nothing. Where one batch does not make an update, gradients
    are accumulated, which takes memory of its own, so that the sizes are found anew.
    """
    maker = _Maker(speech=speech, memory=memory, speed=speed, settings=settings, budget_bytes=budget_bytes)
    made = maker.make(accumulated=False, parts=1)
    if made is None or made.accumulate == 1:
        return made
    for _ in range(_ROUNDS):
        made = maker.make(accumulated=True, parts=made.accumulate)
        if made is None:
            return None
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buckets:
    edges_s: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]  # of known utterances
    scaled: npt.NDArray[np.int64]  # of all utterances
    mean_s: npt.NDArray[np.float64]  # of the speech, not of what a row costs
    tokens: npt.NDArray[np.int64]

    @property
    def speech_s(self) -> float:
        return float(self.scaled @ self.mean_s)

    def batches(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Batches of an epoch in each bucket, as the sampler deals them."""
        return -(-self.scaled // sizes)

    def caps(self, batch_s: float, settings: PlanSettings) -> npt.NDArray[np.int64]:
        """Sizes whose batches hold about this much speech."""
        most = np.minimum(self.scaled, settings.max_batch_size)
        return np.clip(np.rint(batch_s / self.mean_s), 1, most).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    speech: Speech
    memory: MemoryModel
    speed: SpeedModel
    settings: PlanSettings
    budget_bytes: int

    def make(self, *, accumulated: bool, parts: int) -> Batches | None:
        """Batches for updates of about `parts` of them."""
        kept = self._kept(accumulated)
        if not kept:
            return None
        kept_s = self.speech.durations_s[:kept]
        target_s = self.settings.target_audio_s or self.settings.target_batch_size * float(kept_s.mean())
        buckets, rejected = self._buckets(kept, target_s / parts)
        largest = self._largest(buckets, buckets.caps(_BEYOND * target_s, self.settings), accumulated)
        batch_s = _matching_batch_s(buckets, largest, target_s, self.settings)
        caps = buckets.caps(batch_s, self.settings)
        sizes = np.minimum(caps, largest)
        batches = buckets.batches(sizes)
        steps = int(batches.sum())
        accumulate = min(steps, max(1, round(target_s * steps / buckets.speech_s)))
        return Batches(
            rows=self._rows(buckets, sizes, caps, accumulated),
            batches=tuple(batches.tolist()),
            accumulate=accumulate,
            target_s=target_s,
            batch_s=batch_s,
            bounded=bool((largest < buckets.caps(target_s, self.settings)).any()),
            kept=kept,
            ordinary=int(np.searchsorted(kept_s, self.speech.ordinary_s, side="right")),
            utterances=int(buckets.scaled.sum()),
            rejected=rejected,
            speech_s=buckets.speech_s,
            rejected_s=rejected * float(self.speech.durations_s[kept:].mean()) if rejected else 0.0,
            epoch_s=self._epoch_s(buckets, batches, accumulate),
        )

    def _kept(self, accumulated: bool) -> int:
        """Known utterances, from the shortest on, that are allowed and fit in a batch of one."""
        speech = self.speech
        allowed = speech.allowed(longest_allowed_s(speech, self.settings))
        edges_s = np.ceil(speech.durations_s[:allowed] * 1000) / 1000
        tokens = np.maximum.accumulate(speech.tokens[:allowed])

        def too_large(index: int) -> bool:
            last = int(np.searchsorted(edges_s, edges_s[index], side="right")) - 1
            cost_s = speech.cost_s(float(edges_s[index]))
            peak = self.memory.peak_bytes(batch=1, duration_s=cost_s, tokens=int(tokens[last]), accumulated=accumulated)
            return peak > self.budget_bytes

        return bisect_left(range(allowed), True, key=too_large)

    def _buckets(self, kept: int, batch_s: float) -> tuple[_Buckets, int]:
        """Buckets of the shortest `kept` known utterances, and how many of the set are left out."""
        speech = self.speech
        kept_s = speech.durations_s[:kept]
        if speech.window_s is None:
            edges_s = np.array(_edges_s(kept_s, speech.ordinary_s, batch_s, self.settings.buckets))
            ends = np.searchsorted(kept_s.astype(np.float32), edges_s.astype(np.float32), side="right")
        else:
            edges_s, ends = np.array([speech.window_s]), np.array([kept])
        starts = np.concatenate([[0], ends[:-1]])
        counts = ends - starts
        *scaled, rejected = share_out([*counts.tolist(), speech.durations_s.size - kept], speech.utterances)
        buckets = _Buckets(
            edges_s=edges_s,
            counts=counts,
            scaled=np.array(scaled),
            mean_s=np.add.reduceat(kept_s, starts) / counts,
            tokens=np.maximum.reduceat(speech.tokens[:kept], starts),
        )
        return buckets, rejected

    def _largest(self, buckets: _Buckets, caps: npt.NDArray[np.int64], accumulated: bool) -> npt.NDArray[np.int64]:
        found = [
            self.memory.largest_batch(
                self.budget_bytes, duration_s=edge_s, tokens=tokens, accumulated=accumulated, at_most=cap
            )
            for edge_s, tokens, cap in zip(
                buckets.edges_s.tolist(), buckets.tokens.tolist(), caps.tolist(), strict=True
            )
        ]
        return np.maximum(np.array(found, dtype=np.int64), 1)  # each fits alone, or it would not have been kept

    def _rows(
        self, buckets: _Buckets, sizes: npt.NDArray[np.int64], caps: npt.NDArray[np.int64], accumulated: bool
    ) -> tuple[BucketPlanRow, ...]:
        rows = []
        columns = (buckets.edges_s, buckets.tokens, buckets.scaled, sizes, caps)
        for edge_s, tokens, utterances, size, cap in zip(*(column.tolist() for column in columns), strict=True):
            point = {"batch": size, "duration_s": edge_s, "tokens": tokens, "accumulated": accumulated}
            rows.append(
                BucketPlanRow(
                    upper_edge_s=edge_s,
                    batch_size=size,
                    tokens=tokens,
                    utterances=utterances,
                    peak_bytes=self.memory.peak_bytes(**point),
                    memory=dict(self.memory.by_kind(**point)),
                    saturated=size < cap,
                )
            )
        return tuple(rows)

    def _epoch_s(self, buckets: _Buckets, batches: npt.NDArray[np.int64], accumulate: int) -> float:
        usual = -(-buckets.scaled // batches)  # the sampler deals batches of even size
        columns = (batches, usual, buckets.edges_s, buckets.tokens)
        steps_s = sum(
            count * self.speed.step_s(batch=size, duration_s=edge_s, tokens=tokens)
            for count, size, edge_s, tokens in zip(*(column.tolist() for column in columns), strict=True)
        )
        return float(steps_s + -(-int(batches.sum()) // accumulate) * self.speed.update_s())


def _edges_s(kept_s: npt.NDArray[np.float64], ordinary_s: float, batch_s: float, buckets: int) -> tuple[float, ...]:
    """Edges that pad least. What is far beyond the rest has a bucket of its own and shapes no other."""
    ordinary = kept_s[kept_s <= ordinary_s]
    edges_s = plan_buckets(ordinary, buckets=buckets, batch_seconds=batch_s).edges_s
    if ordinary.size < kept_s.size:
        edges_s = (*edges_s, milliseconds_up(float(kept_s[-1])))
    return edges_s


def _matching_batch_s(
    buckets: _Buckets, largest: npt.NDArray[np.int64], target_s: float, settings: PlanSettings
) -> float:
    """Seconds of speech per batch with which the fewest batches that memory allows make an update of the target."""

    def mean_s(batch_s: float) -> float:
        sizes = np.minimum(buckets.caps(batch_s, settings), largest)
        return buckets.speech_s / int(buckets.batches(sizes).sum())

    low_s, high_s = 0.0, _BEYOND * target_s
    wanted_s = target_s / max(1, math.ceil(target_s / mean_s(high_s) - _SHORT_SHARE))
    if mean_s(high_s) <= wanted_s:
        return high_s
    for _ in range(_HALVINGS):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if mean_s(middle_s) < wanted_s else (low_s, middle_s)
    return min(low_s, high_s, key=lambda batch_s: abs(mean_s(batch_s) - wanted_s))
