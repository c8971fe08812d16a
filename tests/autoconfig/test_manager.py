"""One call from a data set and a model to settings, and what the manager says of them."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.autoconfig.hardware import find_hardware
from harken.autoconfig.manager import ASRConfigManager, create_optimal_config
from harken.autoconfig.plan import decided_names, read_plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core import InputError, MissingPart, Utterance, parse_settings
from harken.data.manifest import write_manifest
from harken.testing.random_models import random_wav2vec2, random_whisper
from harken.training.recipe import Recipe

DURATIONS_S = [round(0.3 + 0.02 * (number % 55), 2) for number in range(220)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pretrained wav2vec2."""
    path: Path = tmp_path_factory.mktemp("model") / "wav2vec2"
    random_wav2vec2(path, letters="abcdefgh")
    return path


@pytest.fixture(scope="module")
def planned(folder: Path) -> Any:
    """A configuration for a T4, and its manager."""
    return create_optimal_config(DURATIONS_S, str(folder), gpu="t4", num_epochs=3, target_batch_size=8)


def test_the_configuration_is_the_plan(planned: Any) -> None:
    config, manager = planned
    hardware = find_hardware("t4")
    settings = PlanSettings(num_epochs=3, target_batch_size=8)
    laws = manager.planned_model.laws(hardware, utilisation=settings.utilisation)
    plan = make_plan(hardware, manager.dataset, manager.model, laws, settings)
    assert config.plan.as_json() == plan.as_json()
    assert manager.plan() is config.plan
    assert (config.fp16, config["fp16"], config.num_epochs, config["num_epochs"]) == (True, True, 3, 3)
    assert dict(config) == config.to_dict() == plan.as_json()
    assert "bf16" in config
    assert "fp61" not in config
    assert repr(config).startswith("OptimalConfig(per_device_train_batch_size=")
    assert manager.hardware.name == "NVIDIA T4"
    assert manager.dataset.utterances == 220
    assert manager.model.family == "wav2vec2-ctc"


def test_values_that_are_not_there(planned: Any) -> None:
    config, manager = planned
    with pytest.raises(InputError, match="no value called 'fp61'"):
        config["fp61"]
    with pytest.raises(AttributeError, match="fp61"):
        _ = config.fp61
    with pytest.raises(InputError, match=r"'fp61'.*fp16"):
        manager.explain("fp61")


