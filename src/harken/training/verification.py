"""A real step of each planned bucket before the first update: the memory it takes beside the plan's prediction."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from harken.inference.torch_engine import pad_features
from harken.training.bucket_shapes import (
    BucketShape,
    adversarial_order,
    affordable,
    calibration_rows,
    predicted_at,
    synthetic_batch,
)
from harken.training.memory import is_out_of_memory
from harken.training.meter import Reading
from harken.training.objective import ValidationItem
from harken.training.rehearsal import coming_states, outside_of_allocator, untouched
from harken.training.update import BucketBatch, DidNotFit, EventFunction, Updater

AT_MOST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketCheck:
    """What a bucket took. `fitting_rows` of the planned `rows` fit at once; 0 where not even one does.

    The peaks are of the last step, of `tried_rows` (`fitting_rows` but for want of time); the predicted one lies on a
    line from no rows to all of them, the measured one is None where memory ran out or the device does not tell.
    `error` says what happened when memory ran out.
    """

    bucket: int
    rows: int
    tried_rows: int
    fitting_rows: int
    predicted_peak_bytes: int
    measured_peak_bytes: int | None
    error: str | None

    @property
    def ratio(self) -> float | None:
        """Measured over predicted."""
        return None if self.measured_peak_bytes is None else self.measured_peak_bytes / self.predicted_peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What became of all buckets, in the order tried. `calibration` has the ratios of a few rows of the first.

    `unverified` are the buckets there was no time for. Of the validation batch there is the peak, and whether it fit
    at once (None where none was tried).
    """

    checks: tuple[BucketCheck, ...]
    calibration: tuple[float, ...]
    unverified: tuple[int, ...]
    validation_peak_bytes: int | None
    validation_fits: bool | None
    budget_bytes: int
    seconds: float

    def __str__(self) -> str:
        lowered = sum(check.fitting_rows < check.rows for check in self.checks)
        parts = [f"took a real step of {len(self.checks)} buckets in {self.seconds:.0f} s"]
        if self.worst_ratio is not None and self.budget_share is not None:
            parts.append(
                f"peaks up to {self.worst_ratio:.0%} of those predicted, {self.budget_share:.0%} of what may be used"
            )
        if lowered:
            parts.append(f"{lowered} of them take fewer rows at once than planned")
        if self.unverified:
            parts.append(f"no time for {len(self.unverified)}")
        return "; ".join(parts)

    @property
    def worst_ratio(self) -> float | None:
        """The highest ratio of measured to predicted peak; None where nothing was measured."""
        return max((check.ratio for check in self.checks if check.ratio is not None), default=None)

    @property
    def budget_share(self) -> float | None:
        """The highest measured peak as a share of the budget."""
        peaks = [check.measured_peak_bytes for check in self.checks if check.measured_peak_bytes is not None]
        return max(peaks) / self.budget_bytes if peaks else None


