"""Windows of several utterances: everyone once, nothing overflows, little padding, and no memory between steps."""

from typing import Any

import numpy as np
import pytest

from harken.core import InputError
from harken.data.packing import PackedSampler, Sizes


def lognormal(count: int, *, kinds: int = 1, seed: int = 0) -> Sizes:
    draw = np.random.default_rng(seed)
    durations_s = np.clip(draw.lognormal(1.0, 0.7, count), 0.3, 29.9)
    tokens = np.maximum(1, np.round(durations_s * draw.uniform(2, 6, count))).astype(np.int64) + 2
    return Sizes(durations_s=durations_s, tokens=tokens, kinds=[("uz", "ru", "mixed")[i % kinds] for i in range(count)])


def make(sizes: Sizes, **options: Any) -> PackedSampler:
    return PackedSampler(sizes, **{"window_s": 30.0, "longest_tokens": 440, "batch_size": 4, "seed": 3, **options})


def epoch_of(sampler: PackedSampler, epoch: int) -> list[list[int]]:
    return [window for step in range(sampler.steps_per_epoch) for window in sampler.items(epoch, step)]


@pytest.mark.parametrize("kinds", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 9, 500])
def test_every_utterance_once_and_nothing_overflows(count: int, kinds: int) -> None:
    sizes = lognormal(count, kinds=kinds)
    sampler = make(sizes, longest_tokens=190)
    for epoch in range(3):
        windows = epoch_of(sampler, epoch)
        assert sorted(index for window in windows for index in window) == list(range(count))
        assert len(windows) == sampler.windows
        for window in windows:
            assert sizes.durations_s[window].sum() <= 30.0 + 1e-9
            assert sizes.tokens[window].sum() <= 190
            assert len({sizes.kinds[index] for index in window}) == 1


def test_little_padding_and_close_to_the_fewest_windows() -> None:
    sizes = lognormal(500)
    sampler = make(sizes)
    assert sampler.padding_share() < 0.05
    assert sampler.windows <= np.ceil(sizes.durations_s.sum() / 30.0) * 1.05
    windows = epoch_of(sampler, 0)
    assert sampler.padding_share() == pytest.approx(1 - sizes.durations_s.sum() / (30.0 * len(windows)))
    shorter = Sizes(durations_s=sizes.durations_s / 4, tokens=sizes.tokens, kinds=sizes.kinds)
    assert 0.3 < make(shorter).padding_share() < 0.7  # tokens, not seconds, fill these


def test_the_company_changes_with_the_epoch_and_the_seed() -> None:
    sizes = lognormal(300)
    first, second = epoch_of(make(sizes), 0), epoch_of(make(sizes), 1)
    together = {frozenset(window) for window in first if len(window) > 1}
    assert len(together & {frozenset(window) for window in second}) < 0.1 * len(together)
    assert first != epoch_of(make(sizes, seed=4), 0)
    assert first == epoch_of(make(sizes), 0)
    assert [len(w) for w in first] != [len(w) for w in second]  # the windows come in another order too


def test_an_utterance_changes_places_with_others_of_its_size_only() -> None:
    """A window keeps its slots: in every epoch its utterances, longest first, last about the same."""
    sizes = lognormal(300)
    sampler = make(sizes)

    def windows(epoch: int) -> list[list[int]]:
        return [sampler._filled(epoch, number) for number in range(sampler.windows)]

    moved = 0
    for one, other in zip(windows(0), windows(1), strict=True):
        lengths = [np.sort(sizes.durations_s[window]) for window in (one, other)]
        np.testing.assert_allclose(*lengths, rtol=0.053)  # 1 / 0.95
        moved += len(set(one) - set(other))
    assert moved > 100


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_a_step(world_size: int) -> None:
    sizes = lognormal(200)
    whole = make(sizes, batch_size=2 * world_size)
    parts = [make(sizes, batch_size=2, world_size=world_size, rank=rank) for rank in range(world_size)]
    for step in range(whole.steps_per_epoch):
        expected = sorted(map(tuple, whole.items(1, step)))
        assert sorted(tuple(w) for part in parts for w in part.items(1, step)) == expected
    assert {part.steps_per_epoch for part in parts} == {whole.steps_per_epoch}


def test_batches_are_even_and_updates_count_them() -> None:
    sampler = make(lognormal(500), batch_size=7)
    sizes = [len(sampler.items(0, step)) for step in range(sampler.steps_per_epoch)]
    assert max(sizes) <= 7
    assert max(sizes) - min(sizes) <= 1
    assert sampler.updates_per_epoch(3) == -(-sampler.steps_per_epoch // 3)
    assert sampler.update_steps(0, sampler.steps_per_epoch) == range(sampler.steps_per_epoch)


def test_a_step_is_answered_without_the_others() -> None:
    sizes = lognormal(200)
    sampler = make(sizes)
    late = sampler.items(7, 5)
    assert make(sizes).items(7, 5) == late


def test_identity_follows_the_data() -> None:
    sizes = lognormal(50, kinds=2)
    same = make(sizes).identity()
    assert make(lognormal(50, kinds=2)).identity() == same
    assert make(lognormal(50, kinds=1)).identity() != same
    assert make(lognormal(50, kinds=2, seed=1)).identity() != same
    assert make(sizes, seed=9).identity() != same


def test_what_fits_no_window_is_named() -> None:
    sizes = Sizes(durations_s=np.array([3.0, 30.5]), tokens=np.array([5, 5]), kinds=[0, 0])
    with pytest.raises(InputError, match=r"number 1 takes 30.5 s of a window of 30"):
        make(sizes)
    sizes = Sizes(durations_s=np.array([3.0, 3.5]), tokens=np.array([441, 5]), kinds=[0, 0])
    with pytest.raises(InputError, match="number 0 takes 441 tokens of a window of 440"):
        make(sizes)
    with pytest.raises(InputError, match="no utterances to pack"):
        make(Sizes(durations_s=np.array([]), tokens=np.array([], dtype=np.int64), kinds=[]))
    with pytest.raises(ValueError, match="step is 99"):
        make(lognormal(3)).items(0, 99)
