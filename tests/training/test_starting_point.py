"""Where a run starts from, and what of it is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.core import InputError
from harken.models.adapters import adapter_names
from harken.models.folder import load_model
from harken.testing.random_models import random_wav2vec2
from harken.training.recipe import Recipe
from harken.training.run import plan_run, train
from harken.training.starting_point import StartingPoint

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def trained(tiny_recipe: MakeRecipe, tmp_path: Path) -> Path:
    """The model folder of a finished run whose words are the four tones."""
    train(tiny_recipe("training.updates=2"), tmp_path / "before")
    return tmp_path / "before" / "model"


def trained_names(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_new_vocabulary_on_a_trained_model(tiny_recipe: MakeRecipe, trained: Path) -> None:
    recipe = tiny_recipe(f"model={{initial: {trained}, vocabulary: new}}", "tokenizer.kind=char")
    parts = StartingPoint(recipe).build(["ah bo", "ku"], None)
    assert parts.tokenizer.vocab_size == 8  # a b h k o u, the space and the blank
    assert not parts.trained_before
    old, new = load_model(trained).model.state_dict(), parts.model.state_dict()
    assert new["output.weight"].shape[0] == 8
    assert all(torch.equal(new[name], old[name]) for name in old if not name.startswith("output."))
    again = StartingPoint(recipe).build(["ah bo", "ku"], None).model.state_dict()
    assert torch.equal(again["output.weight"], new["output.weight"])


def test_a_trained_model_keeps_its_own_vocabulary(tiny_recipe: MakeRecipe, trained: Path) -> None:
    parts = StartingPoint(tiny_recipe(f"model={{initial: {trained}}}")).build(["something else"], None)
    assert parts.trained_before
    assert parts.tokenizer.decode([1, 2]) == "ah bo"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("adapter: {kind: bottleneck, adapter_dim: 4}", {"adapter_default"}),
        ("adapter: {kind: bottleneck, adapter_dim: 4}, vocabulary: new", {"adapter_default", "output"}),
        ("adapter: {kind: bottleneck, adapter_dim: 4}, train_beside_adapter: [norm]", {"adapter_default", "norm"}),
        ("freeze: [front_end, layers.*]", {"norm", "output"}),
    ],
)
def test_what_is_trained(tiny_recipe: MakeRecipe, trained: Path, settings: str, expected: set[str]) -> None:
    parts = StartingPoint(tiny_recipe(f"model={{initial: {trained}, {settings}}}")).build(["ah", "bo"], None)
    kinds = {
        next(kind for kind in ("adapter_default", "output", "norm", "front_end", "layers") if kind in name)
        for name in trained_names(parts.model)
    }
    assert kinds == expected


@pytest.mark.parametrize("kind", ["{kind: lora, rank: 2}", "{kind: bottleneck, adapter_dim: 4}"])
def test_adapters_of_a_ctc_model_train_and_load(tiny_recipe: MakeRecipe, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers")
    random_wav2vec2(tmp_path / "hub", hidden_size=16, num_hidden_layers=1, conv_dim=(8,) * 7)
    recipe = tiny_recipe(f"model={{pretrained: {tmp_path / 'hub'}, adapter: {kind}}}", "training.updates=3")
    plan = plan_run(recipe)
    assert 0 < plan["trained_parameters"] < plan["parameters"]
    train(recipe, tmp_path / "run")
    loaded = load_model(tmp_path / "run" / "model")
    assert adapter_names(loaded.model) == ([] if "lora" in kind else ["default"])
    base = load_model(tmp_path / "run" / "model").model.state_dict()
    assert any("lm_head" in name for name in base)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("model={vocabulary: own}", "vocabulary is own, but there is no model that has one"),
        ("model={adapter: {}}", "adapter is given, but no model to put it on"),
        ("model={freeze: [output]}", "freeze would keep weights that nobody trained"),
        ("model={initial: /there, merge_adapter: false}", "do nothing without an adapter"),
        ("model={initial: /there, freeze: [a], adapter: {}}", "freeze does nothing beside an adapter"),
        ("model={initial: /there, adapter: {rank: 0}}", "rank is 0"),
        ("training.average_decay=1", "average_decay is 1.0; use a number between 0 and 1"),
        ("seq2seq={language: uz, languages: {mixed: uz}}", "language and languages are both given"),
        ("seq2seq.timestamps_share=2", "timestamps_share is 2.0; use a share"),
    ],
)
def test_settings_that_contradict_each_other(tiny_recipe: MakeRecipe, settings: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_recipe(settings)


def test_an_initial_model_takes_no_settings(tiny_recipe: MakeRecipe, trained: Path) -> None:
    with pytest.raises(InputError, match=r"model.initial and model.settings are both given"):
        StartingPoint(tiny_recipe(f"model={{initial: {trained}, settings: {{width: 4}}}}"))


def test_another_normaliser_than_the_model_was_trained_with_is_said(
    tiny_recipe: MakeRecipe, trained: Path, caplog: Any
) -> None:
    StartingPoint(tiny_recipe(f"model={{initial: {trained}}}"))
    assert "normalizer" not in caplog.text
    StartingPoint(tiny_recipe(f"model={{initial: {trained}}}", "data.normalizer=none"))
    assert "was trained on texts of the normalizer basic, this recipe has none" in caplog.text
