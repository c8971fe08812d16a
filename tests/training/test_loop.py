"""The loop's decisions, on a model of one number whose updates and scores are scripted."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harken.core import InputError, RunFailed
from harken.training.checkpoint import CheckpointStore
from harken.training.interrupt import StopFlag
from harken.training.loop import Cadence, Interrupted, Span, TrainingLoop
from harken.training.memory import MemoryWatch
from harken.training.optimization import Schedule
from harken.training.precision import Precision
from harken.training.progress import SilentView
from harken.training.recipe import ScheduleConfig, TrainingConfig
from harken.training.update import BucketBatch, Updater, UpdateResult
from harken.training.validation import ValidationResult

CPU = torch.device("cpu")


class ScriptedUpdater(Updater):
    """Adds the update's number to the one weight; skips the updates in `bad`."""

    def __init__(self, *, bad: Sequence[int] = (), after: Callable[[int], None] = lambda update: None) -> None:
        self.model = nn.Linear(1, 1, bias=False)  # type: ignore[assignment]
        nn.init.zeros_(self.model.weight)  # type: ignore[arg-type]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.bad = bad
        self.after = after
        self.limits = {}
        self.average = None
        self.precision = Precision(name="fp32", device=torch.device("cpu"))
        self.rates: list[float] = []

    @property
    def weight(self) -> float:
        return float(self.model.weight.detach())  # type: ignore[operator]

    def run(self, update: int, batches: Sequence[BucketBatch]) -> UpdateResult:
        assert self.model.training
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.after(update)
        if update in self.bad:
            return UpdateResult(
                loss=math.nan, gradient_norm=math.inf, applied=False, labels=2, audio_s=1.0, culprits=("u7", "u9")
            )
        with torch.no_grad():
            self.model.weight += update
        return UpdateResult(loss=2.0, gradient_norm=0.5, applied=True, labels=2, audio_s=1.0)

    def state(self) -> dict[str, Any]:
        return {"limits": {}}

    def load_state(self, state: dict[str, Any]) -> None:
        assert state == {"limits": {}}


def span(*, name: str = "", epochs: float | None = None, updates: int | None = None, per_epoch: float) -> Span:
    return Span.following(None, name=name, epochs=epochs, updates=updates, updates_per_epoch=per_epoch)


