"""Recipes: everything that decides a training run, as YAML and as checked values.

Paths in a recipe are relative to the recipe's folder. Every default is the dataclass field's; the command line, YAML
and the docs read it from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harken.audio.augment import AugmentConfig
from harken.audio.features import FeatureConfig
from harken.core import InputError, Strict, apply_overrides, load_yaml, parse_settings
from harken.data.select import SelectConfig
from harken.models.adapters.config import AdapterConfig
from harken.text.normalize import profile_names
from harken.text.tokenize import TokenizerConfig
from harken.training.batch_config import BatchConfig
from harken.training.plan_config import PlanConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(Strict):
    train: str  # manifest
    validation: str  # manifest
    test: str | None = None  # manifest; the report is about it, or else about validation
    normalizer: str = "basic"  # text profile for labels and for scoring
    train_samples: int | None = None  # use at most this many utterances, drawn by the seed
    validation_samples: int | None = None
    min_duration_s: float = 0.1
    max_duration_s: float = 60.0
    check_audio: Literal["decode", "probe"] = "decode"  # before step 1: decode every file, or only read headers

    def __post_init__(self) -> None:
        if self.normalizer not in profile_names():
            raise ValueError(f"normalizer is {self.normalizer!r}; use one of {', '.join(profile_names())}")
        for name in ("train_samples", "validation_samples"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}; use 1 or more, or leave it out")
        if not 0 <= self.min_duration_s < self.max_duration_s:
            raise ValueError(
                f"min_duration_s is {self.min_duration_s} and max_duration_s {self.max_duration_s}; "
                "use 0 <= min_duration_s < max_duration_s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Strict):
    family: str = "conformer-ctc"
    settings: dict[str, Any] = field(default_factory=dict)  # the family's own settings
    initial: str | None = None  # model folder to start from; its tokenizer and features are used
    pretrained: str | None = None  # folder or hub id of a transformers model to start from; it decides the family
    # Units from the training texts, or those the model has. None: new for a pretrained CTC model, else its own.
    vocabulary: Literal["new", "own"] | None = None
    freeze: tuple[str, ...] = ()  # modules, or patterns of their names, that are not trained, such as layers.0
    adapter: AdapterConfig | None = None  # train this alone, the model it is put on stays as it is
    train_beside_adapter: tuple[str, ...] = ()  # modules that are trained too; a new output layer is in any case
    merge_adapter: bool = True  # a LoRA adapter becomes part of the weights in the end; false keeps it apart
    label_smoothing: float = 0.0  # weight of the distance to uniform output

    def __post_init__(self) -> None:
        if self.initial is not None and self.pretrained is not None:
            raise ValueError("initial and pretrained are both given; keep one")
        trained = self.initial is not None or self.pretrained is not None
        if self.vocabulary is not None and not trained:
            raise ValueError(
                f"vocabulary is {self.vocabulary}, but there is no model that has one; name a pretrained or an initial "
                "model, or leave vocabulary out"
            )
        if self.adapter is not None and not trained:
            raise ValueError("adapter is given, but no model to put it on; name a pretrained or an initial model")
        if self.freeze and not trained:
            raise ValueError("freeze would keep weights that nobody trained; name a pretrained or an initial model")
        if self.freeze and self.adapter is not None:
            raise ValueError("freeze does nothing beside an adapter, which freezes its whole base; leave it out")
        if self.adapter is None and (self.train_beside_adapter or not self.merge_adapter):
            raise ValueError("train_beside_adapter and merge_adapter do nothing without an adapter; leave them out")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; use a share from 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2SeqConfig(Strict):
    """Of encoder-decoder models (Whisper): what a window of theirs holds, and what stands around its text."""

    # padded: an utterance for each window. packed: several of one language, joined end to end; far less padding.
    window: Literal["padded", "packed"] = "padded"
    language: str | None = None  # token of all utterances; None takes the language of each
    languages: dict[str, str] = field(default_factory=dict)  # a manifest's language to a token, such as mixed: uz
    task: Literal["transcribe", "translate"] = "transcribe"
    timestamps_share: float = 0.0  # windows that are learnt with the times of their utterances

    def __post_init__(self) -> None:
        if self.language is not None and self.languages:
            raise ValueError("language and languages are both given; keep one")
        if not 0 <= self.timestamps_share <= 1:
            raise ValueError(f"timestamps_share is {self.timestamps_share}; use a share from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig(Strict):
    name: Literal["adamw", "adafactor"] = "adamw"
    learning_rate: float = 3e-4  # the peak, reached after warm-up
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    weight_decay: float = 0.01  # matrices only, not biases and normalisations
    clip_norm: float = 1.0  # largest 2-norm of an update's gradient

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; use a rate above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}; use two numbers from 0 to below 1")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; use 0 or more")
        if self.clip_norm <= 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; use a norm above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig(Strict):
    """Linear warm-up, then a cosine to the final rate."""

    warmup_share: float = 0.1  # of all updates
    warmup_updates: int | None = None  # takes the place of the share
    final_learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share is {self.warmup_share}; use a share from 0 to below 1")
        if self.warmup_updates is not None and self.warmup_updates < 0:
            raise ValueError(f"warmup_updates is {self.warmup_updates}; use 0 or more")
        if self.final_learning_rate < 0:
            raise ValueError(f"final_learning_rate is {self.final_learning_rate}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Strict):
    epochs: float | None = None  # passes over the training set
    updates: int | None = None  # takes the place of epochs
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False  # compute layers again in the backward pass: less memory, more time
    threads: int | None = None  # CPU threads of PyTorch; None means every core
    workers: int = 1  # threads that prepare batches
    cache_gib: float | None = None  # bound of the audio cache; None takes half of the free memory, at most 10 GB
    evaluate_every: int | None = None  # updates; None means after every epoch
    validation_batch_s: float | None = None  # seconds, padding included; None means assembly.VALIDATION_BATCH_S
    checkpoint_every: int | None = None  # updates; None means at every evaluation
    log_every: int = 10  # updates
    keep_checkpoints: int = 3  # besides the best
    patience: int | None = None  # evaluations without a better WER before stopping early
    average_decay: float | None = None  # evaluate an exponential moving average of the weights, such as 0.999
    spec_augment_from_epoch: int = 0  # CTC leaves its plateau sooner without SpecAugment
    max_nonfinite_updates: int = 10  # in a row, before the run gives up
    oom_retries: int = 3  # per update
    memory_budget_gib: float | None = None  # what a step may take of the device's memory; None means all of a GPU's
    memory_warn_share: float = 0.90
    memory_act_share: float = 0.95

    def __post_init__(self) -> None:
        if self.epochs is not None and self.updates is not None:
            raise ValueError("epochs and updates are both given; keep one")
        for name in (
            "epochs", "updates", "threads", "evaluate_every", "validation_batch_s", "checkpoint_every", "log_every",
            "patience", "memory_budget_gib",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; use a number above 0")
        for name in ("workers", "keep_checkpoints", "spec_augment_from_epoch", "oom_retries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or more")
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints is {self.keep_checkpoints}; use 1 or more, the last one is needed")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise ValueError(f"average_decay is {self.average_decay}; use a number between 0 and 1, such as 0.999")
        if self.max_nonfinite_updates < 1:
            raise ValueError(f"max_nonfinite_updates is {self.max_nonfinite_updates}; use 1 or more")
        if not 0 < self.memory_warn_share <= self.memory_act_share <= 1:
            raise ValueError(
                f"memory_warn_share is {self.memory_warn_share} and memory_act_share {self.memory_act_share}; "
                "use shares with 0 < warn <= act <= 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig(Strict):
    sinks: tuple[str, ...] = ()  # such as mlflow, tensorboard, wandb
    experiment: str = "harken"  # of MLflow; the project of W&B
    tracking_uri: str | None = None  # an MLflow server or database; None is a file in Harken's home

    def __post_init__(self) -> None:
        if self.tracking_uri is not None and "mlflow" not in self.sinks:
            raise ValueError(f"tracking_uri is {self.tracking_uri!r}, but sinks has no mlflow; add it, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig(Strict):
    """One stage of a curriculum: which of the training utterances, for how long, and augmented how.

    `augmentation` takes the place of the recipe's; `augment: false` leaves it out.
    """

    name: str
    epochs: float | None = None  # passes over the stage's own utterances
    updates: int | None = None  # takes the place of epochs
    select: SelectConfig = field(default_factory=SelectConfig)
    augmentation: AugmentConfig | None = None
    augment: bool = True
    window: Literal["padded", "packed"] | None = None  # encoder-decoder models; None takes that of seq2seq

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name is empty; give each stage one, such as clean")
        if (self.epochs is None) == (self.updates is None):
            raise ValueError(f"stage {self.name!r}: give one of epochs and updates")
        for name in ("epochs", "updates"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"stage {self.name!r}: {name} is {value}; use a number above 0")
        if self.augmentation is not None and not self.augment:
            raise ValueError(f"stage {self.name!r}: augmentation is given but augment is false; keep one")

    def augmentation_of(self, recipe: "AugmentConfig | None") -> "AugmentConfig | None":
        """What augments this stage, given the recipe's own."""
        return (self.augmentation or recipe) if self.augment else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Strict):
    """The whole of a training run.

    With a `curriculum` its stages follow each other, and say how long training lasts in place of `training`; the
    learning rate has one schedule over the sum of them.
    """

    name: str
    data: DataConfig
    training: TrainingConfig
    seed: int = 42
    features: FeatureConfig = field(default_factory=lambda: FeatureConfig(normalize="mean-scale"))
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    seq2seq: Seq2SeqConfig = field(default_factory=Seq2SeqConfig)
    augmentation: AugmentConfig | None = None
    curriculum: tuple[StageConfig, ...] = ()
    plan: Literal["auto"] | PlanConfig | None = None  # batch sizes and what goes with them, from predicted memory
    batches: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        if not self.name or any(letter in self.name for letter in "/\\\0") or self.name.startswith("."):
            raise ValueError(f"name is {self.name!r}; use a name that can be part of a file name")
        lengths = [name for name in ("epochs", "updates") if getattr(self.training, name) is not None]
        if self.curriculum and lengths:
            raise ValueError(f"curriculum and training.{lengths[0]} are both given; the stages say how long they last")
        if not self.curriculum and not lengths:
            raise ValueError("give one of training.epochs, training.updates and curriculum")
        if self.batches.edges_s and self.batches.edges_s[-1] <= self.data.min_duration_s:
            raise ValueError(
                f"batches.edges_s ends at {self.batches.edges_s[-1]}, but data.min_duration_s is "
                f"{self.data.min_duration_s}; no utterance is left"
            )
        names = [stage.name for stage in self.curriculum]
        if len(set(names)) < len(names):
            raise ValueError(f"curriculum has the stages {names}; give each a name of its own")
        warmup, updates = self.schedule.warmup_updates, self.training.updates
        if warmup is not None and updates is not None and warmup >= updates:
            raise ValueError(
                f"schedule.warmup_updates is {warmup}, but training.updates is {updates}; warm up for less"
            )


