"""Planning from Python: one call from a data set and a model to settings, and the manager that can say more of them."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harken.autoconfig.allocation import Allocation, allocate_card
from harken.autoconfig.comparison import ComparedPlan, compare_plans
from harken.autoconfig.dataset import DatasetProfile, profile_dataset
from harken.autoconfig.dataset_huggingface import DURATION_COLUMNS, is_huggingface
from harken.autoconfig.dataset_subset import draw_subset
from harken.autoconfig.hardware import HardwareProfile, find_hardware
from harken.autoconfig.optimal_config import OptimalConfig
from harken.autoconfig.plan import Decision, Plan
from harken.autoconfig.plan_inputs import Models, PlanSettings, PrecisionName
from harken.autoconfig.planner import make_plan
from harken.autoconfig.presets import Preset, find_preset
from harken.autoconfig.recipe_blocks import planned_recipe
from harken.autoconfig.training_arguments import constant_batch_size
from harken.core import InputError, MissingPart, parse_settings

if TYPE_CHECKING:
    from harken.autoconfig.model import ModelProfile, PlannedModel, Way

SAMPLE_SEED = 42
"""Draws a preset's utterances, as the default seed of a recipe does."""

logger = logging.getLogger(__name__)


def create_optimal_config(
    dataset: object,
    model: object,
    *,
    gpu: str | HardwareProfile = "auto",
    way: "Way | None" = None,
    vocabulary_size: int | None = None,
    **settings: Any,
) -> tuple[OptimalConfig, "ASRConfigManager"]:
    """Settings for training `model` on `dataset`, and the manager that made them. Nothing is downloaded or trained.

    The parameters are those of `ASRConfigManager`. Every decision is logged at the level INFO.
    """
    manager = ASRConfigManager(dataset, model, gpu=gpu, way=way, vocabulary_size=vocabulary_size, **settings)
    return manager.config(), manager


