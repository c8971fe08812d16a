"""Recipes: what YAML may say, and what is refused with which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harken.cli
from harken.core import InputError, dump_settings, parse_settings
from harken.data.sampler import BucketPlan
from harken.models.family import find_family
from harken.training.recipe import (
    BatchConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TrackingConfig,
    TrainingConfig,
    check_warmup,
    load_recipe,
)

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [*sorted((ROOT / "recipes").glob("*.yaml")), Path(harken.cli.__path__[0]) / "demo_recipe.yaml"]
MINIMAL = """
name: least
data:
  train: train.jsonl
  validation: sets/validation.jsonl
training:
  updates: 100
"""

Save = Callable[[str], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(text: str) -> Path:
        (tmp_path / "recipe.yaml").write_text(text)
        return tmp_path / "recipe.yaml"

    return write


def test_three_settings_are_enough(save: Save, tmp_path: Path) -> None:
    recipe = load_recipe(save(MINIMAL))
    assert recipe.data.train == str(tmp_path / "train.jsonl")
    assert recipe.data.validation == str(tmp_path / "sets" / "validation.jsonl")
    assert recipe.data.test is None
    assert (recipe.seed, recipe.model.family, recipe.tokenizer.kind) == (42, "conformer-ctc", "char")
    assert (recipe.features.kind, recipe.features.dimensions, recipe.features.normalize) == ("kaldi", 80, "mean-scale")
    assert recipe.augmentation is None
    # What YAML leaves out is what the dataclasses say.
    assert recipe.batches == BatchConfig()
    assert recipe.optimizer == OptimizerConfig()
    assert recipe.schedule == ScheduleConfig()
    assert recipe.tracking == TrackingConfig()
    assert recipe.training == TrainingConfig(updates=100)


def test_absolute_paths_stay_and_every_path_is_resolved(save: Save, tmp_path: Path) -> None:
    recipe = load_recipe(
        save(MINIMAL), ["data.train=/corpus/a.jsonl", "data.test=t.jsonl", "model.initial=first/model"]
    )
    assert recipe.data.train == "/corpus/a.jsonl"
    assert recipe.data.test == str(tmp_path / "t.jsonl")
    assert recipe.model.initial == str(tmp_path / "first" / "model")


def test_overrides_are_laid_over_the_file(save: Save) -> None:
    recipe = load_recipe(
        save(MINIMAL),
        ["optimizer.learning_rate=3e-4", "training.updates=7", "model.settings.width=64", "optimizer.betas=[0.8, 0.9]"],
    )
    assert recipe.optimizer.learning_rate == 3e-4
    assert recipe.training.updates == 7
    assert recipe.model.settings == {"width": 64}
    assert recipe.optimizer.betas == (0.8, 0.9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1e-3", "optimizer.learning_rat is not a setting; did you mean 'learning_rate'?"),
        ("training.update=3", "training.update is not a setting; did you mean 'updates'?"),
        ("trainning=3", "trainning is not a setting; did you mean 'training'?"),
        ("optimizer.learning_rate=-0.001", "optimizer: learning_rate is -0.001; use a rate above 0"),
        ("optimizer.learning_rate=0", "optimizer: learning_rate is 0"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer: betas is (0.9, 1.0)"),
        ("optimizer.clip_norm=0", "optimizer: clip_norm is 0"),
        ("optimizer.name=sgd", "optimizer.name is 'sgd'"),
        ("training.epochs=3", "training: epochs and updates are both given; keep one"),
        ("training.updates=null", "give one of training.epochs, training.updates and curriculum"),
        ("training.updates=0", "training: updates is 0; use a number above 0"),
        ("training.workers=-1", "training: workers is -1; use 0 or more"),
        ("training.keep_checkpoints=0", "training: keep_checkpoints is 0; use 1 or more, the last one is needed"),
        ("training.memory_warn_share=0.97", "memory_warn_share is 0.97 and memory_act_share 0.95"),
        ("schedule.warmup_updates=100", "schedule.warmup_updates is 100, but training.updates is 100"),
        ("schedule.warmup_share=1.0", "schedule: warmup_share is 1.0"),
        ("schedule.final_learning_rate=-1", "schedule: final_learning_rate is -1"),
        ("model.label_smoothing=1", "model: label_smoothing is 1"),
        ("batches.batch_s=0", "batches: batch_s is 0"),
        ("batches.accumulate=0", "batches: accumulate is 0"),
        ("batches.edges_s=[5, 10]", "batches: batch_sizes is 0 long; use one size for each of the 2 edges_s"),
        ("batches.batch_sizes=[5, 10]", "batches: edges_s is empty"),
        ("batches={edges_s: [10, 5], batch_sizes: [1, 2]}", "batches: edges_s is [10.0, 5.0]; use ascending"),
        ("batches={edges_s: [10], batch_sizes: [0]}", "batches: batch_sizes is [0]; use 1 or more"),
        ("batches={edges_s: [9], batch_sizes: [1], batch_s: 9}", "batch_s does nothing beside edges_s; leave it out"),
        ("batches={edges_s: [9], batch_sizes: [1], buckets: 2}", "buckets does nothing beside edges_s; leave it out"),
        ("batches={edges_s: [9], batch_sizes: [1], max_batch_size: 2}", "max_batch_size does nothing beside edges_s"),
        (
            "batches={edges_s: [9], batch_sizes: [1], accumulate: 2, update_s: 60}",
            "update_s does nothing beside edges_s and accumulate",
        ),
        ("batches={edges_s: [0.1], batch_sizes: [1]}", "batches.edges_s ends at 0.1, but data.min_duration_s is 0.1"),
        ("training.validation_batch_s=0", "training: validation_batch_s is 0"),
        ("training.memory_budget_gib=-1", "training: memory_budget_gib is -1"),
        ("data.normalizer=nosuch", "data: normalizer is 'nosuch'; use one of"),
        ("data.train_samples=0", "data: train_samples is 0"),
        ("data.min_duration_s=70", "data: min_duration_s is 70.0 and max_duration_s 60.0"),
        ("tracking.tracking_uri=http://x", "sinks has no mlflow"),
        ("name=a/b", "name is 'a/b'"),
        ("seed=many", "seed is 'many'"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place_and_value(save: Save, override: str, message: str) -> None:
    path = save(MINIMAL)
    with pytest.raises(InputError) as caught:
        load_recipe(path, [override])
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_both_targets_of_an_update_are_refused(save: Save) -> None:
    with pytest.raises(InputError, match="update_s and update_samples are both given; keep one"):
        load_recipe(save(MINIMAL), ["batches.update_s=60", "batches.update_samples=16"])


def test_every_problem_is_named_at_once(save: Save) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(save("name: x\ndata: {train: a.jsonl}\ntraining: {updates: 1}\noptimiser: {}\n"))
    assert "data.validation is missing" in str(caught.value)
    assert "optimiser is not a setting; did you mean 'optimizer'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n", "holds list, not a mapping"), ("name: [\n", "not valid YAML"), ("", "is empty. Write")],
)
def test_files_that_are_no_recipe(save: Save, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(save(text))


def test_a_recipe_survives_yaml(save: Save) -> None:
    recipe = load_recipe(save(MINIMAL), ["augmentation.spec_augment={}", "tracking.sinks=[mlflow]"])
    assert parse_settings(Recipe, dump_settings(recipe), source="again") == recipe


def test_planned_buckets_survive_yaml(save: Save) -> None:
    recipe = load_recipe(save(MINIMAL), ["batches={edges_s: [5, 10], batch_sizes: [4, 2], accumulate: 3}"])
    assert recipe.batches.plan == BucketPlan(edges_s=(5.0, 10.0), batch_sizes=(4, 2))
    assert recipe.batches.accumulate == 3
    assert parse_settings(Recipe, dump_settings(recipe), source="again") == recipe
    assert load_recipe(save(MINIMAL)).batches.plan is None


def test_seconds_of_an_update() -> None:
    assert BatchConfig().target_s(2.0) == 64.0
    assert BatchConfig(update_samples=8).target_s(2.0) == 16.0
    assert BatchConfig(update_s=30.0).target_s(2.0) == 30.0


def test_a_warmup_as_long_as_training_is_refused() -> None:
    check_warmup(9, 10)
    with pytest.raises(InputError, match="The warm-up takes 10 updates, but training has 10"):
        check_warmup(10, 10)


@pytest.mark.parametrize(
    "kind", [DataConfig, ModelConfig, BatchConfig, OptimizerConfig, ScheduleConfig, TrainingConfig]
)
def test_settings_classes_refuse_unknown_keys(kind: type[Any]) -> None:
    with pytest.raises(InputError, match="nonsense is not a setting"):
        parse_settings(kind, {"nonsense": 1}, source="here")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert Path(recipe.data.train).is_absolute()
    find_family(recipe.model.family).parse(recipe.model.settings, source=str(path))


def test_there_are_shipped_recipes() -> None:
    assert len(SHIPPED) >= 2


def test_files_of_augmentation_are_relative_to_the_recipe(save: Callable[[str], Path]) -> None:
    path = save(
        MINIMAL
        + """
augmentation: {noise: {kinds: [file], files: [street.wav, /there/bus.wav, "s3://noise/cafe.wav"]}}
"""
    )
    noise = load_recipe(path).augmentation.noise  # type: ignore[union-attr]
    assert noise is not None
    assert noise.files == (str(path.parent / "street.wav"), "/there/bus.wav", "s3://noise/cafe.wav")
