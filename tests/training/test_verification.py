"""Steps before the first update: what they measure, what they lower, and that they leave no trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harken.core import Utterance
from harken.core.files import sha256_file
from harken.data.batch import Batch
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.testing.random_models import random_whisper
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.tracking.run import read_events
from harken.training import run as runs
from harken.training.bucket_shapes import BucketShape, synthetic_batch
from harken.training.loop import TrainingLoop
from harken.training.meter import Reading, ResidentMeter
from harken.training.objective import CtcObjective, ValidationItem
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig, Recipe
from harken.training.run import train
from harken.training.update import BucketBatch, Updater
from harken.training.verification import Verification, verify_buckets

MakeRecipe = Callable[..., Recipe]
DIMENSIONS, VOCAB = 6, 5
CPU = Precision(name="fp32", device=torch.device("cpu"))
BASE = 1000  # bytes there before any batch


class Meter:
    """A device whose tensors take what the updater below says."""

    def __init__(self, budget_bytes: int | None) -> None:
        self.budget_bytes = budget_bytes
        self.before = self.peak = BASE

    def begin(self) -> None:
        self.peak = self.before

    def read(self) -> Reading:
        return Reading(before_bytes=self.before, peak_bytes=self.peak)

    def numbers(self) -> dict[str, float]:
        return {}


class Device(Updater):
    """A batch takes `each` bytes for every frame of every row; beyond `capacity` it fails."""

    each = 1.0
    capacity = 10**9

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tried: list[tuple[int, int]] = []
        self.failures = 0
        self.accumulating: list[bool] = []
        self.seen_modes: set[bool] = set()

    def _losses(self, piece: Batch) -> Tensor:
        rows, frames, _ = piece.features_BFM.shape
        self.tried.append((frames, rows))
        self.accumulating.append(any(p.grad is not None for p in self.model.parameters()))
        self.seen_modes.add(self.model.training)
        peak = BASE + round(self.each * rows * frames)
        if isinstance(self.meter, Meter):
            self.meter.peak = peak
        if peak > self.capacity:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. (capped)\nmore")
        return super()._losses(piece)


def make_device(**options: Any) -> tuple[Device, list[dict[str, Any]]]:
    torch.manual_seed(3)
    model = RecurrentCtc(RecurrentSettings(width=8, layers=1), DIMENSIONS, VOCAB)
    events: list[dict[str, Any]] = []
    device = Device(
        model=model,
        objective=CtcObjective(model=model, tokenizer=WordTokenizer([BLANK, *"abcd"]), precision=CPU),
        optimizer=build_optimizer(model, OptimizerConfig(learning_rate=1e-2)),
        precision=CPU,
        seed=1,
        on_event=lambda kind, **fields: events.append({"event": kind, **fields}),
        **{"meter": Meter(4000), **options},
    )
    return device, events


def shape(bucket: int, rows: int, frames: int, predicted: int | None = None) -> BucketShape:
    exact = BASE + rows * frames
    return BucketShape(
        bucket=bucket,
        rows=rows,
        frames=frames,
        labels=2,
        predicted_peak_bytes=exact if predicted is None else predicted,
    )


def verify(device: Device, *shapes: BucketShape, budget: int = 4000, **options: Any) -> Verification:
    settings = {"accumulated": False, "log_event": device.on_event, **options}
    return verify_buckets(device, shapes, dimensions=DIMENSIONS, budget_bytes=budget, **settings)


def test_every_bucket_is_measured_beside_its_prediction() -> None:
    device, events = make_device()
    verification = verify(device, shape(0, 40, 30), shape(1, 30, 100), shape(2, 25, 80, predicted=2900))
    assert device.tried == [(100, 2), (100, 14), (100, 30), (80, 25), (30, 40)]  # 1200 and 2400 of 4000 bytes first
    assert [event.get("bucket") for event in events] == [1, 2, 0, None]
    assert events[1] == {
        "event": "plan-verified",
        "bucket": 2,
        "rows": 25,
        "tried_rows": 25,
        "fitting_rows": 25,
        "predicted_peak_bytes": 2900,
        "measured_peak_bytes": 3000,
        "ratio": 1.0345,
    }
    assert events[3].pop("seconds") >= 0
    assert events[3] == {
        "event": "plan-verification",
        "verified": 3,
        "unverified": [],
        "lowered": {},
        "worst_ratio": 1.0345,
        "budget_share": 1.0,
        "calibration_ratios": [1.0, 1.0],
    }
    assert verification.worst_ratio == 3000 / 2900
    assert device.limits == {}


def test_what_the_meter_does_not_count_is_added() -> None:
    device, _ = make_device()
    (check,) = verify(device, shape(0, 10, 30, predicted=1800), outside_bytes=500).checks
    assert (check.measured_peak_bytes, check.ratio) == (1800, 1.0)


def test_calibration_lowers_a_bucket_before_it_fails() -> None:
    device, events = make_device()
    device.each, device.capacity = 1.5, 4000
    verification = verify(device, shape(3, 30, 100))
    assert device.tried == [(100, 2), (100, 14), (100, 20)]
    assert device.failures == 0
    assert device.limits == {3: 20}  # 1000 + 20 * 150 bytes
    assert verification.calibration == (1300 / 1200, 3100 / 2400)
    assert events[-1]["lowered"] == {"3": 20}


def test_a_bucket_above_the_budget_follows_what_it_took() -> None:
    device, _ = make_device()
    device.each = 2.0
    first = shape(0, 30, 100, predicted=BASE)  # of no use for calibration
    (check,) = verify(device, first).checks
    assert device.tried == [(100, 30), (100, 15)]
    assert device.limits == {0: 15}
    assert (check.fitting_rows, check.tried_rows, check.measured_peak_bytes, check.error) == (15, 15, 4000, None)


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_bucket_that_fails_is_cut_until_it_fits(accumulated: bool) -> None:
    device, events = make_device(meter=ResidentMeter())
    device.capacity = 2000
    (check,) = verify(device, shape(5, 30, 100), accumulated=accumulated).checks
    assert [rows for _, rows in device.tried if rows > 1] == [30, 15, 7]
    assert device.limits == {5: 7}
    assert (check.fitting_rows, check.measured_peak_bytes) == (7, None)
    assert events[0]["error"] == "CUDA out of memory. (capped)"
    assert "ratio" not in events[0]
    device.run(0, [BucketBatch(bucket=5, batch=synthetic_batch(shape(5, 30, 100), 30, DIMENSIONS))])
    assert [event["event"] for event in events] == ["plan-verified", "plan-verification"]  # and no out-of-memory


def test_not_one_row_fits() -> None:
    device, events = make_device(meter=ResidentMeter())
    device.capacity = BASE
    verification = verify(device, shape(0, 5, 30), shape(1, 1, 60))
    assert [(check.bucket, check.fitting_rows) for check in verification.checks] == [(0, 0), (1, 0)]
    assert device.limits == {0: 1}  # a bucket of one row has none to lose
    assert events[-1]["lowered"] == {"0": 0, "1": 0}


def test_gradients_are_there_where_updates_take_several_batches() -> None:
    device, _ = make_device()
    verify(device, shape(0, 30, 100), shape(1, 20, 50), accumulated=True)
    assert device.tried == [(100, 1), (100, 2), (100, 14), (100, 30), (50, 20)]
    assert device.accumulating == [False, True, True, True, True]
    other, _ = make_device()
    verify(other, shape(0, 30, 100), shape(1, 20, 50))
    assert not any(other.accumulating)
    assert device.seen_modes == {True}


def test_a_limit_that_was_learnt_is_kept() -> None:
    device, _ = make_device(limits={0: 9})
    (check,) = verify(device, shape(0, 30, 100)).checks
    assert device.tried == [(100, 2), (100, 9)]
    assert (check.tried_rows, check.predicted_peak_bytes, check.measured_peak_bytes) == (9, 1900, 1900)
    assert device.limits == {0: 9}


def test_no_bucket_is_begun_when_the_time_is_over() -> None:
    device, events = make_device(meter=ResidentMeter())

    def clock() -> float:
        return 20.0 * len(device.tried)

    verification = verify(device, *(shape(number, 4, 30 + number) for number in range(5)), clock=clock, at_most_s=55)
    assert device.tried == [(34, 4), (33, 4), (30, 4)]
    assert verification.unverified == (1, 2)
    assert (events[-1]["unverified"], events[-1]["seconds"], events[-1]["verified"]) == ([1, 2], 60.0, 3)


def items(count: int) -> list[ValidationItem]:
    return [
        ValidationItem(
            utterance=Utterance(id=str(number), audio="a.wav", duration_s=0.4, text="a"),
            features=np.zeros((40, DIMENSIONS), np.float32),
            labels=[1],
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(("peak", "fits"), [(3000, True), (5000, False), (None, False)])
def test_the_validation_batch_is_read_last(peak: int | None, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    device, events = make_device()
    plain, seen = CtcObjective.read, []

    def read(self: CtcObjective, *arguments: Any) -> Any:
        seen.append((self.model.training, torch.is_inference_mode_enabled(), len(arguments[2])))
        if peak is None:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        device.meter.peak = peak  # type: ignore[attr-defined]
        return plain(self, *arguments)

    monkeypatch.setattr(CtcObjective, "read", read)
    verification = verify(device, shape(0, 5, 30), validation=items(3))
    assert seen == [(False, True, 3)]
    assert (verification.validation_fits, verification.validation_peak_bytes) == (fits, peak)
    assert events[-1]["validation_fits"] is fits
    assert device.model.training


def test_other_errors_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(CtcObjective, "read", broken)
    device, _ = make_device()
    with pytest.raises(RuntimeError, match="size mismatch"):
        verify(device, shape(0, 5, 30), validation=items(1))


def test_nothing_to_verify() -> None:
    device, events = make_device()
    verification = verify(device)
    assert (verification.worst_ratio, verification.budget_share, verification.checks) == (None, None, ())
    assert events == [
        {"event": "plan-verification", "verified": 0, "unverified": [], "lowered": {}}
        | {"calibration_ratios": [], "seconds": events[0]["seconds"]}
    ]


class Verified(TrainingLoop):
    """Verifies buckets before it trains, the second one with failures."""

    frames, rows, labels, dimensions = 60, 8, 3, 16

    def fit(self, *arguments: Any, **options: Any) -> Any:
        shapes = [
            BucketShape(
                bucket=bucket, rows=self.rows, frames=self.frames, labels=self.labels, predicted_peak_bytes=10**6
            )
            for bucket in (0, 7)  # the run has no bucket 7
        ]
        plain = Updater._losses

        def failing(updater: Updater, piece: Batch) -> Tensor:
            losses = plain(updater, piece)
            if piece.ids[0].startswith("bucket-7") and len(piece) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. (injected)")
            return losses

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Updater, "_losses", failing)
            verify_buckets(
                self.updater,
                shapes,
                dimensions=self.dimensions,
                budget_bytes=10**9,
                accumulated=True,
                log_event=self.log_event,
            )
        assert self.updater.limits == {7: 2}
        del self.updater.limits[7]
        return super().fit(*arguments, **options)


class VerifiedWhisper(Verified):
    frames, rows, labels, dimensions = 150, 4, 12, 80


@pytest.fixture
def make_recipe(tiny_recipe: MakeRecipe, tmp_path: Path) -> Callable[[str], Recipe]:
    def make(kind: str) -> Recipe:
        common = ("training.updates=6", "training.evaluate_every=6", "batches={update_samples: 8, accumulate: 2}")
        if kind == "ctc":
            settings = "{family: conformer-ctc, settings: {width: 16, layers: 2, dropout: 0.2}}"
            return tiny_recipe(*common, f"model={settings}")
        pytest.importorskip("transformers", reason="needs the extra `train`")
        random_whisper(tmp_path / "whisper", d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.2)
        return tiny_recipe(*common, f"model={{pretrained: {tmp_path / 'whisper'}}}", "seq2seq.language=uz")

    return make


@pytest.mark.parametrize(("kind", "loop"), [("ctc", Verified), ("whisper", VerifiedWhisper)])
def test_a_run_that_was_verified_trains_to_the_same_weights(
    kind: str,
    loop: type[TrainingLoop],
    make_recipe: Callable[[str], Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe(kind)
    train(recipe, tmp_path / "plain")
    monkeypatch.setattr(runs, "TrainingLoop", loop)
    train(recipe, tmp_path / "verified")
    hashes = [sha256_file(tmp_path / name / "model" / "model.safetensors") for name in ("plain", "verified")]
    assert hashes[0] == hashes[1]
    names = [event["event"] for event in read_events(tmp_path / "verified")]
    assert names.count("plan-verified") == 2
    assert "plan-verification" in names
