"""A plan as the recipe of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.autoconfig.plan import Plan
from harken.core import InputError, dump_settings, parse_settings

if TYPE_CHECKING:
    from harken.autoconfig.model import PlannedModel


def planned_recipe(
    plan: Plan,
    model: "PlannedModel",
    *,
    train: str | Path,
    validation: str | Path,
    name: str = "planned",
    samples: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The recipe's blocks that the plan decides, with these manifests; everything else keeps its default.

    `samples` are `train_samples` and `validation_samples` of the data block. Raises InputError for a model without a
    folder or hub id to start from.
    """
    from harken.training.recipe import Recipe

    recipe = {
        "name": name,
        "data": {
            "train": str(train),
            "validation": str(validation),
            "max_duration_s": plan.max_audio_duration_seconds,
            **(samples or {}),
        },
        "model": _model_block(model),
        "batches": {**bucket_settings(plan), "accumulate": plan.gradient_accumulation_steps},
        "optimizer": {"learning_rate": plan.learning_rate},
        "training": {
            "epochs": plan.num_epochs,
            "device": "cpu" if plan.hardware["device"] == "cpu" else "auto",
            **memory_settings(plan),
            "workers": plan.dataloader_num_workers,
            "evaluate_every": plan.eval_steps,
            "checkpoint_every": plan.save_steps,
            "log_every": plan.logging_steps,
        },
    }
    parse_settings(Recipe, recipe, source="the planned recipe")
    return recipe


def bucket_settings(plan: Plan) -> dict[str, Any]:
    """Of a recipe's `batches`: the planned buckets."""
    return {
        "edges_s": tuple(row.upper_edge_s for row in plan.buckets),
        "batch_sizes": tuple(row.batch_size for row in plan.buckets),
    }


def memory_settings(plan: Plan) -> dict[str, Any]:
    """Of a recipe's `training`: what the predicted memory rests on."""
    return {
        "precision": plan.precision,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "validation_batch_s": plan.evaluation_batch_size * plan.buckets[-1].upper_edge_s,
    }


def _model_block(model: "PlannedModel") -> dict[str, Any]:
    from harken.models.overview import DESCRIPTION
    from harken.models.variants import NEMO

    variant, parts = model.variant, model.parts
    source = variant.hub_id or variant.name
    if Path(source).is_dir():
        ours = (Path(source) / DESCRIPTION).is_file()
        block: dict[str, Any] = {"initial" if ours else "pretrained": str(Path(source).resolve())}
    elif "/" in source and variant.family != NEMO:  # whose files are imported first
        block = {"pretrained": source}
    else:
        raise InputError(
            f"A run has to start from a folder or hub id, and {source} has none.",
            hint="Save the model (save_pretrained), and plan for that folder.",
        )
    if parts.freeze:
        block["freeze"] = list(parts.freeze)
    if parts.adapter is not None:
        block["adapter"] = dump_settings(parts.adapter)
        if parts.keep:
            block["train_beside_adapter"] = list(parts.keep)
    return block
