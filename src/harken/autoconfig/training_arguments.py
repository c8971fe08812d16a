"""A plan as the TrainingArguments of transformers."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harken.autoconfig import rules
from harken.autoconfig.plan import Plan
from harken.autoconfig.plan_inputs import MemoryModel
from harken.core import InputError, MissingPart

# The first names are deprecated where there are the second, and warn.
_NEW_NAMES = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
TRAINER_EXTRA = 1.15
"""How much more memory a step of the Trainer may take than Harken's, which is what is predicted. Measured as live bytes
of tensors on a CPU: 0.99 for Whisper, 1.03 to 1.15 for wav2vec2, whose convolutions keep more in transformers."""

_SCHEDULED = ("eval_steps", "save_steps", "logging_steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """How updates are made of batches. `batch_size` is in utterances of one device, `per_epoch` in updates."""

    batch_size: int
    accumulate: int
    per_epoch: int


def constant_batch_size(plan: Plan, memory: MemoryModel, *, at_most: int) -> int:
    """The batch size for a loader whose batches all have the same, whichever utterances meet in one.

    The most rows, each as long as the longest utterance planned and with the longest labels, that fit the budget with
    room for what the Trainer takes beyond Harken's step; no more than make an update. Where one such batch is no
    update, gradients are accumulated, which takes memory too; 0 where not one row fits beside them.
    """
    longest_s, tokens = plan.buckets[-1].upper_edge_s, max(row.tokens for row in plan.buckets)
    update = max(1, min(at_most, round(plan.target_audio_s / _mean_s(plan))))

    def largest(accumulated: bool) -> int:
        return memory.largest_batch(
            int(plan.budget_bytes / TRAINER_EXTRA),
            duration_s=longest_s,
            tokens=tokens,
            accumulated=accumulated,
            at_most=update,
        )

    alone = largest(False)
    return alone if alone and _accumulate(plan, alone) == 1 else largest(True)


def training_arguments(
    plan: Plan,
    output_dir: Path | str,
    *,
    batch_size: int,
    bucketed: bool = False,
    length_column: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Any:
    """TrainingArguments for a CTC model, Seq2SeqTrainingArguments for an encoder-decoder.

    Batches all hold `batch_size` utterances, and as many are accumulated as hold the update's audio. `bucketed` says
    that the loader takes `planned_batch_sampler`: batch size and accumulation are then the plan's own. `length_column`
    is the column of the Trainer's data sets by which utterances of similar length are put together, which needs
    `remove_unused_columns=False`. `overrides` are fields that take the place of
    the plan's; what follows from a batch size is computed for the one given. Optimiser and schedule are Harken's: AdamW
    with clipping, a warm-up over a tenth of the updates, then a cosine.

    Raises InputError for fields that do not exist or fit, MissingPart without transformers or accelerate.
    """
    kind = _class_for(plan)
    known = [item.name for item in fields(kind) if item.init]
    chosen = _checked(dict(overrides or {}), known, kind.__name__)
    updates = _updates(plan, batch_size=batch_size, bucketed=bucketed, overrides=chosen)
    values = {
        **_from_plan(plan, updates),
        **_checkpointing(plan, known),
        **_sampling(plan, known, None if bucketed else length_column),
        **_optimisation(plan),
        **chosen,
    }
    try:
        return kind(output_dir=str(output_dir), **values)
    except ImportError as err:
        raise MissingPart(f"The Trainer of transformers lacks a package: {err}", hint="pip install accelerate") from err
    except (TypeError, ValueError) as err:
        raise InputError(
            f"{kind.__name__} refuses the settings: {err}", hint="Change the overrides, or plan for this machine."
        ) from err


def _class_for(plan: Plan) -> Any:
    try:
        import transformers
    except ImportError as err:
        raise MissingPart("TrainingArguments need transformers.", hint="pip install 'harken[train]'") from err
    seq2seq = plan.model["longest_tokens"] is not None
    return transformers.Seq2SeqTrainingArguments if seq2seq else transformers.TrainingArguments


def _checked(overrides: dict[str, Any], known: list[str], kind: str) -> dict[str, Any]:
    """The overrides under their newest names. Raises InputError for a field that does not exist."""
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "See the documentation of transformers."
            raise InputError(f"{kind} has no field {name!r}.", hint=hint)
    return {_newest(name, known): value for name, value in overrides.items()}


def _newest(name: str, known: list[str]) -> str:
    new = _NEW_NAMES.get(name)
    return new if new in known else name


def _mean_s(plan: Plan) -> float:
    return plan.update_audio_s * plan.updates_per_epoch / sum(row.utterances for row in plan.buckets)


def _accumulate(plan: Plan, batch_size: int) -> int:
    """Batches whose audio comes nearest to the update's."""
    return max(1, round(plan.target_audio_s / (batch_size * _mean_s(plan))))


