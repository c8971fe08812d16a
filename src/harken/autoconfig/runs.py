"""Plans for training runs: what a recipe leaves open, decided from the labels and durations the run really has."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harken.autoconfig.dataset import DatasetProfile, profile_dataset
from harken.autoconfig.hardware import HardwareProfile, find_hardware
from harken.autoconfig.model import PlannedModel, TrainedParts, planned_model
from harken.autoconfig.plan import Plan, check_same, read_plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.autoconfig.recipe_blocks import bucket_settings, memory_settings
from harken.core import InputError
from harken.core.units import format_bytes
from harken.models.variants import Variant
from harken.training.planning import PlannedRun, PlanningRequest
from harken.training.recipe import Recipe

_PACKED_SHARE = 0.85  # of a window that packing fills, roughly
_OWN_SWITCHES = {"freeze_feature_encoder": "*.feature_extractor", "freeze_encoder": "model.encoder"}


def plan_training(request: PlanningRequest) -> PlannedRun:
    """The planner `auto`: see `harken.training.planning`."""
    file = request.choice.file
    plan = _made(request) if file is None else _from_file(Path(file), request)
    return PlannedRun(
        recipe=_filled_in(request.recipe, plan),
        verify=request.choice.verify,
        plan=plan.as_json(),
        lines=_lines(plan),
    )


def _made(request: PlanningRequest) -> Plan:
    recipe, choice = request.recipe, request.choice
    hardware = _hardware(request)
    settings = PlanSettings(
        target_batch_size=recipe.batches.update_samples or PlanSettings().target_batch_size,
        target_audio_s=recipe.batches.update_s,
        num_epochs=max(1, math.ceil(recipe.training.epochs or 1)),
        learning_rate=recipe.optimizer.learning_rate,
        safety_margin=choice.safety_margin,
        precision=recipe.training.precision,
        gradient_checkpointing=recipe.training.gradient_checkpointing or choice.gradient_checkpointing,
        buckets=recipe.batches.buckets,
        max_batch_size=recipe.batches.max_batch_size,
    )
    model = _model(request)
    laws = model.laws(
        hardware,
        utilisation=settings.utilisation,
        optimizer=recipe.optimizer,
        label_smoothing=recipe.model.label_smoothing,
        average=recipe.training.average_decay is not None,
    )
    return make_plan(hardware, _dataset(request), model.profile, laws, settings)


def _hardware(request: PlanningRequest) -> HardwareProfile:
    hardware = find_hardware("cpu" if request.recipe.training.device == "cpu" else "auto")
    if request.choice.memory is None:
        return hardware
    allowed = find_hardware(request.choice.memory)
    if allowed.source != "size":
        raise InputError(f"plan.memory is {request.choice.memory!r}.", hint="Give a size, such as 6GiB.")
    if allowed.memory_bytes > hardware.memory_bytes:
        raise InputError(
            f"plan.memory is {request.choice.memory}, but {hardware.name} has {format_bytes(hardware.memory_bytes)}.",
            hint="Give less, or leave it out.",
        )
    return replace(hardware, memory_bytes=allowed.memory_bytes)


def _model(request: PlanningRequest) -> PlannedModel:
    """The run's model. Durations are drawn out as far as augmentation may draw them, labels counted as they are."""
    recipe, settings = request.recipe, request.settings
    adapter = recipe.model.adapter
    freeze = recipe.model.freeze + tuple(name for key, name in _OWN_SWITCHES.items() if settings.get(key))
    keep = recipe.model.train_beside_adapter
    model = planned_model(
        Variant(
            name=recipe.model.pretrained or recipe.model.initial or request.family,
            hub_id=None,
            family=request.family,
            config=settings.get("config", settings),
            dimensions=request.dimensions,
        ),
        parts=TrainedParts(
            way="lora" if adapter is not None else "frozen-encoder" if freeze else "full",
            freeze=freeze,
            adapter=adapter,
            keep=keep,
            new_head=request.new_head,
        ),
        units=request.output_units,
    )
    frames = model.frames
    if frames.window is None:
        frames = replace(frames, per_s=frames.per_s / request.slowest)
    profile = replace(model.profile, tokens_per_character=1.0, prompt_tokens=0)
    return replace(model, frames=frames, profile=profile)


def _dataset(request: PlanningRequest) -> DatasetProfile:
    """The run's own utterances, with labels in the place of characters; windows, where these are packed."""
    durations_s, labels = list(request.durations_s), list(request.label_lengths)
    if request.packed and request.window_s is not None:
        windows = max(1, math.ceil(sum(durations_s) / (_PACKED_SHARE * request.window_s)))
        filled_s = min(request.window_s, sum(durations_s) / windows)
        durations_s, labels = [filled_s] * windows, [math.ceil(sum(labels) / windows * 2)] * windows
    profile = profile_dataset(durations_s)
    return replace(profile, source=request.recipe.data.train, characters=np.array(labels, dtype=np.int32))


def _filled_in(recipe: Recipe, plan: Plan) -> Recipe:
    plain = type(recipe.batches)()
    batches = replace(
        recipe.batches,
        **bucket_settings(plan),
        update_s=plan.target_audio_s,
        update_samples=None,
        buckets=plain.buckets,
        max_batch_size=plain.max_batch_size,
    )
    training = replace(recipe.training, **memory_settings(plan))
    return replace(recipe, plan=None, batches=batches, training=training)


def _from_file(path: Path, request: PlanningRequest) -> Plan:
    """A plan that was made before. Raises InputError for one that was made for another model or data set."""
    plan = read_plan(path)
    check_same(plan, _described(plan.model, request), profile_dataset(Path(request.recipe.data.train)).sha256)
    return plan


def _described(planned: Mapping[str, object], request: PlanningRequest) -> Mapping[str, object]:
    """The run's model as the file describes its own, which had no vocabulary yet."""
    model = _model(replace(request, output_units=int(str(planned["output_units"]))))
    return model.profile.as_json()


def _lines(plan: Plan) -> Sequence[str]:
    sizes = [row.batch_size for row in plan.buckets]
    saturated = sum(row.saturated for row in plan.buckets)
    return [
        f"plan for {plan.hardware['name']}: {len(sizes)} buckets of {min(sizes)} to {max(sizes)} utterances, "
        f"{plan.precision}, gradient checkpointing {'on' if plan.gradient_checkpointing else 'off'}",
        f"predicted peak {format_bytes(plan.peak_bytes)} of {format_bytes(plan.budget_bytes)} that may be used"
        + (f"; memory bounds {saturated} of the buckets" if saturated else ""),
    ]
