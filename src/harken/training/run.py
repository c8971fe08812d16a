"""A training run from start to model folder: what `harken train` calls."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harken.core import InputError, MetricSink, Tokenizer, dump_settings, load_yaml, parse_settings
from harken.core.files import fsync_folder, write_json, write_text
from harken.core.machine import usable_cores
from harken.core.units import seconds_to_samples
from harken.inference.torch_engine import pick_device
from harken.models.adapters import check_adapter_effect, trainable_report
from harken.models.family import AcousticModel, count_parameters
from harken.text.tokenize import load_tokenizer
from harken.tracking.run import RunFolder, read_events, read_metrics
from harken.training.allocator import freed_memory_kept, grow_segments
from harken.training.assembly import Assembler, DataParts, tokenizer_folder
from harken.training.bucket_shapes import bucket_shapes
from harken.training.checkpoint import CheckpointStore
from harken.training.ema import WeightAverage
from harken.training.interrupt import StopFlag, graceful_interrupt
from harken.training.loop import ACCUMULATE, Cadence, Interrupted, Span, TrainingLoop, TrainingState
from harken.training.manifests import manifest_hashes
from harken.training.memory import MemoryWatch
from harken.training.meter import memory_meter
from harken.training.numerics import reproducible_numerics
from harken.training.objective import Objective, make_objective
from harken.training.optimization import Schedule, build_optimizer
from harken.training.picture import History, draw_history, history_of
from harken.training.precision import choose_precision
from harken.training.prediction import PLAN, predicted_peaks
from harken.training.preparation import Rejection, count_reasons
from harken.training.progress import ProgressView, SilentView
from harken.training.recipe import Recipe
from harken.training.result import write_result
from harken.training.stages import batches_of, identity_of
from harken.training.starting_point import ModelParts
from harken.training.update import Updater, pieces
from harken.training.validation import validate
from harken.training.verification import verify_buckets

logger = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
EXAMPLES_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What a finished run leaves. Error rates are fractions; `cpu_s` counts all threads, of this process's life."""

    folder: Path
    model_folder: Path
    state: TrainingState
    history: History
    cpu_s: float
    wall_s: float
    data_wait_share: float
    rejected: dict[str, int]


def train(
    recipe: Recipe,
    folder: Path,
    *,
    run_id: str | None = None,
    view: ProgressView | None = None,
    sinks: Callable[[RunFolder, Recipe], Sequence[MetricSink]] | None = None,
    provenance: Callable[[Recipe, Path], dict[str, Any]] | None = None,
) -> TrainingOutcome:
    """Run a recipe in a new run folder. `run_id` is the folder's name unless given; trackers tell runs apart by it.

    Raises InputError for data or settings that cannot work, before the first update; Interrupted after Ctrl-C;
    RunFailed when memory, disk or numbers give out. What was done by then can be resumed.
    """
    recipe = replace(recipe, training=replace(recipe.training, threads=recipe.training.threads or usable_cores()))
    manifests = manifest_hashes(recipe)  # what is absent is found before there is a folder
    assembler = Assembler(recipe)
    settings = dump_settings(recipe)
    run = RunFolder.create(folder, name=recipe.name, kind="training", settings=settings, run_id=run_id)
    with run:
        write_text(folder / RECIPE, _yaml(settings))
        facts = provenance(recipe, folder) if provenance else {}
        run.update(provenance=facts | {"manifests": manifests})
        return _Life(run, recipe, assembler, view or SilentView()).live(sinks, resume=False)


def resume(
    folder: Path,
    *,
    view: ProgressView | None = None,
    sinks: Callable[[RunFolder, Recipe], Sequence[MetricSink]] | None = None,
) -> TrainingOutcome:
    """Go on with the run in `folder` from its newest whole checkpoint.

    Raises InputError when the folder is no run, when its manifests have changed, or when every checkpoint is damaged.
    """
    with RunFolder.open(folder) as run:
        recipe = _saved_recipe(run)
        _require_same_manifests(run, recipe)
        return _Life(run, recipe, Assembler(recipe), view or SilentView()).live(sinks, resume=True)