def test_it_is_saved_where_users_expect_it(planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = planned
    monkeypatch.chdir(tmp_path)
    assert config.save() == Path("configs/training_config.json")
    assert json.loads(Path("configs/training_config.json").read_text()) == config.to_dict()
    assert read_plan(config.save(tmp_path / "other" / "plan.json")) == config.plan


def test_every_decision_is_logged_and_explained(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="harken.autoconfig.manager"):
        config, manager = create_optimal_config(DURATIONS_S, folder, gpu="t4", num_epochs=3)
    assert [message.split(" = ")[0] for message in caplog.messages] == decided_names()
    assert "num_epochs = 3: As the settings say." in caplog.messages
    assert [decision.name for decision in manager.decisions] == decided_names()
    assert config.explain("fp16") == manager.explain("fp16")
    assert config.explain("fp16").splitlines()[0] == "fp16 = True"


def test_data_sets_of_every_kind_give_the_same(folder: Path, planned: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    config, _ = planned
    settings = {"gpu": "t4", "num_epochs": 3, "target_batch_size": 8}
    utterances = [
        Utterance(id=f"{n}", audio=f"{n}.wav", duration_s=seconds, text="") for n, seconds in enumerate(DURATIONS_S)
    ]
    write_manifest(tmp_path / "m.jsonl", utterances)
    table = datasets.Dataset.from_dict({"duration": DURATIONS_S})
    splits = datasets.DatasetDict({"train": table, "test": table.select(range(3))})
    for source in (tmp_path / "m.jsonl", utterances, table, splits):
        found, manager = create_optimal_config(source, folder, **settings)
        assert found.buckets == config.buckets
        assert manager.length_column == found.length_column == ("duration" if source in (table, splits) else None)
    assert found.to_training_arguments(tmp_path, use_cpu=True, fp16=False).length_column_name == "duration"
    with pytest.raises(InputError, match="2 splits"):
        create_optimal_config(datasets.DatasetDict({"a": table, "b": table}), folder)


def test_a_model_in_memory_is_planned_for_as_it_is_trained(tmp_path: Path) -> None:
    model = random_whisper(tmp_path / "whisper")
    model.model.encoder.requires_grad_(False)
    _, manager = create_optimal_config(DURATIONS_S, model, gpu="cpu")
    assert manager.model.way == "frozen-encoder"
    assert manager.model.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    for given in ({"way": "lora"}, {"vocabulary_size": 40}):
        with pytest.raises(InputError, match=f"{next(iter(given))} is given"):
            create_optimal_config(DURATIONS_S, model, **given)  # type: ignore[arg-type]


def test_a_preset_brings_epochs_and_counts(folder: Path) -> None:
    manager = ASRConfigManager([1.0] * 700, folder, gpu="t4", preset="demo")
    assert (manager.settings.num_epochs, manager.dataset.utterances) == (2, 500)
    assert manager.recipe(train="a", validation="b")["data"]["train_samples"] == 500
    assert ASRConfigManager([1.0] * 9, folder, gpu="t4", preset="demo", num_epochs=7).settings.num_epochs == 7
    with pytest.raises(InputError, match="No preset is called 'dmo'"):
        ASRConfigManager([1.0], folder, preset="dmo")


def test_the_recipe_is_one(planned: Any, folder: Path) -> None:
    config, manager = planned
    recipe = parse_settings(Recipe, manager.recipe(train="a", validation="b", name="planned"), source="test")
    assert recipe.model.pretrained == str(folder.resolve())
    assert recipe.batches.accumulate == config.gradient_accumulation_steps


def test_ways_models_and_devices_are_compared(planned: Any, tmp_path: Path) -> None:
    _, manager = planned
    rows = [row.as_json() for row in manager.compare()]
    assert [(row["way"], row["hardware"], row["fits"]) for row in rows] == [
        ("full", "NVIDIA T4", True), ("frozen-encoder", "NVIDIA T4", True), ("lora", "NVIDIA T4", True),
    ]  # fmt: skip
    assert rows[0]["peak_bytes"] > rows[1]["peak_bytes"]
    recurrent = manager.compare(models=[random_whisper(tmp_path / "w")], ways=["full"], gpus=["t4", "l4"])
    assert [(row.plan is not None, row.hardware) for row in recurrent] == [(True, "NVIDIA T4"), (True, "NVIDIA L4")]
    with pytest.raises(InputError, match="whisper-tniy"):
        manager.compare(models=["whisper-tniy"])


def test_a_model_without_a_place_for_lora_is_a_row_that_says_so(folder: Path) -> None:
    manager = ASRConfigManager(DURATIONS_S, folder, gpu="t4")
    variant = replace(
        manager.planned_model.variant, config={**manager.planned_model.variant.config, "num_hidden_layers": 0}
    )
    from harken.autoconfig.model import planned_model

    row = manager.compare(models=[planned_model(variant)], ways=["lora"])[0]
    assert row.plan is None
    assert "no Linear layer" in row.refusal


def test_the_smallest_card_is_allocated(planned: Any) -> None:
    _, manager = planned
    found = manager.allocate(["a100-80gb", "l4", "t4"])
    assert found.hardware.name == "NVIDIA T4"
    assert "smallest of 3" in found.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"safety_margn": 0.8}, "safety_margn is not a setting; did you mean 'safety_margin'"),
        ({"safety_margin": 0.99}, "safety_margin is 0.99"),
        ({"gpu": "gtx-9999"}, "gtx-9999"),
        ({"way": "half"}, "way is 'half'"),
    ],
)
def test_wrong_settings_are_named(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_optimal_config(DURATIONS_S, folder, **settings)


def test_wrong_data_and_models_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no utterances"):
        create_optimal_config([], folder)
    with pytest.raises(InputError, match="whisper-tniy"):
        create_optimal_config(DURATIONS_S, "whisper-tniy")
    with pytest.raises(InputError, match="type int"):
        create_optimal_config(DURATIONS_S, 3)


def test_without_torch_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harken.autoconfig.model")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPart, match=r"harken\[train\]"):
        create_optimal_config(DURATIONS_S, folder, gpu="t4")


def test_importing_it_loads_no_torch() -> None:
    import subprocess

    code = "import sys, harken.autoconfig.manager, harken.autoconfig.batch_sampler; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
