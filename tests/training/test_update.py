"""One update: equal to a plain gradient step, undisturbed by numbers that are not finite."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harken.core import RunFailed
from harken.data.batch import Batch, collate
from harken.models.family import CtcModel
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.ema import WeightAverage, averages_of
from harken.training.objective import CtcObjective
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig
from harken.training.update import BucketBatch, Updater, pieces

DIMENSIONS, VOCAB = 6, 5
CPU = Precision(name="fp32", device=torch.device("cpu"))


class NormedCtc(CtcModel):
    """Has buffers that every forward pass changes, as batch normalisation does."""

    subsampling = 1

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(DIMENSIONS)
        self.output = nn.Linear(DIMENSIONS, VOCAB)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        return self.output(self.norm(features_BFM.transpose(1, 2)).transpose(1, 2)), frames_B


def recurrent() -> RecurrentCtc:
    torch.manual_seed(3)
    return RecurrentCtc(RecurrentSettings(width=8, layers=1), DIMENSIONS, VOCAB)


def make_batch(frames: list[int], *, seed: int = 0) -> Batch:
    """Utterances u0, u1, … of noise with one to three labels each."""
    generator = np.random.default_rng(seed)
    features = [generator.standard_normal((count, DIMENSIONS)).astype(np.float32) for count in frames]
    labels = [generator.integers(1, VOCAB, size=1 + index % 3).tolist() for index in range(len(frames))]
    names = [f"u{index}" for index in range(len(frames))]
    return collate(names, features, labels, dimensions=DIMENSIONS, hop_s=0.01, duration_s=0.01 * sum(frames))


def make_updater(model: CtcModel, **options: Any) -> tuple[Updater, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    tokenizer = WordTokenizer([BLANK, *"abcd"])
    updater = Updater(
        model=model,
        objective=CtcObjective(model=model, tokenizer=tokenizer, precision=CPU),
        optimizer=build_optimizer(model, OptimizerConfig(learning_rate=1e-2)),
        precision=CPU,
        seed=1,
        on_event=lambda kind, **fields: events.append({"event": kind, **fields}),
        **options,
    )
    return updater, events


def weights(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], *, atol: float = 0.0) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


def test_an_update_is_a_clipped_step_on_the_mean_loss_per_label() -> None:
    batch = make_batch([40, 24, 32])
    model, plain = recurrent(), recurrent()
    updater, _ = make_updater(model, clip_norm=0.5)
    result = updater.run(0, [BucketBatch(bucket=0, batch=batch)])

    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=(0.9, 0.999), weight_decay=0.01)
    vectors = [p for p in plain.parameters() if p.ndim < 2]
    scores, lengths = plain(torch.from_numpy(batch.features_BFM), torch.from_numpy(batch.frames_B))
    losses = nn.functional.ctc_loss(
        scores.log_softmax(-1).transpose(0, 1),
        torch.from_numpy(batch.labels_BT),
        lengths,
        torch.from_numpy(batch.label_lengths_B),
        reduction="none",
    )
    loss = losses.sum() / 6  # 1 + 2 + 3 labels
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    before = [p.detach().clone() for p in vectors]
    optimizer.step()
    with torch.no_grad():  # decay is for matrices only: give vectors back what it took
        for vector, old in zip(vectors, before, strict=True):
            vector += 1e-2 * 0.01 * old
    assert result.applied
    assert (result.labels, result.culprits) == (6, ())
    assert result.audio_s == pytest.approx(0.96)
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    assert result.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
    assert norm > 0.5
    assert_equal(weights(model), weights(plain), atol=1e-6)


def test_several_batches_are_one_big_batch() -> None:
    whole = make_batch([40, 36, 24, 32, 28, 20])
    parts = [BucketBatch(bucket=0, batch=part) for part in pieces(whole, 2)]
    apart, together = recurrent(), recurrent()
    accumulated, _ = make_updater(apart)
    one, _ = make_updater(together)
    for update in range(3):
        several = accumulated.run(update, parts)
        single = one.run(update, [BucketBatch(bucket=0, batch=whole)])
        assert several.loss == pytest.approx(single.loss, rel=1e-5)
    assert_equal(weights(apart), weights(together), atol=1e-5)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100, None])
def test_pieces_are_a_partition(limit: int | None) -> None:
    batch = make_batch([40, 36, 24, 32, 28])
    parts = list(pieces(batch, limit))
    assert [name for part in parts for name in part.ids] == list(batch.ids)
    assert max(len(part) for part in parts) <= (limit or 5)
    assert sum(part.duration_s for part in parts) == pytest.approx(batch.duration_s)
    start = 0
    for part in parts:
        assert part.features_BFM.shape[1] == part.frames_B.max()
        assert part.labels_BT.shape[1] == part.label_lengths_B.max()
        for row in range(len(part)):
            frames, labels = part.frames_B[row], part.label_lengths_B[row]
            assert (frames, labels) == (batch.frames_B[start + row], batch.label_lengths_B[start + row])
            np.testing.assert_array_equal(part.features_BFM[row, :frames], batch.features_BFM[start + row, :frames])
            np.testing.assert_array_equal(part.labels_BT[row, :labels], batch.labels_BT[start + row, :labels])
        start += len(part)


def test_pieces_without_labels_keep_one_column() -> None:
    batch = collate(
        ["a"], [np.zeros((4, DIMENSIONS), np.float32)], [[]], dimensions=DIMENSIONS, hop_s=0.01, duration_s=1
    )
    assert [part.label_lengths_B.tolist() for part in pieces(batch, 1)] == [[0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_skip_the_update_and_name_the_utterance(value: float) -> None:
    batch = make_batch([40, 24, 32])
    batch.features_BFM[1, 5, 2] = value
    model = recurrent()
    updater, _ = make_updater(model)
    updater.run(0, [BucketBatch(bucket=0, batch=make_batch([30, 30]))])  # the optimiser has moments to disturb
    before, moments = weights(model), copy.deepcopy(updater.optimizer.state_dict())
    result = updater.run(1, [BucketBatch(bucket=0, batch=batch)])
    assert not result.applied
    assert result.culprits == ("u1",)
    assert not np.isfinite(result.loss)
    assert_equal(weights(model), before)
    torch.testing.assert_close(updater.optimizer.state_dict(), moments, rtol=0, atol=0)
    assert updater.run(2, [BucketBatch(bucket=0, batch=make_batch([40, 24, 32]))]).applied


def test_labels_that_cannot_fit_are_culprits_too() -> None:
    batch = make_batch([40, 24])
    crowded = collate(
        ["short"],
        [np.ones((4, DIMENSIONS), np.float32)],
        [[1, 1, 1]],
        dimensions=DIMENSIONS,
        hop_s=0.01,
        duration_s=0.04,
    )
    model = recurrent()
    updater, _ = make_updater(model)
    before = weights(model)
    result = updater.run(0, [BucketBatch(bucket=0, batch=batch), BucketBatch(bucket=1, batch=crowded)])
    assert (result.applied, result.loss, result.culprits) == (False, np.inf, ("short",))
    assert_equal(weights(model), before)


def test_a_skipped_update_leaves_running_statistics_alone() -> None:
    torch.manual_seed(0)
    model = NormedCtc()
    updater, _ = make_updater(model)
    updater.run(0, [BucketBatch(bucket=0, batch=make_batch([12, 12]))])
    before = weights(model)
    assert int(before["norm.num_batches_tracked"]) == 1
    bad = make_batch([12, 12])
    bad.features_BFM[0, 0, 0] = np.nan
    assert not updater.run(1, [BucketBatch(bucket=0, batch=bad)]).applied
    assert_equal(weights(model), before)


def test_a_gradient_that_is_not_finite_skips_the_update() -> None:
    model = recurrent()
    updater, _ = make_updater(model)
    before = weights(model)
    hook = model.output.weight.register_hook(lambda gradient: gradient * np.inf)
    result = updater.run(0, [BucketBatch(bucket=0, batch=make_batch([24, 24]))])
    assert not result.applied
    assert np.isfinite(result.loss)
    assert result.culprits == ()
    assert_equal(weights(model), before)
    hook.remove()
    assert updater.run(1, [BucketBatch(bucket=0, batch=make_batch([24, 24]))]).applied


def test_running_statistics_count_once_after_memory_ran_out() -> None:
    torch.manual_seed(0)
    model = NormedCtc()
    updater, events = make_updater(model)
    fails = [True, False, False]
    forward = model.forward

    def failing(features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        scores = forward(features_BFM, frames_B)  # the statistics have moved already
        if fails.pop(0):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore lines")
        return scores

    model.forward = failing  # type: ignore[method-assign]
    assert updater.run(0, [BucketBatch(bucket=4, batch=make_batch([12, 12]))]).applied
    assert int(model.norm.num_batches_tracked) == 2  # two pieces of one utterance
    assert updater.limits == {4: 1}
    assert events == [
        {
            "event": "out-of-memory",
            "step": 0,
            "bucket": 4,
            "utterances": 2,
            "next_utterances": 1,
            "attempt": 1,
            "error": "CUDA out of memory. Tried to allocate 2 GiB",
        }
    ]


def test_one_utterance_that_does_not_fit_is_not_tried_again() -> None:
    model = recurrent()
    updater, events = make_updater(model)

    def failing(features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        raise MemoryError("no room")

    model.forward = failing  # type: ignore[method-assign]
    with pytest.raises(RunFailed, match="1 utterances of bucket 0 after 0 cuts") as caught:
        updater.run(0, [BucketBatch(bucket=0, batch=make_batch([24]))])
    assert "batches.batch_s" in caught.value.hint
    assert events == []


def test_other_errors_go_through() -> None:
    model = recurrent()
    updater, _ = make_updater(model)
    with pytest.raises(RuntimeError, match="expected input"):
        updater.run(
            0,
            [
                BucketBatch(
                    bucket=0,
                    batch=collate(
                        ["a"], [np.zeros((9, 3), np.float32)], [[1]], dimensions=3, hop_s=0.01, duration_s=0.09
                    ),
                )
            ],
        )


def test_state_comes_back() -> None:
    updater, _ = make_updater(recurrent())
    updater.limits = {3: 8, 0: 1}
    other, _ = make_updater(recurrent())
    other.load_state(updater.state())
    assert other.limits == {3: 8, 0: 1}
    assert updater.state() == {"limits": {"3": 8, "0": 1}, "scaler": {}}


def test_loss_scaling_is_lowered_after_a_loss_that_is_not_finite() -> None:
    model = recurrent()
    updater, _ = make_updater(model)
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    bad = make_batch([24, 24])
    bad.features_BFM[0, 0, 0] = np.nan
    updater.precision = Precision(name="fp16", device=torch.device("cpu"))
    assert not updater.run(0, [BucketBatch(bucket=0, batch=bad)]).applied
    assert updater.scaler.get_scale() == 512.0


def test_the_average_takes_in_applied_updates_only() -> None:
    model, alone = recurrent(), recurrent()
    average = WeightAverage(model, 0.9)
    updater, _ = make_updater(model, average=average)
    expected = WeightAverage(alone, 0.9)
    good, bad = make_batch([40, 24]), make_batch([40, 24])
    bad.features_BFM[0, 0, 0] = np.nan
    for update, batch in enumerate([good, bad, good]):
        applied = updater.run(update, [BucketBatch(bucket=0, batch=batch)]).applied
        alone.load_state_dict(model.state_dict())
        if applied:
            expected.update()
    assert average.updates == 2
    assert_equal(averages_of(average.state()), averages_of(expected.state()))