def plan_run(recipe: Recipe) -> dict[str, Any]:
    """What a run of this recipe would do, everything checked that can be without training. Writes nothing."""
    assembler = Assembler(recipe)
    parts, data = assembler.assemble(None)
    recipe = assembler.recipe
    cadence = Cadence.of(recipe.training, data.spans)
    schedule = Schedule(recipe.schedule, peak=recipe.optimizer.learning_rate, updates=cadence.updates)
    device = pick_device(recipe.training.device)
    first = data.stages[0]
    return {
        "train_utterances": len(data.train.utterances),
        "train_s": round(data.train.duration_s, 1),
        "validation_utterances": len(data.validation.utterances),
        "validation_s": round(data.validation.duration_s, 1),
        "rejected": count_reasons([*data.train.rejected, *data.validation.rejected]),
        "family": parts.family,
        "parameters": count_parameters(parts.model),
        "trained_parameters": count_parameters(parts.model, trainable_only=True),
        "output_units": parts.tokenizer.vocab_size,
        "device": str(device),
        "precision": choose_precision(recipe.training.precision, device).name,
        "updates": cadence.updates,
        "stages": [
            {
                "name": stage.span.name,
                "utterances": stage.sampler.utterances,
                "updates": stage.span.updates,
                "updates_per_epoch": stage.span.updates_per_epoch,
            }
            for stage in data.stages
        ],
        "batches_per_update": first.accumulate,
        "warmup_updates": schedule.warmup,
        "evaluate_every": cadence.evaluate_every,
        "buckets": [
            {"upper_edge_s": edge, "batch_size": size}
            for edge, size in zip(first.plan.edges_s, first.plan.batch_sizes, strict=True)
        ],
        "padding_share": round(data.padding_share, 4),
    }


def _stage_line(span: Span) -> str:
    name = f"stage {span.name}: {span.updates} updates, " if span.name else ""
    return f"{name}{span.updates_per_epoch:g} updates per epoch"


def _saved_recipe(run: RunFolder) -> Recipe:
    """The recipe of a run: recipe.yaml, or run.json's copy where the run was killed before that was written."""
    path = run.path / RECIPE
    if not path.exists():
        write_text(path, _yaml(run.record["settings"]))
    return parse_settings(Recipe, load_yaml(path), source=str(path))


def _require_same_manifests(run: RunFolder, recipe: Recipe) -> None:
    now = manifest_hashes(recipe)
    provenance = run.record["provenance"]
    recorded = provenance.get("manifests")
    if recorded is None:  # killed before they were recorded, and so before anything was learnt from them
        run.update(provenance=provenance | {"manifests": now})
        return
    for name, was in recorded.items():
        if now[name]["sha256"] != was["sha256"]:
            raise InputError(
                f"{was['path']} has changed since the run began.",
                hint="Restore it, or start a new run: a resumed run has to see the same data.",
            )


