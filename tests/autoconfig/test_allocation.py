"""Which of several cards a training gets. The laws are those of the small world, the same on every card."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from harken.autoconfig.allocation import allocate_card
from harken.autoconfig.plan_inputs import PlanSettings
from harken.core import InputError

GB = 10**9


@dataclass(frozen=True)
class Planned:
    """A planned model whose laws are given."""

    world: Any

    @property
    def profile(self) -> Any:
        return self.world.model

    def laws(self, hardware: Any, *, utilisation: float) -> Any:
        return self.world.models


@pytest.fixture
def allocate(planning: Any) -> Any:
    world = planning.World(flops={"fp32": 1e13, "fp16": 1e14})

    def allocate(sizes_gb: list[float], **settings: Any) -> Any:
        cards = [
            replace(world.hardware(), name=f"{size:g} GB", memory_bytes=round(size * GB), **settings)
            for size in sizes_gb
        ]
        return allocate_card(cards, planning.dataset_of([5.0] * 640), Planned(world), PlanSettings())  # type: ignore[arg-type]

    return allocate


def test_the_smallest_that_takes_the_batches_of_the_largest(allocate: Any) -> None:
    """32 rows of 126 MB and 1000 MB are 5032 MB, which are 85 % of 5.92 GB."""
    found = allocate([80.0, 6.0, 5.9, 24.0])
    assert found.hardware.name == "6 GB"
    assert found.plan.per_device_train_batch_size == 32
    assert [(card.name, card.needed_bytes, card.fits) for card in found.considered] == [
        ("5.9 GB", 5032 * 10**6, False), ("6 GB", 5032 * 10**6, True),
    ]  # fmt: skip
    assert found.reason == (
        "6 GB is the smallest of 4 that takes the batches, up to 32 utterances at once: they need 4.7 GiB of the "
        "4.7 GiB that may be used."
    )
    assert found.as_json()["considered"][0]["fits"] is False


def test_one_card_is_the_only_one(allocate: Any) -> None:
    found = allocate([6.0])
    assert (found.hardware.name, len(found.considered)) == ("6 GB", 1)
    assert "the only one" in found.reason


def test_the_largest_is_taken_where_no_smaller_one_is_enough(allocate: Any) -> None:
    found = allocate([4.0, 2.0, 6.0])
    assert found.hardware.name == "6 GB"
    assert [card.fits for card in found.considered] == [False, False, True]


def test_too_small_or_none_at_all_is_refused(allocate: Any) -> None:
    with pytest.raises(InputError, match=r"1 GB.* needs"):
        allocate([1.0])
    with pytest.raises(InputError, match="no GPUs to choose from"):
        allocate([])