class Scene:
    """A trainer with everything around it recorded."""

    def __init__(
        self,
        folder: Path,
        *,
        wers: Sequence[float] = (),
        updater: ScriptedUpdater | None = None,
        data: dict[str, Any] | None = None,
        spans: list[Span] | None = None,
        **training: Any,
    ) -> None:
        config = TrainingConfig(
            **{"updates": 12, "evaluate_every": 2, "checkpoint_every": 1, "log_every": 3, **training}
        )
        self.wers = dict(enumerate(wers))
        self.evaluated: list[int] = []
        self.metrics: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[int, int]] = []
        self.updater = updater or ScriptedUpdater()
        self.store = CheckpointStore(folder, keep=config.keep_checkpoints)
        self.trainer = TrainingLoop(
            updater=self.updater,
            schedule=Schedule(ScheduleConfig(warmup_updates=0), peak=1.0, updates=12),
            cadence=Cadence.of(config, spans or [span(updates=config.updates, per_epoch=4)]),
            config=config,
            batches=self.batches,
            validate=self.validate,
            store=self.store,
            watch=MemoryWatch(
                CPU,
                warn_share=0.9,
                act_share=0.95,
                on_event=self.event,
                release=lambda: None,
                measure=lambda device: (0.0, 1.0),
            ),
            log_metrics=lambda step, epoch, **numbers: self.metrics.append({"step": step, "epoch": epoch, **numbers}),
            log_event=self.event,
            view=SilentView(),
            data=data or {"seed": 1},
        )

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append({"event": kind, **fields})

    def batches(self, first: int, last: int) -> Iterator[list[BucketBatch]]:
        self.asked.append((first, last))
        for _ in range(first, last):
            yield []

    def validate(self) -> ValidationResult:
        """The scripted WER of this evaluation; by default one that falls with every update."""
        update = self.trainer.state.update
        self.evaluated.append(update)
        wer = self.wers.get(update // 2, 1.0 - update / 100)
        return ValidationResult(wer=wer, cer=wer / 2, loss=wer, hypotheses={})


def test_cadence_in_updates_and_in_epochs() -> None:
    cadence = Cadence.of(TrainingConfig(), [span(epochs=2.5, per_epoch=10)])
    assert (cadence.updates, cadence.evaluate_every, cadence.checkpoint_every) == (25, 10, 10)
    assert [u for u in range(1, 26) if cadence.evaluates(u)] == [10, 20, 25]
    config = TrainingConfig(evaluate_every=3, checkpoint_every=2)
    cadence = Cadence.of(config, [span(updates=7, per_epoch=10)])
    assert [u for u in range(1, 8) if cadence.evaluates(u)] == [3, 6, 7]
    assert [u for u in range(1, 8) if cadence.checkpoints(u)] == [2, 3, 4, 6, 7]
    assert cadence.epoch(5) == 0.5
    assert Cadence.of(TrainingConfig(), [span(epochs=0.001, per_epoch=10)]).updates == 1


def test_stages_follow_each_other_and_each_ends_with_an_evaluation() -> None:
    clean = span(name="clean", epochs=2, per_epoch=5)
    noisy = Span.following(clean, name="noisy", epochs=None, updates=7, updates_per_epoch=20)
    cadence = Cadence.of(TrainingConfig(evaluate_every=4), [clean, noisy])
    assert (noisy.first, noisy.end, cadence.updates) == (10, 17, 17)
    assert [u for u in range(1, 18) if cadence.evaluates(u)] == [4, 8, 10, 12, 16, 17]
    assert [(u, found.name) for u in range(18) if (found := cadence.ended(u))] == [(10, "clean"), (17, "noisy")]
    assert [cadence.epoch(u) for u in (0, 5, 10, 17)] == [0, 1, 2, 2 + 7 / 20]
    assert Cadence.of(TrainingConfig(), [clean, noisy]).evaluate_every == 5


def test_the_end_of_a_stage_is_an_event(tmp_path: Path) -> None:
    clean = span(name="clean", updates=4, per_epoch=4)
    noisy = Span.following(clean, name="noisy", epochs=None, updates=8, updates_per_epoch=4)
    scene = Scene(tmp_path, spans=[clean, noisy], evaluate_every=100)
    scene.trainer.fit(StopFlag())
    stages = [event for event in scene.events if "stage" in event]
    assert [(e["event"], e["step"], e["stage"], e["wer"]) for e in stages] == [
        ("before-stages", 0, None, 1.0),
        ("stage-ended", 4, "clean", 0.96),
        ("stage-ended", 12, "noisy", 0.88),
    ]


def test_a_run_evaluates_checkpoints_and_logs_at_its_cadence(tmp_path: Path) -> None:
    scene = Scene(tmp_path, evaluate_every=4, checkpoint_every=3, keep_checkpoints=100)
    state = scene.trainer.fit(StopFlag())
    assert scene.evaluated == [0, 4, 8, 12]
    assert scene.store.steps() == [3, 4, 6, 8, 9, 12]
    assert [row["step"] for row in scene.metrics if "learning_rate" in row] == [3, 6, 9, 12]
    assert [row["val_wer"] for row in scene.metrics if "val_wer" in row] == [1.0, 0.96, 0.92, 0.88]
    assert {row["train_loss"] for row in scene.metrics if "train_loss" in row} == {2.0}
    assert [row["epoch"] for row in scene.metrics if "val_wer" in row] == [0.0, 1.0, 2.0, 3.0]
    assert (state.update, state.best_update, state.best_wer) == (12, 12, 0.88)
    assert scene.updater.weight == sum(range(12))
    assert scene.updater.rates == [scene.trainer.schedule.rate(u) for u in range(12)]
    assert [event["step"] for event in scene.events if event["event"] == "checkpoint"] == [3, 4, 6, 8, 9, 12]


def test_the_best_is_the_lowest_wer_and_the_earliest_of_equals(tmp_path: Path) -> None:
    scene = Scene(tmp_path, wers=[0.01, 0.5, 0.3, 0.4, 0.3, 0.6, 0.5], keep_checkpoints=1)
    state = scene.trainer.fit(StopFlag())
    # The model before training is no candidate, however well it scores.
    assert (state.best_update, state.best_wer, scene.store.best()) == (4, 0.3, 4)
    assert scene.store.steps() == [4, 12]
    assert scene.store.load(4).model["weight"].item() == 0 + 1 + 2 + 3


def test_a_model_trained_before_is_the_one_to_beat(tmp_path: Path) -> None:
    scene = Scene(tmp_path, wers=[0.2, 0.5, 0.3, 0.4, 0.3, 0.6, 0.5])
    state = scene.trainer.fit(StopFlag(), keep_initial=True)
    assert (state.best_update, scene.store.best()) == (0, 0)
    assert scene.store.load(0).model["weight"].item() == 0
    beaten = Scene(tmp_path / "other", wers=[0.2, 0.5, 0.1])
    assert beaten.trainer.fit(StopFlag(), keep_initial=True).best_update == 4


def test_training_stops_early_and_stays_stopped(tmp_path: Path) -> None:
    scene = Scene(tmp_path, wers=[1.0, 0.5, 0.3, 0.4, 0.3, 0.1], patience=2)
    state = scene.trainer.fit(StopFlag())
    assert (state.stopped_early, state.update, state.best_update) == (True, 8, 4)
    assert scene.evaluated == [0, 2, 4, 6, 8]
    again = Scene(tmp_path, patience=2)
    assert again.trainer.restore() == 8
    assert again.trainer.fit(StopFlag()).update == 8
    assert (again.evaluated, again.asked) == ([], [])


@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_an_interrupt_leaves_a_checkpoint_and_a_resume_ends_the_same(tmp_path: Path, checkpoint_every: int) -> None:
    whole = Scene(tmp_path / "whole", checkpoint_every=checkpoint_every)
    whole.trainer.fit(StopFlag())

    stop = StopFlag()

    def ask(update: int) -> None:
        stop.requested = update == 4

    first = Scene(tmp_path / "run", checkpoint_every=checkpoint_every, updater=ScriptedUpdater(after=ask))
    with pytest.raises(Interrupted, match="Stopped at update 5 of 12; a checkpoint is written") as caught:
        first.trainer.fit(stop)
    assert caught.value.exit_code == 130
    assert "--resume" in caught.value.hint
    assert first.store.steps()[-1] == 5
    assert [e["step"] for e in first.events if e["event"] == "checkpoint"].count(5) == 1

    second = Scene(tmp_path / "run", checkpoint_every=checkpoint_every)
    assert second.trainer.restore() == 5
    assert second.trainer.fit(StopFlag()) == whole.trainer.state
    assert second.asked == [(5, 12)]
    assert second.evaluated == [6, 8, 10, 12]
    assert second.updater.weight == whole.updater.weight
    assert second.updater.rates == whole.updater.rates[5:]


def test_an_interrupt_in_the_last_update_is_the_end(tmp_path: Path) -> None:
    stop = StopFlag()

    def ask(update: int) -> None:
        stop.requested = update == 11

    assert Scene(tmp_path, updater=ScriptedUpdater(after=ask)).trainer.fit(stop).update == 12


def test_skipped_updates_are_events_with_names(tmp_path: Path) -> None:
    scene = Scene(tmp_path, updater=ScriptedUpdater(bad=[3, 4, 7]), max_nonfinite_updates=3)
    state = scene.trainer.fit(StopFlag())
    skipped = [event for event in scene.events if event["event"] == "nonfinite-update-skipped"]
    assert [(event["step"], event["in_a_row"]) for event in skipped] == [(4, 1), (5, 2), (8, 1)]
    assert skipped[0]["utterances"] == ["u7", "u9"]
    assert (skipped[0]["loss"], skipped[0]["gradient_norm"]) == ("nan", "inf")
    assert (state.skipped_updates, state.nonfinite_in_a_row) == (3, 0)
    assert scene.updater.weight == sum(range(12)) - 3 - 4 - 7
    assert all(math.isfinite(row.get("train_loss", 0.0)) for row in scene.metrics)


def test_too_many_skipped_updates_end_the_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path, updater=ScriptedUpdater(bad=[3, 4, 5]), max_nonfinite_updates=3)
    with pytest.raises(RunFailed, match=r"3 updates in a row.*the last at update 6") as caught:
        scene.trainer.fit(StopFlag())
    assert "learning_rate" in caught.value.hint


