"""One update of the weights: gradients over several batches, recovery from memory and number trouble.

The update keeps its samples whatever happens. Out of memory: the batch that did not fit is cut, at least in half, and
the whole update is computed again from zero, so every utterance counts once. A loss or gradient that is not finite: the
update is skipped, and the utterances that caused it are named.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harken.core import RunFailed, derive_seed
from harken.data.batch import Batch
from harken.training.ema import WeightAverage
from harken.training.memory import failure_reason, free_memory, is_out_of_memory
from harken.training.meter import MemoryMeter, Reading, ResidentMeter
from harken.training.objective import Objective
from harken.training.optimization import gradient_norm
from harken.training.precision import Precision

logger = logging.getLogger(__name__)

EventFunction = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBatch:
    """A batch and the bucket it was drawn from."""

    bucket: int
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an update did. `loss` is in nats per label; `culprits` are the utterances with a loss that is not finite."""

    loss: float
    gradient_norm: float
    applied: bool
    labels: int
    audio_s: float
    culprits: tuple[str, ...] = ()


def pieces(batch: Batch, limit: int | None) -> Iterator[Batch]:
    """The batch cut into parts of at most `limit` utterances, each padded only as far as it needs."""
    size = len(batch.ids)
    step = size if limit is None else limit
    for start in range(0, size, max(1, step)):
        part = slice(start, start + step)
        frames = batch.frames_B[part]
        labels = batch.label_lengths_B[part]
        share = len(frames) / size
        yield Batch(
            ids=batch.ids[part],
            features_BFM=batch.features_BFM[part, : frames.max()],
            frames_B=frames,
            labels_BT=batch.labels_BT[part, : max(1, labels.max())],
            label_lengths_B=labels,
            duration_s=batch.duration_s * share,
            padded_s=batch.padded_s * share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DidNotFit:
    """A piece of a batch that memory did not suffice for; `reading` is what was measured up to there."""

    bucket: int
    utterances: int
    reason: str
    reading: Reading | None


@dataclass(kw_only=True)
class Updater:
    """Applies updates to one model. `limits` maps a bucket to the rows that fit at once, learnt from failures.

    `average` takes in the weights after every update that was applied. `predicted` are the peak bytes that a plan
    expects of each bucket, to be told beside what `meter` measured when memory runs out.
    """

    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    precision: Precision
    seed: int
    clip_norm: float = 1.0
    oom_retries: int = 3
    on_event: EventFunction
    average: WeightAverage | None = None
    limits: dict[int, int] = field(default_factory=dict)
    meter: MemoryMeter = field(default_factory=ResidentMeter)
    predicted: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fitted: dict[int, _Fitted] = {}  # the largest piece of each bucket that did not fail
        device = self.precision.device.type
        self.scaler = torch.amp.GradScaler(device, enabled=self.precision.loss_scaling)
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]

    def run(self, update: int, batches: Sequence[BucketBatch]) -> UpdateResult:
        """Update number `update` with all of `batches`.

        Raises RunFailed when memory does not suffice after `oom_retries` cuts.
        """
        labels = sum(int(item.batch.label_lengths_B.sum()) for item in batches)
        audio_s = sum(item.batch.duration_s for item in batches)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        loss, culprits = self._gradients_with_retries(update, batches, labels, buffers)
        self.scaler.unscale_(self.optimizer)
        norm = float(gradient_norm(self._parameters))
        applied = not culprits and torch.isfinite(torch.tensor([loss, norm])).all().item() is True
        if applied:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.clip_norm, torch.tensor(norm))
            self.scaler.step(self.optimizer)
            if self.average is not None:
                self.average.update()
        else:
            self.restore(buffers)
        self._update_scale(applied)
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(
            loss=loss,
            gradient_norm=norm,
            applied=applied,
            labels=labels,
            audio_s=audio_s,
            culprits=tuple(culprits),
        )

    def _gradients_with_retries(
        self, update: int, batches: Sequence[BucketBatch], labels: int, buffers: list[Tensor]
    ) -> tuple[float, list[str]]:
        for attempt in range(self.oom_retries + 1):
            torch.manual_seed(derive_seed(self.seed, "update", update))
            gradients = self.add_gradients(batches, labels)
            if not isinstance(gradients, DidNotFit):
                return gradients
            failed = gradients
            self.restore(buffers)
            if attempt == self.oom_retries or failed.utterances == 1:
                break
            self.limits[failed.bucket] = self.next_limit(failed)
            self.on_event(
                "out-of-memory",
                step=update,
                bucket=failed.bucket,
                utterances=failed.utterances,
                next_utterances=self.limits[failed.bucket],
                attempt=attempt + 1,
                error=failed.reason,
                **self._measurements(failed),
            )
        raise RunFailed(
            f"Update {update} does not fit in memory: {failed.utterances} utterances of bucket {failed.bucket} "
            f"after {attempt} cuts ({failed.reason}).",
            hint="Lower batches.batch_s or data.max_duration_s, set training.gradient_checkpointing, or use a smaller "
            "model.",
        )

    def next_limit(self, failed: DidNotFit) -> int:
        """The most utterances that fit the budget by what pieces of the bucket took, at most half of what failed."""
        half = max(1, failed.utterances // 2)
        budget = self.meter.budget_bytes
        if failed.bucket not in self._fitted or failed.reading is None or budget is None:
            return half
        return min(half, self.fitting(failed.bucket, budget - failed.reading.before_bytes))

    def fitting(self, bucket: int, room_bytes: int) -> int:
        """The most utterances of a bucket that take `room_bytes`, at least one, by what its largest piece took.

        Raises KeyError for a bucket of which no piece has been measured.
        """
        return max(1, int(room_bytes // max(1.0, self._fitted[bucket].bytes_per_utterance)))

    def _measurements(self, failed: DidNotFit) -> dict[str, int]:
        """What is known of the failure's memory, for its event."""
        fitted, reading = self._fitted.get(failed.bucket), failed.reading
        known = {
            "predicted_peak_bytes": self.predicted.get(failed.bucket),
            "measured_peak_bytes": None if reading is None else reading.peak_bytes,
            "bytes_per_utterance": None if fitted is None else round(fitted.bytes_per_utterance),
        }
        return {name: value for name, value in known.items() if value is not None}

    def _note_fit(self, bucket: int, utterances: int) -> None:
        """Of pieces of one size the one that took the most counts: it held the longest utterances."""
        reading = self.meter.read()
        if reading is not None:
            fitted = _Fitted(utterances=utterances, taken_bytes=reading.taken_bytes)
            self._fitted[bucket] = max(fitted, self._fitted.get(bucket, fitted))

    def add_gradients(self, batches: Sequence[BucketBatch], labels: int) -> tuple[float, list[str]] | DidNotFit:
        """Add the gradients of `batches`, of the mean over `labels`; returns the loss and the culprits.

        Where memory does not suffice all gradients are dropped, and what the failed pass had made is freed.
        """
        try:
            return self._gradients(batches, labels)
        except _OutOfMemory as err:
            failed = err.failed
        # Outside the handler: the traceback would keep the failed graph alive.
        self.optimizer.zero_grad(set_to_none=True)
        free_memory(self.precision.device)
        return failed

    def _gradients(self, batches: Sequence[BucketBatch], labels: int) -> tuple[float, list[str]]:
        total = 0.0
        culprits: list[str] = []
        for item in batches:
            for piece in pieces(item.batch, self.limits.get(item.bucket)):
                self.meter.begin()
                try:
                    losses_B = self._losses(piece)
                    self.scaler.scale(losses_B.sum() / max(1, labels)).backward()  # type: ignore[no-untyped-call]
                except (RuntimeError, MemoryError) as err:
                    if not is_out_of_memory(err):
                        raise
                    raise _OutOfMemory(
                        DidNotFit(
                            bucket=item.bucket,
                            utterances=len(piece.ids),
                            reason=failure_reason(err),
                            reading=self.meter.read(),
                        )
                    ) from None
                self._note_fit(item.bucket, len(piece.ids))
                values = losses_B.detach().cpu()
                total += float(values.double().sum())
                culprits += [name for name, ok in zip(piece.ids, values.isfinite().tolist(), strict=True) if not ok]
        return total / max(1, labels), culprits

    def _losses(self, piece: Batch) -> Tensor:
        device = self.precision.device
        return self.objective.losses(*(torch.from_numpy(array).to(device) for array in piece.tensors))

    def restore(self, buffers: list[Tensor]) -> None:
        """Put the model's buffers back."""
        with torch.no_grad():
            for buffer, saved in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(saved)

    def _update_scale(self, applied: bool) -> None:
        if not self.precision.loss_scaling:
            return
        # A loss that was not finite can leave finite gradients behind; the scale is lowered all the same.
        self.scaler.update() if applied else self.scaler.update(self.scaler.get_scale() * 0.5)

    def state(self) -> dict[str, Any]:
        """What besides weights and optimiser decides later updates, as plain data."""
        scaler = self.scaler.state_dict() if self.precision.loss_scaling else {}
        return {"limits": {str(bucket): limit for bucket, limit in self.limits.items()}, "scaler": scaler}

    def load_state(self, state: dict[str, Any]) -> None:
        self.limits = {int(bucket): limit for bucket, limit in state["limits"].items()}
        if self.precision.loss_scaling and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


@dataclass(frozen=True, order=True, kw_only=True)
class _Fitted:
    """A piece of a batch that fit in memory."""

    utterances: int
    taken_bytes: int

    @property
    def bytes_per_utterance(self) -> float:
        return self.taken_bytes / self.utterances


class _OutOfMemory(Exception):  # noqa: N818 - a signal between two methods of one class
    def __init__(self, failed: DidNotFit) -> None:
        super().__init__(failed.reason)
        self.failed = failed
