"""Fine-tuning a folder of transformers through a recipe: new vocabulary or its own, frozen parts, saved in its form."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import harken
from harken.core import InputError, MissingPart
from harken.data.manifest import read_manifest
from harken.models.folder import load_model
from harken.testing.random_models import random_wav2vec2
from harken.tracking.run import read_metrics
from harken.training.recipe import Recipe
from harken.training.run import plan_run, train

transformers = pytest.importorskip("transformers", reason="needs the extra `train`")

MakeRecipe = Callable[..., Recipe]
LETTERS = "abhikouz"


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    folder = tmp_path / "wav2vec2"
    random_wav2vec2(folder, letters=LETTERS, seed=1, hidden_size=32, num_hidden_layers=1, conv_dim=(16,) * 7)
    return folder


@pytest.fixture
def fine_tuning(tiny_recipe: MakeRecipe, pretrained: Path) -> MakeRecipe:
    return lambda *overrides: tiny_recipe(
        f"model={{pretrained: {pretrained}}}", "training.updates=4", "optimizer.learning_rate=1e-3", *overrides
    )


def test_a_new_vocabulary_and_a_folder_that_transformers_loads(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(fine_tuning(), tmp_path / "run")
    loaded = load_model(tmp_path / "run" / "model")
    assert loaded.description.family == "wav2vec2-ctc"
    assert loaded.tokenizer.vocab_size == 5  # four words and the blank
    theirs = transformers.AutoModelForCTC.from_pretrained(tmp_path / "run" / "model").eval()
    waveform = torch.randn(1, 8_000)
    with torch.inference_mode():
        scores, _ = loaded.model(waveform[:, :, None], torch.tensor([8_000]))
        assert torch.allclose(scores, theirs(waveform).logits, atol=1e-5)


def test_it_learns(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(
        fine_tuning("training.updates=100", "training.evaluate_every=50", "optimizer.learning_rate=3e-3"),
        tmp_path / "run",
    )
    first, *others = [row["val_loss"] for row in read_metrics(tmp_path / "run") if "val_loss" in row]
    assert min(others) < 0.5 * first
    utterance = read_manifest(Path(fine_tuning().data.train))[0]
    assert harken.load(tmp_path / "run" / "model").transcribe(utterance.audio).duration_s > 0


def test_its_own_vocabulary_has_to_be_beaten(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    recipe = fine_tuning("model.vocabulary=own", "training.updates=2")
    outcome = train(recipe, tmp_path / "run")
    assert outcome.state.best_update is not None
    model = load_model(tmp_path / "run" / "model")
    assert model.tokenizer.vocab_size == 2 + len(LETTERS)
    assert (tmp_path / "run" / "model" / "vocab.json").is_file()


def test_a_frozen_feature_encoder_stays(fine_tuning: MakeRecipe, pretrained: Path, tmp_path: Path) -> None:
    train(fine_tuning("model.settings.freeze_feature_encoder=true"), tmp_path / "run")
    before = transformers.AutoModelForCTC.from_pretrained(pretrained).state_dict()
    after = transformers.AutoModelForCTC.from_pretrained(tmp_path / "run" / "model").state_dict()
    same = {
        name for name in before if before[name].shape == after[name].shape and torch.equal(before[name], after[name])
    }
    assert {name for name in before if "feature_extractor" in name} <= same
    assert any("encoder.layers" in name for name in before.keys() - same)


def test_a_plan_counts_the_pretrained_model(fine_tuning: MakeRecipe) -> None:
    plan = plan_run(fine_tuning())
    assert (plan["family"], plan["output_units"]) == ("wav2vec2-ctc", 5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augmentation.spec_augment={}", "this model hears samples. Use model.settings.mask_time_prob"),
        (
            "model.settings={width: 3}",
            "model.settings has width. This pretrained model takes: config_changes, freeze_feature_encoder",
        ),
        ("model.vocabulary=old", "vocabulary"),
        ("model.initial=/there/model", "initial and pretrained are both given"),
    ],
)
def test_settings_that_do_not_fit(fine_tuning: MakeRecipe, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_run(fine_tuning(override))


def test_what_cannot_be_fine_tuned(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"nowhere does not exist"):
        plan_run(tiny_recipe(f"model.pretrained={tmp_path / 'nowhere'}"))
