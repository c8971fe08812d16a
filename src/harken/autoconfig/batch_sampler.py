"""The planned buckets for loaders of PyTorch: batches of similar duration, each bucket with its own size."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy.typing as npt

from harken.data.sampler import BucketPlan, BucketSampler


class PlannedBuckets(Protocol):
    """What has a plan's buckets: a plan, or the configuration that `create_optimal_config` gives."""

    @property
    def buckets(self) -> Any:
        """Rows with `upper_edge_s` and `batch_size`."""
        ...


class PlannedBatchSampler:
    """`batch_sampler` of a torch.utils.data.DataLoader: lists of indices, every utterance once an epoch.

    The batches are a function of (seed, epoch, rank). Each pass is the next epoch, unless `set_epoch` names one, which
    the Trainer of transformers does, so that a run that is resumed goes on where it was.
    """

    drop_last = False

    def __init__(self, sampler: BucketSampler) -> None:
        self._sampler = sampler
        self.batch_size = max(sampler.plan.batch_sizes)
        self.epoch = 0

    def __len__(self) -> int:
        """Batches of an epoch, the same number in each."""
        return self._sampler.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self.epoch
        for step in range(len(self)):
            yield self._sampler.items(epoch, step)
        self.epoch = epoch + 1

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass is, from 0."""
        self.epoch = epoch


def planned_batch_sampler(
    durations_s: npt.ArrayLike, config: PlannedBuckets, *, seed: int = 0, world_size: int = 1, rank: int = 0
) -> PlannedBatchSampler:
    """Batches of the data set whose utterances last `durations_s` seconds, in its order, in the buckets of `config`.

    With several processes each makes its own, with its `rank` of `world_size`; the loader must then not be handed to
    accelerate's `prepare`, which would share the batches out once more. Raises InputError for an utterance that lasts
    longer than `max_audio_duration_seconds`, and for durations that are not above 0.
    """
    buckets = BucketPlan(
        edges_s=tuple(row.upper_edge_s for row in config.buckets),
        batch_sizes=tuple(row.batch_size for row in config.buckets),
    )
    return PlannedBatchSampler(BucketSampler(durations_s, buckets, seed=seed, world_size=world_size, rank=rank))