def _updates(plan: Plan, *, batch_size: int, bucketed: bool, overrides: Mapping[str, Any]) -> Updates:
    utterances = sum(row.utterances for row in plan.buckets)
    if bucketed:
        size, accumulate = plan.per_device_train_batch_size, plan.gradient_accumulation_steps
        steps = plan.updates_per_epoch * accumulate
    else:
        size = overrides.get("per_device_train_batch_size", batch_size)
        if size < 1:
            raise InputError(
                f"Not one utterance of {plan.buckets[-1].upper_edge_s:g} s fits beside accumulated gradients.",
                hint="Leave the longest out (max_audio_duration_s), or pass bucketed=True.",
            )
        accumulate = _accumulate(plan, size)
        steps = math.ceil(utterances / size)
    accumulate = overrides.get("gradient_accumulation_steps", accumulate)
    return Updates(batch_size=size, accumulate=accumulate, per_epoch=math.ceil(steps / accumulate))


def _from_plan(plan: Plan, updates: Updates) -> dict[str, Any]:
    from harken.training.recipe import TrainingConfig

    values = {
        "per_device_train_batch_size": updates.batch_size,
        "gradient_accumulation_steps": updates.accumulate,
        "per_device_eval_batch_size": plan.evaluation_batch_size,
        "eval_accumulation_steps": 1,  # scores leave the device after every batch, not after the last
        "fp16": plan.fp16,
        "bf16": plan.bf16,
        "use_cpu": plan.hardware["device"] == "cpu",
        "dataloader_num_workers": plan.dataloader_num_workers,
        "num_train_epochs": plan.num_epochs,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "logging_strategy": "steps",
        "save_total_limit": TrainingConfig(epochs=1).keep_checkpoints,
        **{item.name: item.value for item in rules.schedule(updates.per_epoch) if item.name in _SCHEDULED},
    }
    if plan.model["longest_tokens"] is not None:
        values["predict_with_generate"] = True  # metrics are about text; without compute_metrics it does nothing
    return values


def _checkpointing(plan: Plan, known: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {_newest("gradient_checkpointing", known): plan.gradient_checkpointing}
    if plan.gradient_checkpointing:
        values[_newest("gradient_checkpointing_kwargs", known)] = {"use_reentrant": False}
    return values


def _sampling(plan: Plan, known: list[str], length_column: str | None) -> dict[str, Any]:
    """Utterances of similar length together, where the model does not pad all to one window."""
    if length_column is None or plan.model["window_s"] is not None:
        return {}
    new = "train_sampling_strategy" in known
    grouped = {"train_sampling_strategy": "group_by_length"} if new else {"group_by_length": True}
    # The Trainer drops columns that the model does not take before it looks for the lengths.
    return {**grouped, "length_column_name": length_column, "remove_unused_columns": False}


def _optimisation(plan: Plan) -> dict[str, Any]:
    from harken.training.recipe import OptimizerConfig, ScheduleConfig

    optimizer, schedule = OptimizerConfig(), ScheduleConfig()
    return {
        "optim": "adamw_torch",
        "learning_rate": plan.learning_rate,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.clip_norm,
        "warmup_steps": schedule.warmup_share,  # below 1 it is a share of all updates
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr": min(schedule.final_learning_rate, plan.learning_rate)},
    }
