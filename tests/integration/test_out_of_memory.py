"""Memory that runs out in the middle of updates changes nothing but the size of the pieces."""

import gc
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harken.core import RunFailed
from harken.data.batch import Batch
from harken.data.sampler import BucketSampler, plan_buckets
from harken.models.checkpointing import checkpoint_layers
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.meter import Reading
from harken.training.objective import CtcObjective
from harken.training.precision import Precision
from harken.training.update import BucketBatch, Updater

UTTERANCES = 96
FAILURES = 200
DIMENSIONS, VOCAB = 8, 5


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """Every failure collects garbage, which takes long where a whole suite has left its objects behind."""
    gc.collect()
    gc.freeze()


def corpus() -> list[tuple[np.ndarray, list[int]]]:
    draw = np.random.default_rng(0)
    return [
        (draw.standard_normal((int(frames), DIMENSIONS)).astype(np.float32), draw.integers(1, VOCAB, size=2).tolist())
        for frames in draw.integers(24, 90, size=UTTERANCES)
    ]


def batch_of(items: list[tuple[np.ndarray, list[int]]], indices: list[int]) -> Batch:
    frames = np.array([len(items[i][0]) for i in indices])
    features = np.zeros((len(indices), frames.max(), DIMENSIONS), np.float32)
    for row, i in zip(features, indices, strict=True):
        row[: len(items[i][0])] = items[i][0]
    return Batch(
        ids=tuple(str(i) for i in indices),
        features_BFM=features,
        frames_B=frames,
        labels_BT=np.array([items[i][1] for i in indices]),
        label_lengths_B=np.full(len(indices), 2),
        duration_s=float(frames.sum()) / 100,
        padded_s=0.0,
    )


class FailingUpdater(Updater):
    """Fails on a schedule: when the forward pass begins, or when the gradient comes back."""

    def plan_failures(self, draw: random.Random, share: float) -> None:
        self.draw, self.share, self.failures, self.seen = draw, share, 0, []
        self.left = 3  # failures this update can still have

    def _losses(self, piece: Batch) -> Tensor:
        may_fail = self.failures < FAILURES and self.left and len(piece) > 1
        chance = self.draw.random() if may_fail else 2.0
        if chance < self.share:
            self.failures += 1
            self.left -= 1
            if chance < self.share / 2:
                raise torch.OutOfMemoryError("CUDA out of memory. (injected)")
        losses = super()._losses(piece)
        self.seen += piece.ids
        if self.share / 2 <= chance < self.share:
            losses.register_hook(self.fail)
        return losses

    @staticmethod
    def fail(_: Tensor) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory (injected)")


def make_updater(kind: type[Updater], events: list[dict[str, Any]], **options: Any) -> Any:
    torch.manual_seed(0)
    model = RecurrentCtc(RecurrentSettings(width=16, layers=1), DIMENSIONS, VOCAB)

    def on_event(name: str, **fields: Any) -> None:
        events.append({"event": name, **fields})

    precision = Precision(name="fp32", device=torch.device("cpu"))
    return kind(
        model=model,
        objective=CtcObjective(model=model, tokenizer=WordTokenizer([BLANK, *"abcd"]), precision=precision),
        # Not Adam: its first steps follow the sign of a gradient however small, so rounding alone would tell two runs
        # apart after a hundred updates, whether or not anything ran out of memory.
        optimizer=torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
        precision=precision,
        seed=1,
        on_event=on_event,
        **options,
    )


def updates(count: int) -> Iterator[tuple[int, list[BucketBatch]]]:
    items = corpus()
    durations = [len(features) / 100 for features, _ in items]
    sampler = BucketSampler(durations, plan_buckets(durations, buckets=4, batch_seconds=9.0), seed=5)
    for update in range(count):
        places = [divmod(step, sampler.steps_per_epoch) for step in sampler.update_steps(update, 2)]
        yield (
            update,
            [
                BucketBatch(bucket=sampler.bucket(*place), batch=batch_of(items, sampler.batch(*place).tolist()))
                for place in places
            ],
        )


@pytest.mark.slow
def test_two_hundred_failures_change_no_weight() -> None:
    events: list[dict[str, Any]] = []
    calm = make_updater(Updater, [])
    failing = make_updater(FailingUpdater, events)
    failing.plan_failures(random.Random(3), 0.5)
    used: Counter[str] = Counter()
    count = 160
    for update, batches in updates(count):
        calm.run(update, batches)
        failing.limits.clear()  # as if another process had given memory back: else soon nothing could fail
        failing.seen.clear()
        failing.left = 3
        result = failing.run(update, batches)
        assert result.applied
        expected = [name for item in batches for name in item.batch.ids]
        # Of the attempts at this update, the last one used every sample once; nothing came after it.
        assert failing.seen[-len(expected) :] == expected
        used.update(expected)
    assert failing.failures == FAILURES == sum(event["event"] == "out-of-memory" for event in events)
    assert max(used.values()) - min(used.values()) <= 1
    assert len(used) == UTTERANCES
    for name, weight in calm.model.state_dict().items():
        torch.testing.assert_close(failing.model.state_dict()[name], weight, atol=1e-5, rtol=0)


