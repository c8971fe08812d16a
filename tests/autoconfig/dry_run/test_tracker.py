"""Known values are what real tensors have, and storages come and go as they do outside of a dry run."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import _engine_run_backward

from harken.autoconfig.dry_run.scratch import cpu_scratch
from harken.autoconfig.dry_run.tracker import AllocationTracker, Trace, collected_by_hand
from harken.core import InputError

LENGTHS = np.array([7, 3, 5, 1], dtype=np.int64)


@pytest.fixture
def tracker() -> Iterator[AllocationTracker]:
    with FakeTensorMode(), AllocationTracker() as tracker:
        yield tracker


def mask_of(lengths: Tensor) -> Tensor:
    return torch.arange(7)[None, :] < lengths[:, None]


READINGS: dict[str, Callable[[Tensor], Any]] = {
    "tolist": lambda lengths: lengths.tolist(),
    "item": lambda lengths: lengths.max().item(),
    "int": lambda lengths: int(lengths.sum()),
    "halved": lambda lengths: ((lengths + 1) // 2).tolist(),
    "divided": lambda lengths: torch.div(lengths - 3, 2, rounding_mode="floor").clamp(min=0).tolist(),
    "mask": lambda lengths: mask_of(lengths).tolist(),
    "condition": lambda lengths: bool(mask_of(lengths).all()),
    "nonzero": lambda lengths: mask_of(lengths).nonzero().tolist(),
    "places": lambda lengths: [places.tolist() for places in mask_of(lengths).nonzero(as_tuple=True)],
    "shape of an index": lambda lengths: tuple(torch.randn(4, 7, 5)[mask_of(lengths)].shape),
    "shape of an index behind": lambda lengths: tuple(torch.randn(2, 7, 3)[:, mask_of(lengths)[1]].shape),
    "masked_select": lambda lengths: tuple(torch.randn(4, 7).masked_select(mask_of(lengths)).shape),
    "sorted": lambda lengths: lengths.sort(descending=True)[1].tolist(),
    "where": lambda lengths: torch.where(mask_of(lengths), 1, 0).sum(1).tolist(),
    "repeated": lambda lengths: torch.arange(4).repeat_interleave(2).tolist(),
    "unique": lambda lengths: len(set(lengths.tolist())),
    "in place": lambda lengths: lengths.clone().add_(2).mul_(3).tolist(),
    "gathered": lambda lengths: lengths[torch.arange(2) + 1].tolist(),
    "chosen": lambda lengths: lengths[lengths > 2].tolist(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_known_values_are_those_of_real_tensors(tracker: AllocationTracker, reading: str) -> None:
    read = READINGS[reading]
    with_fake = read(tracker.know(LENGTHS))
    with torch.utils._python_dispatch._disable_current_modes():
        expected = read(torch.from_numpy(LENGTHS.copy()))
    assert with_fake == expected


FLOATS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "condition": lambda x: bool((x > 0).any()),
    "index": lambda x: x[x > 0],
    "nonzero": lambda x: (x > 0).nonzero(),
    "masked_select": lambda x: x.masked_select(x > 0),
    "tolist": lambda x: x.argmax(1).tolist(),
}


@pytest.mark.parametrize("reading", FLOATS)
def test_values_of_activations_are_refused(tracker: AllocationTracker, reading: str) -> None:
    with pytest.raises(InputError, match=r"looks at values of its activations.*depends on shapes alone"):
        FLOATS[reading](torch.randn(4, 7))


def test_large_tensors_are_not_computed(tracker: AllocationTracker) -> None:
    large = tracker.know(LENGTHS)[:, None, None].expand(4, 1 << 11, 1 << 10) + 1
    with pytest.raises(InputError):
        large.max().item()


def follow(work: Callable[[], object], *, scratch: bool = False) -> Trace:
    with FakeTensorMode(), collected_by_hand(), AllocationTracker(cpu_scratch if scratch else None) as tracker:
        kept = work()
        tracker.mark("end")
        del kept
        return tracker.trace()


def test_bytes_of_hand_made_steps() -> None:
    def work() -> Tensor:
        x = torch.empty(100, 10)  # 4000 bytes
        y = x * 2
        del x
        z = y.view(10, 100).half()  # 2000
        return z[1:]  # a view

    trace = follow(work)
    assert trace.sizes.tolist() == [4000, 4000, 2000]
    assert trace.order.tolist() == [1, 2, -1, 3, -2, -3]
    assert trace.live().tolist() == [4000, 8000, 4000, 6000, 2000, 0]
    assert (trace.peak(), trace.live_at_end(), trace.marks["end"]) == (8000, 0, 5)


def test_an_empty_trace() -> None:
    trace = follow(lambda: None)
    assert (trace.peak(), trace.live_at_end(), trace.work.shape) == (0, 0, (0, 2))


def test_what_was_there_before_is_not_counted() -> None:
    with FakeTensorMode():
        weight = torch.empty(10, 10)
        with AllocationTracker() as tracker:
            tracker.ignore([weight])
            kept = weight.t() @ weight
            weight.add_(1)
            trace = tracker.trace()
    assert trace.sizes.tolist() == [400]
    assert kept.shape == (10, 10)


def gradient_of(branches: int) -> Trace:
    """Of x that is used `branches` times: the backward pass adds up as many gradients."""
    with FakeTensorMode(), collected_by_hand(), AllocationTracker() as tracker:
        x = torch.empty(1000, requires_grad=True)
        total = torch.stack([(x * 2).sum() for _ in range(branches)]).sum()
        tracker.accumulating = True
        tracker.mark("forward")
        _engine_run_backward((total,), (torch.ones_like(total),), False, False, (), True, True)
        assert x.grad is not None
        return tracker.trace()


def test_gradients_are_added_up_in_place() -> None:
    real = []
    for branches in (2, 3, 6):
        x = torch.randn(1000, requires_grad=True)
        total = torch.stack([(x * 2).sum() for _ in range(branches)]).sum()
        gc.collect()  # what earlier tests left behind is not to be freed meanwhile
        activities = [torch.profiler.ProfilerActivity.CPU]
        with collected_by_hand(), torch.profiler.profile(profile_memory=True, activities=activities) as profiler:
            total.backward()  # type: ignore[no-untyped-call]
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
        real.append(int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max()))
        trace = gradient_of(branches)
        before = trace.live()[trace.marks["forward"] - 1]
        assert trace.live()[trace.marks["forward"] :].max() - before == pytest.approx(real[-1], abs=100)
    assert real[0] == pytest.approx(real[-1], abs=100)  # the sum takes the place of its first part


def freed_in(order: list[int]) -> Trace:
    def work() -> None:
        cache = {number: torch.empty(10 + number) for number in range(4)}
        for number in order:
            del cache[number]

    return follow(work)


def test_an_order_of_chance_leaves_no_trace() -> None:
    expected = freed_in([0, 1, 2, 3])
    for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
        assert freed_in(order).order.tolist() == expected.order.tolist() == [1, 2, 3, 4, -1, -2, -3, -4]


def test_garbage_collection_does_not_matter() -> None:
    def work() -> Tensor:
        circle: list[Any] = [torch.empty(100)]
        circle.append(circle)
        del circle
        tensors = [torch.empty(10) for _ in range(50)]
        return torch.stack(tensors)

    thresholds = gc.get_threshold()
    traces = []
    try:
        for threshold in (1, 10_000):
            gc.set_threshold(threshold)
            traces.append(follow(work))
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert np.array_equal(traces[0].order, traces[1].order)
    assert gc.isenabled()


def test_operations_are_counted() -> None:
    def work() -> Tensor:
        x, w = torch.empty(5, 7), torch.empty(7, 11)
        return (x @ w).view(11, 5)

    flops, moved = follow(work).work.T.tolist()
    assert sum(flops) == 2 * 5 * 7 * 11
    assert moved[-1] == 4 * (5 * 7 + 7 * 11 + 5 * 11)


def test_a_cast_operand_is_copied_on_a_cpu() -> None:
    def work() -> Tensor:
        return torch.empty(1000) * torch.empty(1000, dtype=torch.bool)

    assert follow(work).peak() == 4000 + 1000 + 4000
    assert follow(work, scratch=True).peak() == 4000 + 1000 + 4000 + 4000


def _results_of_kernels() -> list[tuple[Any, ...]]:
    """Shape, strides, place in the storage, type and bytes of results of the operations that skip FakeTensorMode."""
    a, b = torch.empty(3, 4, 6), torch.empty(3, 6, 5, dtype=torch.bfloat16)
    matrix, table = a[1], torch.empty(12, 4)
    results = [
        a.view(12, 6), a.transpose(0, 2), a.permute(2, 0, 1), a[:, None].expand(3, 2, 4, 6), a[1:, ::2], a[:, 3],
        a[:1].squeeze(0), a.detach(), matrix.t(), table @ matrix, matrix.t() @ table.t(), torch.bmm(a, b.float()),
        a.transpose(1, 2).clone(), a.transpose(0, 2).clone(memory_format=torch.contiguous_format),
        a.transpose(0, 1).to(torch.float16), b.transpose(0, 2).float(), a.long(), torch.ops.aten._unsafe_view(a, [72]),
    ]  # fmt: skip
    return [
        (tuple(t.shape), t.stride(), t.storage_offset(), t.dtype, t.untyped_storage().nbytes(), t.device)
        for t in results
    ]


def test_kernels_that_are_run_directly_give_what_a_fake_mode_and_real_tensors_give() -> None:
    real = _results_of_kernels()
    with FakeTensorMode():
        fake = _results_of_kernels()
    with FakeTensorMode(), AllocationTracker():
        direct = _results_of_kernels()
    assert direct == fake == real


def test_a_view_shares_its_storage() -> None:
    with FakeTensorMode(), AllocationTracker() as tracker:
        a = torch.empty(8, 4)
        views = [a.view(32), a.t(), a[2:], a.detach(), a[:, None].expand(8, 3, 4)]
        assert len(tracker.trace().sizes) == 1
        assert all(view.untyped_storage()._cdata == a.untyped_storage()._cdata for view in views)
