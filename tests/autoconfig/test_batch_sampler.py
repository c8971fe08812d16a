"""The planned buckets in loaders of PyTorch."""

from dataclasses import dataclass

import numpy as np
import pytest
from torch.utils.data import DataLoader

from harken.autoconfig.batch_sampler import planned_batch_sampler
from harken.core import InputError


@dataclass(frozen=True)
class Row:
    upper_edge_s: float
    batch_size: int


@dataclass(frozen=True)
class Config:
    buckets: tuple[Row, ...] = (Row(2.0, 8), Row(5.0, 3))


DURATIONS_S = np.random.default_rng(0).uniform(0.5, 5.0, 100).round(2).tolist()


def test_each_batch_is_of_one_bucket_and_no_larger_than_it() -> None:
    sampler = planned_batch_sampler(DURATIONS_S, Config())
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(100))
    for batch in batches:
        longest_s, shortest_s = (pick(DURATIONS_S[index] for index in batch) for pick in (max, min))
        assert (len(batch) <= 8 and longest_s <= 2.0) or (len(batch) <= 3 and shortest_s > 2.0)
    assert len(sampler) == len(batches)
    assert (sampler.batch_size, sampler.drop_last) == (8, False)


def test_each_pass_is_the_next_epoch_unless_one_is_named() -> None:
    sampler = planned_batch_sampler(DURATIONS_S, Config(), seed=3)
    first, second = list(sampler), list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(planned_batch_sampler(DURATIONS_S, Config(), seed=4)) != first


def test_a_loader_takes_it() -> None:
    loader = DataLoader(range(100), batch_sampler=planned_batch_sampler(DURATIONS_S, Config()))  # type: ignore[arg-type]
    assert sorted(item for batch in loader for item in batch.tolist()) == list(range(100))
    assert len(loader) == len(planned_batch_sampler(DURATIONS_S, Config()))


def test_processes_share_the_batches_out() -> None:
    ranks = [planned_batch_sampler(DURATIONS_S, Config(), world_size=2, rank=rank) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1])
    assert sorted(index for rank in ranks for batch in rank for index in batch) == list(range(100))


def test_what_is_longer_than_planned_is_refused() -> None:
    with pytest.raises(InputError, match=r"lasts 5\.500 s"):
        planned_batch_sampler([1.0, 5.5], Config())