def verify_buckets(
    updater: Updater,
    shapes: Sequence[BucketShape],
    *,
    dimensions: int,
    budget_bytes: int,
    accumulated: bool,
    log_event: EventFunction,
    validation: Sequence[ValidationItem] = (),
    outside_bytes: int | None = None,
    at_most_s: float = AT_MOST_S,
    clock: Callable[[], float] = time.monotonic,
) -> Verification:
    """Forward, loss and backward of a full batch of each bucket, and the reading of one validation batch.

    `dimensions` are those of the features; `accumulated` says that updates take several batches, so that gradients
    exist when most of them begin. `budget_bytes` is for the whole device; of it `outside_bytes` are not in the meter's
    numbers (None: what the driver and other processes hold of a GPU, nothing elsewhere).

    A bucket that runs out of memory or exceeds the budget gets a lower limit in `updater.limits`. Nothing else is
    changed: weights, buffers, gradients, optimiser, loss scale, modes and random states are as before. No bucket is
    begun after `at_most_s`. Writes an event "plan-verified" for each and a "plan-verification" for all.

    Raises RunFailed when the states that the optimiser makes at its first step do not fit beside the model.
    """
    began = clock()
    if outside_bytes is None:
        outside_bytes = outside_of_allocator(updater.precision.device)
    verifier = _Verifier(
        updater=updater,
        dimensions=dimensions,
        budget_bytes=budget_bytes,
        outside_bytes=outside_bytes,
        accumulated=accumulated,
        log_event=log_event,
        out_of_time=lambda: clock() - began >= at_most_s,
    )
    with untouched(updater):
        states = coming_states(updater)
        verifier.run(adversarial_order(shapes), validation)
        states.clear()  # before what is free goes back to the device
    done = {check.bucket for check in verifier.checks}
    verification = Verification(
        checks=tuple(verifier.checks),
        calibration=tuple(verifier.calibration),
        unverified=tuple(shape.bucket for shape in shapes if shape.bucket not in done),
        validation_peak_bytes=verifier.validation_peak_bytes,
        validation_fits=verifier.validation_fits,
        budget_bytes=budget_bytes,
        seconds=clock() - began,
    )
    log_event("plan-verification", **_summary(verification))
    return verification


def _summary(verification: Verification) -> dict[str, Any]:
    known: dict[str, Any] = {
        "verified": len(verification.checks),
        "unverified": list(verification.unverified),
        "lowered": {str(c.bucket): c.fitting_rows for c in verification.checks if c.fitting_rows < c.rows},
        "worst_ratio": _rounded(verification.worst_ratio),
        "budget_share": _rounded(verification.budget_share),
        "calibration_ratios": [round(ratio, 4) for ratio in verification.calibration],
        "validation_peak_bytes": verification.validation_peak_bytes,
        "validation_fits": verification.validation_fits,
        "seconds": round(verification.seconds, 2),
    }
    return {name: value for name, value in known.items() if value is not None}


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


