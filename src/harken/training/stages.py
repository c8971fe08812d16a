"""The stages of a run: each has utterances, a sampler and augmentation of its own.

Training without a curriculum is one stage of everything. Which batches an update takes is a function of its number
alone, so a run that was killed inside a stage goes on there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harken.core import InputError, derive_seed
from harken.data.loader import BatchLoader
from harken.data.sampler import BucketPlan, Sampler
from harken.data.select import select_utterances
from harken.training.loop import Span
from harken.training.preparation import Subset
from harken.training.recipe import StageConfig
from harken.training.update import BucketBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage: its place among the updates, and what serves its batches, `accumulate` of them an update.

    `plan` holds the buckets and batch sizes that the sampler follows. `speech_share` is the share of speech in what the
    sampler takes for unpadded.
    """

    span: Span
    sampler: Sampler
    loader: BatchLoader
    accumulate: int
    plan: BucketPlan
    speech_share: float

    def batches(self, first: int, last: int) -> Iterator[list[BucketBatch]]:
        """The batches of each update in [first, last), counted from the start of the stage, prepared ahead."""
        sampler, accumulate = self.sampler, self.accumulate
        start = sampler.update_steps(first, accumulate).start
        stream = self.loader.iterate(start, sampler.update_steps(last - 1, accumulate).stop)
        try:
            for update in range(first, last):
                steps = sampler.update_steps(update, accumulate)
                places = [divmod(step, sampler.steps_per_epoch) for step in steps]
                yield [BucketBatch(bucket=sampler.bucket(*place), batch=next(stream)) for place in places]
        finally:
            stream.close()


def batches_of(stages: Sequence[Stage], first: int, last: int) -> Iterator[list[BucketBatch]]:
    """The batches of each update in [first, last), through all stages."""
    for stage in stages:
        start, stop = max(first, stage.span.first), min(last, stage.span.end)
        if start < stop:
            yield from stage.batches(start - stage.span.first, stop - stage.span.first)


def identity_of(stages: Sequence[Stage]) -> dict[str, Any]:
    """What the order of the batches depends on, as plain data."""
    if len(stages) == 1 and not stages[0].span.name:
        return stages[0].sampler.identity()
    return {"stages": [[stage.span.name, stage.span.updates, stage.sampler.identity()] for stage in stages]}


def stage_seed(seed: int, stage: StageConfig | None) -> int:
    """Seed of a stage's order and augmentation: its name keys it, so stages can be added without changing others."""
    return seed if stage is None else derive_seed(seed, "stage", stage.name)


def members_of(train: Subset, stage: StageConfig | None) -> list[int]:
    """Places in the training set that a stage uses. Raises InputError where none is left."""
    if stage is None:
        return list(range(len(train.utterances)))
    places = {id(utterance): place for place, utterance in enumerate(train.utterances)}
    chosen = select_utterances(train.utterances, stage.select)
    if not chosen.kept:
        raise InputError(
            f"Stage {stage.name!r} of the curriculum has no utterances: of {len(train.utterances)}, the first is left "
            f"out because {chosen.rejected[0].reason}.",
            hint="Loosen its select, or add data.",
        )
    return [places[id(utterance)] for utterance in chosen.kept]
