"""The training loop: updates, evaluations, checkpoints, in an order that a kill cannot disturb.

Everything an update does is a function of the recipe, the data and the update number, and of the weights and optimiser
state before it. A run that was killed and resumed therefore ends with the same bits as one that was not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from harken.core import InputError, RunFailed
from harken.training.checkpoint import CheckpointStore
from harken.training.interrupt import StopFlag
from harken.training.memory import MemoryWatch
from harken.training.optimization import Schedule, set_rate
from harken.training.progress import ProgressView, Standing
from harken.training.recipe import TrainingConfig
from harken.training.update import BucketBatch, Updater, UpdateResult
from harken.training.validation import ValidationResult
from harken.training.weights import frozen_fingerprint, load_trained_state, trained_state

logger = logging.getLogger(__name__)

ACCUMULATE = "accumulate"
"""In what a checkpoint keeps of the batches: how many of them make an update, for each stage."""


class Interrupted(RunFailed):
    """The user stopped the run; it can be resumed."""

    exit_code = 130


@dataclass(kw_only=True)
class TrainingState:
    """Where a run stands; saved in every checkpoint. `update` is the number of updates done."""

    update: int = 0
    best_wer: float | None = None
    best_update: int | None = None
    last_wer: float | None = None
    evaluations_without_improvement: int = 0
    nonfinite_in_a_row: int = 0
    skipped_updates: int = 0
    stopped_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stage in updates: `[first, first + updates)`. Training without a curriculum has one, without a name."""

    name: str
    first: int
    updates: int
    updates_per_epoch: float

    @property
    def end(self) -> int:
        return self.first + self.updates

    @classmethod
    def following(
        cls, before: "Span | None", *, name: str, epochs: float | None, updates: int | None, updates_per_epoch: float
    ) -> "Span":
        """The span of a stage that lasts `updates`, or else `epochs`, after the one before it."""
        length = updates or max(1, math.ceil((epochs or 0) * updates_per_epoch))
        first = 0 if before is None else before.end
        return cls(name=name, first=first, updates=length, updates_per_epoch=updates_per_epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often things happen, in updates, and how many there are. Every stage ends with an evaluation."""

    spans: tuple[Span, ...]
    evaluate_every: int
    checkpoint_every: int
    log_every: int

    @classmethod
    def of(cls, config: TrainingConfig, spans: Sequence[Span]) -> "Cadence":
        """The cadence of these stages. Without `evaluate_every` it is an epoch, the shortest of all stages' epochs."""
        updates = spans[-1].end
        epoch = max(1, round(min(span.updates_per_epoch for span in spans)))
        evaluate_every = min(config.evaluate_every or epoch, updates)
        return cls(
            spans=tuple(spans),
            evaluate_every=evaluate_every,
            checkpoint_every=min(config.checkpoint_every or evaluate_every, updates),
            log_every=config.log_every,
        )

    @property
    def updates(self) -> int:
        return self.spans[-1].end

    def epoch(self, update: int) -> float:
        """Epochs after `update` updates, counted through all stages."""
        return sum(min(max(update - span.first, 0), span.updates) / span.updates_per_epoch for span in self.spans)

    def ended(self, update: int) -> Span | None:
        """The stage whose last update was number `update`, counted from 1; None in the middle of one."""
        return next((span for span in self.spans if span.end == update), None)

    def evaluates(self, update: int) -> bool:
        return update % self.evaluate_every == 0 or self.ended(update) is not None

    def checkpoints(self, update: int) -> bool:
        return self.evaluates(update) or update % self.checkpoint_every == 0


@dataclass(kw_only=True)
class _Window:
    """Sums since the last logged line."""

    since: float = field(default_factory=time.monotonic)
    loss: float = 0.0
    labels: int = 0
    audio_s: float = 0.0
    wait_s: float = 0.0


class TrainingLoop:
    """Runs the updates of one run.

    `batches(first, last)` yields, for each update in [first, last), its batches. `validate()` scores the model as
    it stands, its averaged weights in place where the updater keeps an average. `log_metrics` and `log_event` write
    to the run folder and the sinks. `data` is what the order of the batches depends on, as plain data; checkpoints
    keep it and `restore` compares it.
    """

    def __init__(
        self,
        *,
        updater: Updater,
        schedule: Schedule,
        cadence: Cadence,
        config: TrainingConfig,
        batches: Callable[[int, int], Iterator[list[BucketBatch]]],
        validate: Callable[[], ValidationResult],
        store: CheckpointStore,
        watch: MemoryWatch,
        log_metrics: Callable[..., None],
        log_event: Callable[..., None],
        view: ProgressView,
        data: Mapping[str, Any],
    ) -> None:
        self.updater = updater
        self.schedule = schedule
        self.cadence = cadence
        self.config = config
        self.batches = batches
        self.validate = validate
        self.store = store
        self.watch = watch
        self.log_metrics = log_metrics
        self.log_event = log_event
        self.view = view
        self.data = dict(data)
        self.state = TrainingState()
        self.audio_s = 0.0
        self.wait_s = 0.0
        self._frozen = frozen_fingerprint(updater.model)
        self._window = _Window()
        self._result: UpdateResult | None = None
        self._evaluated_at = 0

    def restore(self) -> int:
        """Continue from the newest whole checkpoint; returns its update, 0 where there is none.

        Raises InputError when checkpoints exist and none of them is whole, when the data make other batches now, and
        when the frozen weights are others.
        """
        checkpoint, damaged = self.store.load_newest()
        for error in damaged:
            self.log_event("checkpoint-damaged", error=str(error))
        if checkpoint is None:
            if damaged:
                raise InputError(f"{self.store.folder}: every checkpoint is damaged.", hint="Start a new run.")
            return 0
        if not _same_batches(checkpoint.state["data"], self.data):
            raise InputError(
                f"{self.store.folder}: the usable training data are not those the run began with.",
                hint="Restore the audio that events.jsonl says was left out, or start a new run.",
            )
        if checkpoint.state["frozen"] != self._frozen:
            raise InputError(
                f"{self.store.folder}: the frozen weights of the model are not those the run began with.",
                hint="Restore the folder that model.pretrained or model.initial names, or start a new run.",
            )
        load_trained_state(self.updater.model, checkpoint.model)
        self.updater.optimizer.load_state_dict(checkpoint.optimizer)
        self.updater.load_state(checkpoint.state["updater"])
        if self.updater.average is not None:
            self.updater.average.load_state(checkpoint.average)
        self.state = TrainingState(**checkpoint.state["training"])
        # A kill between a checkpoint and its mark, or a step back past a damaged one, leaves `best` elsewhere.
        best = self.state.best_update
        if best is not None and best != self.store.best() and best in self.store.steps():
            self.store.mark_best(best)
        return self.state.update

    def fit(self, stop: StopFlag, *, keep_initial: bool = False) -> TrainingState:
        """Train to the end of the cadence or to an early stop. The model is scored before the first update.

        `keep_initial` makes that untouched model the one to beat, which a model that was trained before deserves.
        Raises Interrupted when `stop` was set (a checkpoint has been written), RunFailed when memory, the disk or the
        numbers give out.
        """
        if self.state.update == 0 and self.state.last_wer is None:
            self._evaluate()
            if keep_initial:
                self.state.best_wer, self.state.best_update = self.state.last_wer, 0
                self._checkpoint()
        self.updater.model.train()
        self._window = _Window()
        updates = range(self.state.update, 0 if self.state.stopped_early else self.cadence.updates)
        stream = self.batches(updates.start, updates.stop) if updates else iter(())
        try:
            for update in updates:
                self._one_update(update, stream)
                if self.state.stopped_early:
                    break
                if stop and self.state.update < self.cadence.updates:
                    self._interrupt()
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        return self.state

    def _one_update(self, update: int, stream: Iterator[list[BucketBatch]]) -> None:
        asked = time.monotonic()
        batches = next(stream)
        waited = time.monotonic() - asked
        set_rate(self.updater.optimizer, self.schedule.rate(update))
        result = self.updater.run(update, batches)
        self._result = result
        self.state.update = update + 1
        self._account(result, waited)
        if not result.applied:
            self._skipped(result)
        else:
            self.state.nonfinite_in_a_row = 0
        share = self.watch.check(self.state.update)
        if self.state.update % self.cadence.log_every == 0 or self.state.update == self.cadence.updates:
            self._log_line(share)
        if self.cadence.evaluates(self.state.update):
            self._evaluate()
        if self.cadence.checkpoints(self.state.update):
            self._checkpoint()

    def _account(self, result: UpdateResult, waited: float) -> None:
        window = self._window
        if math.isfinite(result.loss):
            window.loss += result.loss * result.labels
            window.labels += result.labels
        window.audio_s += result.audio_s
        window.wait_s += waited
        self.audio_s += result.audio_s
        self.wait_s += waited
        elapsed = max(1e-9, time.monotonic() - window.since)
        self.view.show(
            Standing(
                update=self.state.update,
                updates=self.cadence.updates,
                epoch=self.cadence.epoch(self.state.update),
                loss=window.loss / max(1, window.labels),
                wer=self.state.last_wer,
                speed=window.audio_s / elapsed,
                evaluated_at=self._evaluated_at,
            )
        )

    def _skipped(self, result: UpdateResult) -> None:
        self.state.nonfinite_in_a_row += 1
        self.state.skipped_updates += 1
        self.log_event(
            "nonfinite-update-skipped",
            step=self.state.update,
            loss=repr(result.loss),
            gradient_norm=repr(result.gradient_norm),
            utterances=list(result.culprits),
            in_a_row=self.state.nonfinite_in_a_row,
        )
        logger.warning(
            "Update %d skipped: loss %s, gradient norm %s%s",
            self.state.update,
            result.loss,
            result.gradient_norm,
            f", utterances {', '.join(result.culprits[:5])}" if result.culprits else "",
        )
        if self.state.nonfinite_in_a_row >= self.config.max_nonfinite_updates:
            raise RunFailed(
                f"{self.state.nonfinite_in_a_row} updates in a row had a loss or gradient that is not finite, "
                f"the last at update {self.state.update}.",
                hint="Lower optimizer.learning_rate, look at the utterances in events.jsonl, or train in "
                + ("bf16 or fp32." if self.updater.precision.loss_scaling else "fp32."),
            )

    def _log_line(self, memory: float) -> None:
        window, result = self._window, self._result
        elapsed = max(1e-9, time.monotonic() - window.since)
        numbers: dict[str, Any] = {
            "learning_rate": self.schedule.rate(self.state.update - 1),
            "audio_s_per_s": round(window.audio_s / elapsed, 2),
            "data_wait_share": round(window.wait_s / elapsed, 4),
            "memory_share": round(memory, 4),
            **self.watch.numbers(),
        }
        if window.labels:
            numbers["train_loss"] = window.loss / window.labels
        if result is not None and math.isfinite(result.gradient_norm):
            numbers["gradient_norm"] = result.gradient_norm
        self.log_metrics(self.state.update, self.cadence.epoch(self.state.update), **numbers)
        self._window = _Window()

    def _evaluate(self) -> None:
        started = time.monotonic()
        average = self.updater.average
        with nullcontext() if average is None else average.applied():
            result = self.validate()
        state = self.state
        numbers = {"val_wer": result.wer, "val_cer": result.cer}
        if result.loss is not None and math.isfinite(result.loss):
            numbers["val_loss"] = result.loss
        numbers |= {f"val_wer_{language}": rate for language, rate in result.languages.items()}
        if result.switch_f1 is not None:
            numbers["val_switch_f1"] = result.switch_f1
        self.log_metrics(state.update, self.cadence.epoch(state.update), **numbers)
        state.last_wer, self._evaluated_at = result.wer, state.update
        self._log_stage(result)
        if state.update > 0:
            better = state.best_wer is None or result.wer < state.best_wer
            if better:
                state.best_wer, state.best_update = result.wer, state.update
                state.evaluations_without_improvement = 0
            else:
                state.evaluations_without_improvement += 1
                patience = self.config.patience
                state.stopped_early = patience is not None and state.evaluations_without_improvement >= patience
        mark = " (best)" if state.best_update == state.update else " (before training)" if state.update == 0 else ""
        self.view.say(
            f"update {state.update}: WER {100 * result.wer:.2f} %, CER {100 * result.cer:.2f} %"
            + (f", loss {result.loss:.3f}" if result.loss is not None else "")
            + mark
        )
        self._window.since += time.monotonic() - started

    def _log_stage(self, result: ValidationResult) -> None:
        """An event for the end of a stage of a curriculum, and for the model before the first."""
        span = self.cadence.ended(self.state.update)
        if not self.cadence.spans[0].name or (span is None and self.state.update > 0):
            return
        self.log_event(
            "stage-ended" if span is not None else "before-stages",
            step=self.state.update,
            stage=span.name if span is not None else None,
            wer=result.wer,
            languages=result.languages,
            switch_f1=result.switch_f1,
        )

    def _checkpoint(self) -> None:
        started = time.monotonic()
        state = {
            "training": asdict(self.state),
            "updater": self.updater.state(),
            "data": self.data,
            "frozen": self._frozen,
        }
        folder = self.store.save(
            self.state.update,
            model=trained_state(self.updater.model),
            optimizer=self.updater.optimizer.state_dict(),
            state=state,
            average=None if self.updater.average is None else self.updater.average.state(),
        )
        if self.state.best_update == self.state.update:
            self.store.mark_best(self.state.update)
        self.log_event("checkpoint", step=self.state.update, folder=folder.name)
        self._window.since += time.monotonic() - started

    def _interrupt(self) -> None:
        if not self.cadence.checkpoints(self.state.update):
            self._checkpoint()
        raise Interrupted(
            f"Stopped at update {self.state.update} of {self.cadence.updates}; a checkpoint is written.",
            hint=f"Go on with: harken train --resume {self.store.folder.parent}",
        )


def _same_batches(saved: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether updates take the same batches. Checkpoints once did not say how many make an update."""
    return saved == {name: value for name, value in now.items() if name != ACCUMULATE or name in saved}