class ASRConfigManager:
    """Plans the training of one model on one data set for one device, and compares with others."""

    def __init__(
        self,
        dataset: object,
        model: object,
        *,
        gpu: str | HardwareProfile = "auto",
        way: "Way | None" = None,
        vocabulary_size: int | None = None,
        **settings: Any,
    ) -> None:
        """`dataset` is the path of a manifest, a data set of Hugging Face (of a dictionary of splits `train` is taken),
        or a list of utterances, manifest lines or durations in seconds.

        `model` is the name of a known model, a hub id among them, a model folder, or a model in memory: one of
        transformers, with the parts that do not require gradients or peft's LoRA, or what Harken's loaders give. For
        a name or folder, `way` says what is trained: "full" (the default), "frozen-encoder" or "lora", and
        `vocabulary_size` how many units a new CTC vocabulary has.

        `gpu` is "auto" (this machine), "cpu", a card such as "t4", a size such as "24GiB", or a profile. `settings`
        are the fields of PlanSettings; a `preset` brings its number of epochs, and plans for its number of utterances.

        Raises InputError for what is unknown or out of range, MissingPart without torch or transformers.
        """
        preset = None if settings.get("preset") is None else find_preset(settings["preset"])
        if preset is not None:
            settings = {"num_epochs": preset.epochs, **settings}
        self.settings: PlanSettings = parse_settings(PlanSettings, settings, source="settings")
        self.hardware = _hardware(gpu)
        source = _training_split(dataset)
        self.length_column = _length_column(source)
        self._preset = preset
        self.dataset = _profile(source, preset)
        self.planned_model = _planned_model(model, way, vocabulary_size)
        self._laws: Models = self.planned_model.laws(self.hardware, utilisation=self.settings.utilisation)

    @property
    def model(self) -> "ModelProfile":
        """What a plan needs to know of the model."""
        return self.planned_model.profile

    def plan(self) -> Plan:
        """The plan, made once. Raises InputError where not even the shortest utterance fits."""
        return self._plan

    @cached_property
    def _plan(self) -> Plan:
        plan = make_plan(self.hardware, self.dataset, self.model, self._laws, self.settings)
        for decision in plan.decisions:
            logger.info("%s = %s: %s", decision.name, decision.value, decision.rule)
        return plan

    def config(self) -> OptimalConfig:
        """The plan in the hands of a script."""
        plan = self.plan()
        memory, _ = self._laws(cast("PrecisionName", plan.precision), plan.gradient_checkpointing)
        size = constant_batch_size(plan, memory, at_most=self.settings.max_batch_size)
        return OptimalConfig(plan, constant_batch_size=size, length_column=self.length_column)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Each value of the plan with the rule that decided it and the rule's inputs."""
        return self.plan().decisions

    def explain(self, name: str) -> str:
        """The decision about one value, a line each for value, rule and inputs. Raises InputError for other names."""
        return "\n".join(self.plan().explain(name))

    def compare(
        self,
        models: Sequence[object] | None = None,
        ways: Sequence["Way"] | None = None,
        gpus: Sequence[str | HardwareProfile] | None = None,
    ) -> list[ComparedPlan]:
        """Plans for models trained in several ways on several devices: what fits, and what it takes.

        By default the manager's model, all the ways there are, and the manager's device. `as_json` of an entry is the
        row of a table. What cannot be is an entry that says why; a name that is not known raises InputError.
        """
        from harken.autoconfig.model import WAYS, TrainedParts, planned_model

        hardware = [self.hardware] if gpus is None else [_hardware(gpu) for gpu in gpus]
        candidates = [self.planned_model] if models is None else [_planned_model(model, None, None) for model in models]
        rows: list[ComparedPlan] = []
        for model in candidates:
            for way in WAYS if ways is None else ways:
                try:
                    other = planned_model(model.variant, parts=TrainedParts(way=way), units=model.units)
                except InputError as err:  # a model without a place for LoRA
                    name, refusal = model.profile.name, str(err)
                    rows += [
                        ComparedPlan(model=name, way=way, hardware=device.name, plan=None, refusal=refusal)
                        for device in hardware
                    ]
                else:
                    rows += compare_plans(self.dataset, [other], hardware, self.settings)
        return rows

    def allocate(self, gpus: Sequence[str | HardwareProfile]) -> Allocation:
        """The smallest of these GPUs that takes the batches that the largest of them would, and why.

        Raises InputError where none is large enough.
        """
        return allocate_card([_hardware(gpu) for gpu in gpus], self.dataset, self.planned_model, self.settings)

    def recipe(self, *, train: str | Path, validation: str | Path, name: str = "planned") -> dict[str, Any]:
        """The plan as a recipe on these manifests, for `harken.Trainer` or as YAML.

        Raises InputError for a model in memory that was not loaded from a folder or the hub.
        """
        counts = {}
        if self._preset is not None:
            counts = {
                "train_samples": self._preset.train_samples,
                "validation_samples": self._preset.validation_samples,
            }
        return planned_recipe(
            self.plan(), self.planned_model, train=train, validation=validation, name=name, samples=counts
        )


def _hardware(gpu: str | HardwareProfile) -> HardwareProfile:
    return gpu if isinstance(gpu, HardwareProfile) else find_hardware(gpu)


def _training_split(dataset: Any) -> object:
    """The split `train` of a dictionary of splits that has one; anything else as it is."""
    has_splits = is_huggingface(dataset) and isinstance(dataset, Mapping)
    return dataset["train"] if has_splits and "train" in dataset else dataset


def _length_column(dataset: Any) -> str | None:
    if not (is_huggingface(dataset) and hasattr(dataset, "__len__")):
        return None
    return next((name for name in DURATION_COLUMNS if name in dataset.column_names), None)


def _profile(dataset: object, preset: Preset | None) -> DatasetProfile:
    profile = profile_dataset(dataset)
    if preset is None:
        return profile
    return draw_subset(profile, preset.split(profile.utterances)[0], seed=SAMPLE_SEED)


def _planned_model(model: object, way: "Way | None", vocabulary_size: int | None) -> "PlannedModel":
    try:
        from harken.autoconfig.live_model import planned_from
        from harken.autoconfig.model import WAYS, PlannedModel, TrainedParts, planned_model
    except ImportError as err:
        raise MissingPart(f"Planning needs torch and transformers: {err}.", hint="pip install 'harken[train]'") from err
    if way is not None and way not in WAYS:
        raise InputError(f"way is {way!r}.", hint=f"Use one of {', '.join(WAYS)}.")
    if isinstance(model, str | Path):
        return planned_model(model, parts=TrainedParts(way=way or "full"), units=vocabulary_size)
    if way is not None or vocabulary_size is not None:
        given = "way" if way is not None else "vocabulary_size"
        raise InputError(f"{given} is given, but the model in memory says that itself.", hint=f"Leave {given} out.")
    return model if isinstance(model, PlannedModel) else planned_from(model)
