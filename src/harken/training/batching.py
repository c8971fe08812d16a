"""How large batches and updates are, and what a row of a batch costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harken.data.packing import PackedSampler, Sizes
from harken.data.sampler import BucketPlan, plan_buckets
from harken.training.labels import Seq2SeqLabeller
from harken.training.preparation import Subset
from harken.training.recipe import BatchConfig

_SLACK_S = 0.05  # of a window, for what durations in a manifest are rounded by


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """Buckets with their batch sizes, and how many batches make an update.

    `window_s` is what every row of an encoder-decoder model costs, however short its audio is; None elsewhere.
    """

    plan: BucketPlan
    accumulate: int
    window_s: float | None
    packed: bool

    def costs_s(self, durations_s: Sequence[float]) -> list[float]:
        """Seconds the model reads for each utterance, where it has a row of its own."""
        return list(durations_s) if self.window_s is None else [self.window_s] * len(durations_s)

    def speech_share(self, durations_s: Sequence[float]) -> float:
        """Speech in what the sampler counts: a row that holds one utterance only is mostly silence."""
        return 1.0 if self.packed else sum(durations_s) / sum(self.costs_s(durations_s))

    def packed_sampler(self, chosen: Subset, labeller: Seq2SeqLabeller, *, slowest: float, seed: int) -> PackedSampler:
        """Windows of utterances of one language; `slowest` is the lowest speed factor that augmentation draws."""
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
        return PackedSampler(
            sizes,
            window_s=room_s,
            longest_tokens=labeller.longest_tokens - max(prompts) - 1,
            batch_size=self.plan.batch_sizes[0],
            seed=seed,
        )


def plan_batching(
    durations_s: Sequence[float], config: BatchConfig, *, window_s: float | None, packed: bool
) -> Batching:
    """The batching of a set of these durations.

    An update holds `update_s` seconds of speech; what a batch may hold (`batch_s`) counts padding too.
    """
    speech_s = sum(durations_s)
    costs_s = list(durations_s) if window_s is None or packed else [window_s] * len(durations_s)
    update_cost_s = config.target_s(speech_s / len(durations_s)) * sum(costs_s) / speech_s
    batch_s = min(config.batch_s or update_cost_s, update_cost_s)
    if window_s is None:
        plan = plan_buckets(
            durations_s, buckets=config.buckets, batch_seconds=batch_s, max_batch_size=config.max_batch_size
        )
    else:
        rows = min(max(1, round(batch_s / window_s)), config.max_batch_size)
        plan = BucketPlan(edges_s=(window_s,), batch_sizes=(rows,))
        batch_s = rows * window_s
    return Batching(plan=plan, accumulate=max(1, round(update_cost_s / batch_s)), window_s=window_s, packed=packed)