def load_recipe(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from YAML with `key=value` overrides, its paths made absolute.

    Raises InputError that names the file and every wrong setting.
    """
    path = Path(path)
    recipe = parse_settings(Recipe, apply_overrides(load_yaml(path), overrides), source=str(path))
    return with_absolute_paths(recipe, path.resolve().parent)


def with_absolute_paths(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its relative paths taken from `folder`."""

    def absolute(name: str | None) -> str | None:
        return None if name is None else str(folder / name)

    data = replace(
        recipe.data,
        train=str(folder / recipe.data.train),
        validation=str(folder / recipe.data.validation),
        test=absolute(recipe.data.test),
    )
    return replace(
        recipe,
        data=data,
        plan=_with_absolute_file(recipe.plan, folder),
        model=replace(
            recipe.model,
            initial=absolute(recipe.model.initial),
            pretrained=_folder_or_hub_id(recipe.model.pretrained, folder),
        ),
        augmentation=_with_absolute_files(recipe.augmentation, folder),
        curriculum=tuple(
            replace(stage, augmentation=_with_absolute_files(stage.augmentation, folder)) for stage in recipe.curriculum
        ),
    )


def _with_absolute_file(plan: Literal["auto"] | PlanConfig | None, folder: Path) -> Literal["auto"] | PlanConfig | None:
    """The plan with its file taken from `folder`."""
    if not isinstance(plan, PlanConfig) or plan.file is None:
        return plan
    return replace(plan, file=str(folder / plan.file))


def _folder_or_hub_id(name: str | None, folder: Path) -> str | None:
    """A path beside the recipe where there is one, or where the name can be nothing else; a hub id stays as it is."""
    if name is None:
        return None
    is_path = name.startswith((".", "/", "~")) or (folder / name).exists()
    return str((folder / Path(name).expanduser()).resolve()) if is_path else name


def augmentation_files(recipe: Recipe) -> list[str]:
    """Files of noise and room responses that the recipe or a stage names, each once."""
    configs = [recipe.augmentation, *(stage.augmentation for stage in recipe.curriculum)]
    blocks = [block for config in configs if config for block in config.waveform_blocks.values()]
    return list(dict.fromkeys(file for block in blocks for file in getattr(block, "files", ())))


def _with_absolute_files(config: AugmentConfig | None, folder: Path) -> AugmentConfig | None:
    """The augmentation with its files of noise and room responses taken from `folder`; URLs stay as they are."""
    if config is None:
        return None
    blocks = {name: block for name, block in config.waveform_blocks.items() if getattr(block, "files", ())}
    return replace(
        config,
        **{
            name: replace(block, files=tuple(file if "://" in file else str(folder / file) for file in block.files))
            for name, block in blocks.items()
        },
    )


def check_warmup(warmup: int, updates: int) -> None:
    """Refuse a warm-up that training would not outlast."""
    if warmup >= updates:
        raise InputError(
            f"The warm-up takes {warmup} updates, but training has {updates}.",
            hint="Lower schedule.warmup_updates, or train longer.",
        )