def test_the_count_of_skipped_updates_survives_a_resume(tmp_path: Path) -> None:
    stop = StopFlag()

    def ask(update: int) -> None:
        stop.requested = update == 4

    first = Scene(tmp_path, updater=ScriptedUpdater(bad=[3, 4], after=ask), max_nonfinite_updates=3)
    with pytest.raises(Interrupted):
        first.trainer.fit(stop)
    second = Scene(tmp_path, updater=ScriptedUpdater(bad=[5]), max_nonfinite_updates=3)
    second.trainer.restore()
    with pytest.raises(RunFailed, match="3 updates in a row"):
        second.trainer.fit(StopFlag())


def test_nothing_to_restore_is_the_beginning(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert scene.trainer.restore() == 0
    scene.trainer.fit(StopFlag())
    assert scene.evaluated[0] == 0


def test_restore_puts_back_a_mark_that_a_kill_prevented(tmp_path: Path) -> None:
    scene = Scene(tmp_path, wers=[1.0, 0.5, 0.3], updates=4)
    scene.trainer.fit(StopFlag())
    scene.store.mark_best(2)  # as if the process had ended between checkpoint 4 and its mark
    again = Scene(tmp_path, updates=4)
    again.trainer.restore()
    assert again.store.best() == 4


def test_restore_refuses_other_data(tmp_path: Path) -> None:
    Scene(tmp_path).trainer.fit(StopFlag())
    with pytest.raises(InputError, match="not those the run began with"):
        Scene(tmp_path, data={"seed": 2}).trainer.restore()


def test_restore_refuses_updates_of_another_size(tmp_path: Path) -> None:
    Scene(tmp_path, data={"seed": 1, "accumulate": [2]}).trainer.fit(StopFlag())
    with pytest.raises(InputError, match="not those the run began with"):
        Scene(tmp_path, data={"seed": 1, "accumulate": [3]}).trainer.restore()
    assert Scene(tmp_path, data={"seed": 1, "accumulate": [2]}).trainer.restore() == 12


def test_restore_takes_checkpoints_that_do_not_say_how_large_updates_are(tmp_path: Path) -> None:
    Scene(tmp_path, data={"seed": 1}).trainer.fit(StopFlag())
    assert Scene(tmp_path, data={"seed": 1, "accumulate": [3]}).trainer.restore() == 12


def test_restore_passes_over_damage_and_refuses_when_nothing_is_whole(tmp_path: Path) -> None:
    Scene(tmp_path, keep_checkpoints=2).trainer.fit(StopFlag())
    (tmp_path / "step-000012" / "model.safetensors").write_bytes(b"")
    scene = Scene(tmp_path, keep_checkpoints=2)
    assert scene.trainer.restore() == 11
    assert [event["event"] for event in scene.events] == ["checkpoint-damaged"]
    assert scene.store.best() == 10  # what was best when checkpoint 11 was written
    for step in (10, 11):
        (tmp_path / f"step-{step:06d}" / "state.json").unlink()
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        Scene(tmp_path, keep_checkpoints=2).trainer.restore()