class _Life:
    """One process's share of a run, from opening the folder to closing it."""

    def __init__(self, run: RunFolder, recipe: Recipe, assembler: Assembler, view: ProgressView) -> None:
        self.run = run
        self.recipe = recipe
        self.assembler = assembler
        self.view = view
        self.sinks: Sequence[MetricSink] = ()
        self.rejected: list[Rejection] = []

    def live(
        self, sinks: Callable[[RunFolder, Recipe], Sequence[MetricSink]] | None, *, resume: bool
    ) -> TrainingOutcome:
        with ExitStack() as stack:
            stack.enter_context(self.run.capture_log())
            stop = stack.enter_context(graceful_interrupt())
            stack.enter_context(reproducible_numerics(self.recipe.training))
            stack.enter_context(freed_memory_kept())
            grow_segments()
            if sinks is not None:
                self.sinks = sinks(self.run, self.recipe)
            status = "failed"
            try:
                outcome = self._work(stop, resume=resume)
                status = "finished"
            except Interrupted as err:
                status = "interrupted"
                self.run.update(status="interrupted", error=str(err))
                raise
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                for sink in self.sinks:
                    sink.finish(status)
        return outcome

    def _work(self, stop: StopFlag, *, resume: bool) -> TrainingOutcome:
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        parts, data = self._prepare()
        trainer = self._trainer(parts, data)
        if resume:
            step = trainer.restore()
            self.run.resumed(step)
            self.view.say(f"resumed at update {step} of {trainer.cadence.updates}")
        self._verify_plan(trainer.updater, data)
        state = trainer.fit(stop, keep_initial=parts.trained_before)
        training_s = max(1e-9, time.monotonic() - started_s)
        write_result(self.run, self.recipe, self.assembler, parts, data, trainer.store)
        history = history_of(read_metrics(self.run.path), read_events(self.run.path))
        draw_history(history, self.run.path / "training.png", title=self.recipe.name)
        for sink in self.sinks:
            sink.artifact(self.run.path / "training.png")
            sink.artifact(self.run.path / RECIPE)
        outcome = TrainingOutcome(
            folder=self.run.path,
            model_folder=self.run.path / "model",
            state=state,
            history=history,
            cpu_s=time.process_time() - started_cpu_s,
            wall_s=time.monotonic() - started_s,
            data_wait_share=trainer.wait_s / training_s,
            rejected=count_reasons(self.rejected),
        )
        self.run.update(
            result={
                "updates": state.update,
                "best_update": state.best_update,
                "best_wer": state.best_wer,
                "stopped_early": state.stopped_early,
                "skipped_updates": state.skipped_updates,
                "cpu_s": round(outcome.cpu_s, 2),
                "wall_s": round(outcome.wall_s, 2),
                "data_wait_share": round(outcome.data_wait_share, 4),
            }
        )
        return outcome

    def _prepare(self) -> tuple[ModelParts, DataParts]:
        folder = tokenizer_folder(self.run.path)
        saved = load_tokenizer(folder) if folder.is_dir() else None
        parts, data = self.assembler.assemble(saved)
        self._keep_plan()
        if saved is None:
            _save_whole(parts.tokenizer, folder)
        self._report_rejections("train", data.train.rejected)
        self._report_rejections("validation", data.validation.rejected)
        self.rejected = [*data.train.rejected, *data.validation.rejected]
        self.view.say(
            f"{len(data.train.utterances)} utterances ({data.train.duration_s / 60:.1f} min) to train on, "
            f"{len(data.validation.utterances)} ({data.validation.duration_s / 60:.1f} min) to validate with; "
            f"{count_parameters(parts.model):,} parameters, {', '.join(_stage_line(span) for span in data.spans)}"
        )
        return parts, data

    def _keep_plan(self) -> None:
        """Record the plan, and the recipe with it: a resume does not plan again."""
        planned = self.assembler.planned
        if planned is None:
            return
        self.recipe = planned.recipe
        write_json(self.run.path / PLAN, planned.plan)
        settings = dump_settings(self.recipe)
        write_text(self.run.path / RECIPE, _yaml(settings))
        self.run.update(settings=settings)
        self.run.log_event("planned", buckets=len(self.recipe.batches.edges_s))
        for line in planned.lines:
            self.view.say(line)

    def _verify_plan(self, updater: Updater, data: DataParts) -> None:
        """Take a real step of every bucket of a plan that was just made: on a GPU, and elsewhere where it is wanted."""
        planned, stage = self.assembler.planned, data.stages[0]
        on_gpu = updater.precision.device.type == "cuda"
        if planned is None or not (on_gpu if planned.verify is None else planned.verify):
            return
        extractor, rate_hz = self.assembler.extractor, self.assembler.features.sample_rate_hz

        def frames_of(seconds: float) -> int:
            return extractor.frame_count(seconds_to_samples(seconds, sample_rate_hz=rate_hz))

        with closing(data.validation_set.batches()) as batches:
            validation = next(batches)
        verification = verify_buckets(
            updater,
            bucket_shapes(stage.plan, planned.plan["buckets"], frames_of),
            dimensions=self.assembler.features.dimensions,
            budget_bytes=planned.plan["budget_bytes"],
            accumulated=stage.accumulate > 1,
            log_event=self.run.log_event,
            validation=validation,
        )
        self.view.say(str(verification))

    def _trainer(self, parts: ModelParts, data: DataParts) -> TrainingLoop:
        recipe = self.recipe
        device = pick_device(recipe.training.device)
        model = parts.model.to(device)
        objective = make_objective(
            model,
            data.labeller,
            precision=choose_precision(recipe.training.precision, device),
            smoothing=recipe.model.label_smoothing,
        )
        if parts.adapter is not None:
            self._check_adapter(parts.adapter.name, model, objective, data)
        decay = recipe.training.average_decay
        cadence = Cadence.of(recipe.training, data.spans)
        schedule = Schedule(recipe.schedule, peak=recipe.optimizer.learning_rate, updates=cadence.updates)
        meter = memory_meter(device, budget_gib=recipe.training.memory_budget_gib)
        updater = Updater(
            model=model,
            objective=objective,
            optimizer=build_optimizer(model, recipe.optimizer),
            precision=objective.precision,
            seed=recipe.seed,
            clip_norm=recipe.optimizer.clip_norm,
            oom_retries=recipe.training.oom_retries,
            on_event=self.run.log_event,
            average=None if decay is None else WeightAverage(model, decay),
            meter=meter,
            predicted=predicted_peaks(self.run.path, data.stages[0].plan.edges_s),
        )
        watch = MemoryWatch(
            device,
            warn_share=recipe.training.memory_warn_share,
            act_share=recipe.training.memory_act_share,
            on_event=self.run.log_event,
            release=data.cache.release,
            meter=meter,
        )
        return TrainingLoop(
            updater=updater,
            schedule=schedule,
            cadence=cadence,
            config=recipe.training,
            batches=lambda first, last: batches_of(data.stages, first, last),
            validate=lambda: validate(model, objective, data.validation_set, device=device),
            store=CheckpointStore(self.run.path / "checkpoints", keep=recipe.training.keep_checkpoints),
            watch=watch,
            log_metrics=self._log_metrics,
            log_event=self.run.log_event,
            view=self.view,
            data=identity_of(data.stages) | {ACCUMULATE: [stage.accumulate for stage in data.stages]},
        )

    def _check_adapter(self, name: str, model: AcousticModel, objective: Objective, data: DataParts) -> None:
        """Refuse to train an adapter that the loss does not depend on; say what is trained."""
        batch = next(pieces(data.stages[0].loader.load(0), 1))
        tensors = [torch.from_numpy(array).to(objective.precision.device) for array in batch.tensors]
        effect = check_adapter_effect(model, name, lambda: objective.losses(*tensors))
        report = trainable_report(model)
        self.run.log_event(
            "adapter", name=name, trainable=report.trainable, total=report.total, effect_on_loss=round(effect, 6)
        )
        self.view.say(f"adapter {name}: {report}")

    def _log_metrics(self, step: int, epoch: float, **numbers: float) -> None:
        self.run.log_metrics(step, epoch, **numbers)
        for sink in self.sinks:
            sink.log({"epoch": epoch, **numbers}, step)

    def _report_rejections(self, name: str, rejected: Sequence[Rejection]) -> None:
        """Every rejection into rejected-<name>.jsonl, the counts with some names into the events and the log."""
        if not rejected:
            return
        lines = [json.dumps(dump_settings(item), ensure_ascii=False) + "\n" for item in rejected]
        write_text(self.run.path / f"rejected-{name}.jsonl", "".join(lines))
        for reason, count in count_reasons(rejected).items():
            examples = [item.id for item in rejected if item.reason == reason][:EXAMPLES_NAMED]
            self.run.log_event("rejected", set=name, reason=reason, count=count, examples=examples)
            self.view.say(
                f"{count} {name} utterances left out: {reason} ({', '.join(examples[:3])}{' ...' * (count > 3)})"
            )


def _save_whole(tokenizer: Tokenizer, folder: Path) -> None:
    """Save a tokenizer with all its files or none, so that a resume never meets half of one."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    tokenizer.save(temporary)
    temporary.rename(folder)
    fsync_folder(folder.parent)


def _yaml(settings: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