def test_the_smaller_size_is_remembered_for_the_bucket() -> None:
    updater = make_updater(FailingUpdater, [])
    updater.plan_failures(random.Random(0), 0.0)
    _, batches = next(updates(1))
    bucket, size = batches[0].bucket, len(batches[0].batch)
    updater.plan_failures(random.Random(0), 1.1)
    updater.failures = FAILURES - 1  # exactly one more
    updater.run(0, batches)
    assert updater.limits == {bucket: size // 2}
    state = updater.state()
    fresh = make_updater(Updater, [])
    fresh.load_state(state)
    assert fresh.limits == {bucket: size // 2}


def test_too_many_failures_end_the_run_with_advice() -> None:
    events: list[dict[str, Any]] = []
    updater = make_updater(FailingUpdater, events, oom_retries=2)
    updater.plan_failures(random.Random(0), 1.1)
    updater.left = 99
    _, batches = next(updates(1))
    with pytest.raises(RunFailed, match=r"does not fit in memory.*Lower batches\.batch_s"):
        updater.run(0, batches)
    assert len(events) == 2


def test_an_error_that_is_not_about_memory_goes_through(tmp_path: Path) -> None:
    class Broken(Updater):
        def _losses(self, piece: Batch) -> Tensor:
            raise RuntimeError("size mismatch")

    _, batches = next(updates(1))
    with pytest.raises(RuntimeError, match="size mismatch"):
        make_updater(Broken, []).run(0, batches)


class CappedMeter:
    """A device of `budget_bytes`: the updater below says what its tensors take."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.base = self.peak = 0

    def begin(self) -> None:
        self.peak = self.base

    def read(self) -> Reading:
        return Reading(before_bytes=self.base, peak_bytes=self.peak)

    def numbers(self) -> dict[str, float]:
        return {}


class CappedUpdater(Updater):
    """A piece of n utterances takes n times `each` bytes on top of what is there; beyond the budget it fails."""

    each = 100

    def _losses(self, piece: Batch) -> Tensor:
        self.meter.peak = self.meter.base + self.each * len(piece)  # type: ignore[attr-defined]
        if self.meter.peak > self.meter.budget_bytes:  # type: ignore[attr-defined, operator]
            raise torch.OutOfMemoryError("CUDA out of memory. (capped)")
        return super()._losses(piece)


def one_bucket(*sizes: int) -> list[BucketBatch]:
    items = corpus()
    return [BucketBatch(bucket=3, batch=batch_of(items, list(range(size)))) for size in sizes]


@pytest.mark.parametrize(
    ("budget", "fits_first", "expected"),
    [
        (1000, 2, [5]),  # ten would fit by what two took, but eleven have failed: not more than half of them
        (1000, 1, [5]),
        (350, 2, [3]),  # three by what was measured, without trying five
        (350, 0, [5, 2]),  # nothing has fitted yet: half, and half again
        (90, 0, None),
    ],
)
def test_the_next_size_follows_what_was_measured(budget: int, fits_first: int, expected: list[int] | None) -> None:
    events: list[dict[str, Any]] = []
    updater = make_updater(CappedUpdater, events, meter=CappedMeter(budget), predicted={3: 4321}, oom_retries=5)
    batches = one_bucket(*([fits_first] if fits_first else []), 11)
    if expected is None:
        with pytest.raises(RunFailed, match="1 utterances of bucket 3"):
            updater.run(0, batches)
        return
    assert updater.run(0, batches).applied
    assert [event["next_utterances"] for event in events] == expected
    assert {event["predicted_peak_bytes"] for event in events} == {4321}
    assert events[0]["measured_peak_bytes"] == 1100
    assert events[0].get("bytes_per_utterance") == (100 if fits_first else None)


def test_what_lies_in_memory_already_is_not_the_pieces() -> None:
    events: list[dict[str, Any]] = []
    meter = CappedMeter(1000)
    updater = make_updater(CappedUpdater, events, meter=meter)
    meter.base = 480  # weights and states
    updater.run(0, one_bucket(4))
    updater.run(1, one_bucket(12))
    assert [(event["measured_peak_bytes"], event["next_utterances"]) for event in events] == [(1680, 5)]


def test_a_meter_that_cannot_tell_leaves_halving() -> None:
    events: list[dict[str, Any]] = []
    updater = make_updater(FailingUpdater, events)
    updater.plan_failures(random.Random(0), 1.1)
    updater.failures = FAILURES - 1
    updater.run(0, one_bucket(11))
    assert [event["next_utterances"] for event in events] == [5]
    assert "measured_peak_bytes" not in events[0]


def test_gradient_checkpointing_and_failures_change_no_weight() -> None:
    """Some fail in the backward pass, where layers are computed again."""
    calm, failing = make_updater(Updater, []), make_updater(FailingUpdater, [])
    checkpoint_layers(failing.model)
    failing.plan_failures(random.Random(3), 0.5)
    for update, batches in updates(12):
        calm.run(update, batches)
        failing.limits.clear()
        failing.left = 3
        assert failing.run(update, batches).applied
    assert failing.failures > 5
    for name, weight in calm.model.state_dict().items():
        torch.testing.assert_close(failing.model.state_dict()[name], weight, atol=1e-5, rtol=0)