@dataclass(kw_only=True)
class _Verifier:
    updater: Updater
    dimensions: int
    budget_bytes: int
    outside_bytes: int
    accumulated: bool
    log_event: EventFunction
    out_of_time: Callable[[], bool]
    checks: list[BucketCheck] = field(default_factory=list)
    calibration: list[float] = field(default_factory=list)
    validation_peak_bytes: int | None = None
    validation_fits: bool | None = None

    def run(self, shapes: Sequence[BucketShape], validation: Sequence[ValidationItem]) -> None:
        self.updater.model.train()
        self.updater.meter.numbers()  # what was before is not in the numbers of the first bucket
        for shape in shapes:
            if self.out_of_time():
                return
            if shape is shapes[0]:
                self._calibrate(shape)
            check = self._check(shape)
            self.checks.append(check)
            self._log(check)
        if validation and not self.out_of_time():
            self._validate(validation)

    def _calibrate(self, shape: BucketShape) -> None:
        """Steps of fewer rows, near shares of the budget, and a lower limit where their line exceeds it."""
        failed = self._prepare(shape)
        self.updater.meter.begin()
        reading = self.updater.meter.read()
        if failed is not None or reading is None:
            return
        points = [(0, reading.before_bytes + self.outside_bytes)]
        most = self._limit(shape)
        for rows in calibration_rows(shape, points[0][1], self.budget_bytes):
            if rows >= most or self.out_of_time():
                break
            outcome = self._step(shape, rows)
            if not isinstance(outcome, Reading):
                break
            points.append((rows, outcome.peak_bytes + self.outside_bytes))
            self.calibration.append(points[-1][1] / predicted_at(shape, rows, points[0][1]))
        if len(points) > 1:
            self._lower(shape, affordable(points, self.budget_bytes, most))

    def _check(self, shape: BucketShape) -> BucketCheck:
        """A step of as many rows as the limit has, then of fewer until it fits."""
        rows = self._limit(shape)
        error: str | None = None
        while True:
            outcome = self._step(shape, rows)
            error = outcome.reason if isinstance(outcome, DidNotFit) else error
            fitting = self._fitting(shape, rows, outcome)
            self._lower(shape, fitting or 1)
            if fitting in (0, rows) or self.out_of_time():
                break
            rows = fitting
        peak_bytes: int | None = None
        predicted_bytes = shape.predicted_peak_bytes
        if isinstance(outcome, Reading):
            peak_bytes = outcome.peak_bytes + self.outside_bytes
            predicted_bytes = predicted_at(shape, rows, outcome.before_bytes + self.outside_bytes)
        return BucketCheck(
            bucket=shape.bucket,
            rows=shape.rows,
            tried_rows=rows,
            fitting_rows=fitting,
            predicted_peak_bytes=predicted_bytes,
            measured_peak_bytes=peak_bytes,
            error=error,
        )

    def _fitting(self, shape: BucketShape, rows: int, outcome: Reading | DidNotFit | None) -> int:
        """Rows that are expected to fit after a step of `rows`: all of them if it did, 0 if one row did not."""
        if isinstance(outcome, DidNotFit):
            return 0 if outcome.utterances == 1 else self.updater.next_limit(outcome)
        if outcome is None or outcome.peak_bytes + self.outside_bytes <= self.budget_bytes:
            return rows
        room_bytes = self.budget_bytes - self.outside_bytes - outcome.before_bytes
        return 0 if rows == 1 else min(rows - 1, self.updater.fitting(shape.bucket, room_bytes))

    def _step(self, shape: BucketShape, rows: int) -> Reading | DidNotFit | None:
        """Forward, loss and backward; what was measured, None where the device does not tell."""
        failed = self._prepare(shape) or self._pass(shape, rows)
        return failed or self.updater.meter.read()

    def _prepare(self, shape: BucketShape) -> DidNotFit | None:
        """Gradients as a batch finds them when it begins: of one row where batches are accumulated, else none."""
        weights = [p for group in self.updater.optimizer.param_groups for p in group["params"]]
        if not self.accumulated:
            self.updater.optimizer.zero_grad(set_to_none=True)
        elif all(p.grad is None for p in weights):
            return self._pass(shape, 1)
        return None

    def _pass(self, shape: BucketShape, rows: int) -> DidNotFit | None:
        batch = synthetic_batch(shape, rows, self.dimensions)
        outcome = self.updater.add_gradients([BucketBatch(bucket=shape.bucket, batch=batch)], rows * shape.labels)
        return outcome if isinstance(outcome, DidNotFit) else None

    def _limit(self, shape: BucketShape) -> int:
        return min(shape.rows, self.updater.limits.get(shape.bucket, shape.rows))

    def _lower(self, shape: BucketShape, rows: int) -> None:
        if rows < shape.rows:
            self.updater.limits[shape.bucket] = rows

    def _log(self, check: BucketCheck) -> None:
        known: dict[str, Any] = {
            "bucket": check.bucket,
            "rows": check.rows,
            "tried_rows": check.tried_rows,
            "fitting_rows": check.fitting_rows,
            "predicted_peak_bytes": check.predicted_peak_bytes,
            "measured_peak_bytes": check.measured_peak_bytes,
            "ratio": _rounded(check.ratio),
            "error": check.error,
            **self.updater.meter.numbers(),
        }
        self.log_event("plan-verified", **{name: value for name, value in known.items() if value is not None})

    def _validate(self, items: Sequence[ValidationItem]) -> None:
        updater, device = self.updater, self.updater.precision.device
        updater.model.eval()
        updater.optimizer.zero_grad(set_to_none=True)
        updater.meter.begin()
        try:
            features_BFM, frames_B = pad_features([item.features for item in items], device)
            with torch.inference_mode():
                updater.objective.read(features_BFM, frames_B, items)
            self.validation_fits = True
        except (RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
            self.validation_fits = False
        reading = updater.meter.read()
        if reading is not None and self.validation_fits:
            self.validation_peak_bytes = reading.peak_bytes + self.outside_bytes
            self.validation_fits = self.validation_peak_bytes <= self.budget_bytes
