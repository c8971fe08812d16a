"""How large batches and updates are, and what a row of a batch costs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.data.packing import PackedSampler, Sizes
from harken.data.sampler import BucketPlan, BucketSampler, Order, Sampler, plan_buckets
from harken.training.batch_config import BatchConfig
from harken.training.labels import Seq2SeqLabeller
from harken.training.preparation import Subset

_SLACK_S = 0.05  # of a window, for what durations in a manifest are rounded by
_SHORT_SHARE = 0.1  # of a batch, by which an update may fall short before it takes one batch more
_HALVINGS = 40  # of the interval in which a batch's seconds are searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """What batches and updates of a training set hold; each stage draws its batches from it.

    `update_s` is the speech that an update is meant to hold. `plan` is None for packed windows without planned
    buckets: how many of them make a batch depends on how well they are filled. `window_s` is what every row of an
    encoder-decoder model costs, however short its audio is; None elsewhere.
    """

    config: BatchConfig
    update_s: float
    plan: BucketPlan | None
    window_s: float | None
    packed: bool

    def costs_s(self, durations_s: Sequence[float]) -> list[float]:
        """Seconds the model reads for each utterance, where it has a row of its own."""
        return list(durations_s) if self.window_s is None else [self.window_s] * len(durations_s)

    def speech_share(self, durations_s: Sequence[float]) -> float:
        """Speech in what the sampler counts: a row that holds one utterance only is mostly silence."""
        return 1.0 if self.packed else sum(durations_s) / sum(self.costs_s(durations_s))

    def accumulate(self, sampler: Sampler, speech_s: float) -> int:
        """Batches of `sampler` that make an update, by the speech they hold on average; its epoch has `speech_s`."""
        return self.config.accumulate or max(1, round(self.update_s * sampler.steps_per_epoch / speech_s))

    def bucket_sampler(self, durations_s: Sequence[float], *, seed: int, order: Order) -> tuple[Sampler, BucketPlan]:
        """Rows of one utterance each, and the plan they follow."""
        assert self.plan is not None  # only packed windows have none
        return BucketSampler(self.costs_s(durations_s), self.plan, seed=seed, order=order), self.plan

    def packed_sampler(
        self, chosen: Subset, labeller: Seq2SeqLabeller, *, slowest: float, seed: int
    ) -> tuple[Sampler, BucketPlan]:
        """Windows of utterances of one language, and the plan they follow.

        `slowest` is the lowest speed factor that augmentation draws.
        """
        assert self.window_s is not None
        prompts = [len(labeller.prompt(utterance)) for utterance in chosen.utterances]
        room_s = self.window_s - _SLACK_S
        durations_s = np.array([u.duration_s for u in chosen.utterances]) / slowest
        sizes = Sizes(
            durations_s=np.minimum(durations_s, room_s),  # one that fills its window has it for itself
            tokens=np.array(
                [
                    labeller.tokens_taken(ids or (), prompt_tokens)
                    for ids, prompt_tokens in zip(chosen.labels, prompts, strict=True)
                ]
            ),
            kinds=[labeller.language(utterance) for utterance in chosen.utterances],
        )
        sampler = PackedSampler(
            sizes,
            window_s=room_s,
            longest_tokens=labeller.longest_tokens - max(prompts) - 1,
            batch_size=1 if self.plan is None else self.plan.batch_sizes[0],
            seed=seed,
        )
        if self.plan is not None:
            return sampler, self.plan
        # What goes into a window does not depend on how many of them make a batch.
        sampler.batch_size = _window_rows(
            self.config, self.update_s, row_speech_s=chosen.duration_s / sampler.windows, window_s=self.window_s
        )
        return sampler, BucketPlan(edges_s=(self.window_s,), batch_sizes=(sampler.batch_size,))


def plan_batching(
    durations_s: Sequence[float], config: BatchConfig, *, window_s: float | None, packed: bool
) -> Batching:
    """The batching of a set of these durations, by the planned buckets where the recipe has them.

    An update holds `update_s` seconds of speech; what a batch may hold (`batch_s`) counts padding too. Without planned
    buckets the batches are as large as lets an update of the fewest of them hold its seconds on average.

    Raises InputError for planned buckets other than one of the model's window, where it has one.
    """
    mean_s = sum(durations_s) / len(durations_s)
    update_s = config.target_s(mean_s)
    plan = config.plan
    if plan is not None:
        _check_window(plan, window_s)
    elif window_s is None:
        plan = _fill_buckets(durations_s, config, update_s)
    elif not packed:
        rows = _window_rows(config, update_s, row_speech_s=mean_s, window_s=window_s)
        plan = BucketPlan(edges_s=(window_s,), batch_sizes=(rows,))
    return Batching(config=config, update_s=update_s, plan=plan, window_s=window_s, packed=packed)


def _check_window(plan: BucketPlan, window_s: float | None) -> None:
    if window_s is not None and plan.edges_s != (window_s,):
        raise InputError(
            f"batches.edges_s is {list(plan.edges_s)}, but every row of this model is a window of {window_s:g} s.",
            hint=f"Give the one edge {window_s:g} and one batch size.",
        )


def _window_rows(config: BatchConfig, update_s: float, *, row_speech_s: float, window_s: float) -> int:
    """Windows of a batch."""
    wanted = update_s / row_speech_s
    most = min(config.max_batch_size, _fitting(config.batch_s, window_s))
    batches = config.accumulate or _fewest_batches(wanted, most)
    return min(max(1, round(wanted / batches)), int(most))


def _fill_buckets(durations_s: Sequence[float], config: BatchConfig, update_s: float) -> BucketPlan:
    """Buckets that pad little, with the batch sizes that hold an update's share of speech on average.

    What a batch holds is less than its bound: rows are whole, padding counts, and a bucket's last batch is dealt out.
    """
    budget_s = min(config.batch_s or update_s, update_s)
    edges_s = plan_buckets(durations_s, buckets=config.buckets, batch_seconds=budget_s).edges_s
    values_s = np.sort(np.array(durations_s, dtype=np.float32))  # in single precision, as the sampler compares
    ends = np.searchsorted(values_s, np.array(edges_s, dtype=np.float32), side="right")
    members = np.diff(ends, prepend=0)
    sums_s = np.diff(np.append(0.0, values_s.cumsum(dtype=np.float64))[ends], prepend=0.0)
    mean_s = np.where(members > 0, sums_s / np.maximum(members, 1), edges_s)
    most = np.array([min(config.max_batch_size, _fitting(config.batch_s, edge)) for edge in edges_s])

    def sizes(batch_s: float) -> npt.NDArray[np.int64]:
        rows: npt.NDArray[np.int64] = np.clip(np.rint(batch_s / mean_s), 1, most).astype(np.int64)
        return rows

    def held_s(batch_s: float) -> float:
        return float(sums_s.sum()) / float((-(-members // sizes(batch_s))).sum())

    largest_s = float((most * mean_s).max())
    batches = config.accumulate or _fewest_batches(update_s, held_s(largest_s))
    chosen = sizes(_nearest(held_s, update_s / batches, largest_s))
    return BucketPlan(edges_s=edges_s, batch_sizes=tuple(chosen.tolist()))


def _fitting(batch_s: float | None, row_s: float) -> float:
    """Rows of `row_s` seconds that fit into a batch, at least one."""
    return math.inf if batch_s is None else max(1, batch_s // row_s)


def _fewest_batches(wanted: float, largest: float) -> int:
    return max(1, math.ceil(wanted / largest - _SHORT_SHARE))


def _nearest(rising: Callable[[float], float], wanted: float, highest: float) -> float:
    """Where in [0, highest] a function that never falls comes nearest to `wanted`, by bisection."""
    low, high = 0.0, highest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return min(low, high, key=lambda place: abs(rising(place) - wanted))
