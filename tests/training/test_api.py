"""Training from Python: settings in every form, stopping and going on, the history, and the model that comes out."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import harken
from harken.core import InputError, MissingPart, dump_settings
from harken.core.files import sha256_file
from harken.data.manifest import read_manifest
from harken.models.folder import load_model
from harken.tracking.run import read_metrics, read_record
from harken.training.api import Trainer, history_columns
from harken.training.loop import Interrupted
from harken.training.picture import History
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import train

MakeRecipe = Callable[..., Recipe]


class StopAt(SilentView):
    """Asks the run to stop, as a notebook's stop button does, once it reaches an update."""

    def __init__(self, update: int) -> None:
        self.update = update

    def show(self, standing: Standing) -> None:
        if standing.update == self.update:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def work_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(recipe: Recipe, **training: Any) -> dict[str, Any]:
    """A recipe's settings, with `training` laid over its block."""
    settings: dict[str, Any] = dump_settings(recipe)
    return {**settings, "training": {**settings["training"], **training}}


def weights(model: Path) -> str:
    return sha256_file(model / "model.safetensors")


def test_it_is_the_same_run_as_the_command_makes(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe("training.updates=6")
    outcome = train(recipe, Path("plain"))
    trainer = harken.Trainer(recipe, out="notebook")
    done = trainer.train()
    assert done.folder == trainer.folder == Path("notebook")
    assert weights(trainer.model_folder) == weights(outcome.model_folder)
    record = read_record(trainer.folder)
    assert record["settings"] == read_record(Path("plain"))["settings"]
    assert record["provenance"]["seeds"] == {"recipe": recipe.seed}


def test_settings_may_come_as_file_mapping_or_recipe(tiny_recipe: MakeRecipe, tone_corpus: Any) -> None:
    recipe = tiny_recipe()
    settings = settings_of(recipe)
    settings["data"] |= {"train": "train.jsonl", "validation": "validation.jsonl"}
    (tone_corpus.folder / "recipe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    plan = Trainer(recipe).plan()
    assert (plan["updates"], plan["train_utterances"], plan["parameters"]) == (12, 24, 4_405)
    assert Trainer(settings_of(recipe)).plan() == plan
    assert Trainer("corpus/recipe.yaml").plan() == plan  # its paths begin at its folder
    del settings["data"]
    given = {"train": "corpus/train.jsonl", "validation": Path("corpus/validation.jsonl")}
    assert Trainer(settings, **given).plan() == plan  # type: ignore[arg-type]


def test_epochs_take_the_place_of_updates(tiny_recipe: MakeRecipe) -> None:
    assert Trainer(tiny_recipe()).plan(num_epochs=2)["updates"] == 2 * 3  # 24 utterances, 8 an update
    trainer = Trainer(settings_of(tiny_recipe(), updates=None))
    with pytest.raises(InputError, match=r"Nothing says how long to train\. Write train\(num_epochs=10\)"):
        trainer.train()
    assert trainer.plan(0.5)["updates"] == 2  # the next whole one
    with pytest.raises(InputError, match="epochs is -1"):
        trainer.train(-1)
    assert not Path("runs").exists()


def test_a_curriculum_says_how_long_it_lasts(tiny_recipe: MakeRecipe) -> None:
    stages = [{"name": "all", "updates": 3}]
    trainer = Trainer(settings_of(tiny_recipe(), updates=None) | {"curriculum": stages})
    assert trainer.plan()["updates"] == 3
    with pytest.raises(InputError, match="num_epochs is 2, but there is a curriculum"):
        trainer.plan(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"epoch": 3}}, r"recipe: training\.epoch is not a setting; did you mean 'epochs'"),
        ({"training": 3}, "training is 3, not a block of settings"),
        ({"data": "train.jsonl"}, "data is 'train.jsonl', not a block of settings"),
        ({"optimizer": {"learning_rate": 0}}, r"optimizer: learning_rate is 0"),
    ],
)
def test_wrong_settings_are_refused_at_once(tiny_recipe: MakeRecipe, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Trainer(dump_settings(tiny_recipe()) | changes)


def test_without_data_it_says_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"recipe: data\.train is missing; data\.validation is missing"):
        Trainer()
    trainer = Trainer(train="train.jsonl", validation="validation.jsonl")
    with pytest.raises(InputError, match=r"data\.train is .*train\.jsonl, which does not exist"):
        trainer.train(num_epochs=1)
    with pytest.raises(InputError, match=r"no run folder yet\. Call train\(\) first"):
        _ = trainer.folder


def test_the_history_has_a_row_for_each_evaluation(tiny_recipe: MakeRecipe) -> None:
    trainer = Trainer(tiny_recipe("training.evaluate_every=4"))
    columns = ["update", "epoch", "train_loss", "val_loss", "val_wer", "val_cer"]
    assert trainer.history == {name: [] for name in columns}
    trainer.train()
    assert trainer.folder.parent == Path("runs")
    assert trainer.folder.name.startswith("tones-")
    history = trainer.history
    assert list(history) == columns
    assert history["update"] == [0, 4, 8, 12]
    assert history["epoch"] == pytest.approx([0, 4 / 3, 8 / 3, 12 / 3])
    logged = {row["step"]: row["train_loss"] for row in read_metrics(trainer.folder) if "train_loss" in row}
    assert sorted(logged) == [2, 4, 6, 8, 10, 12]
    assert history["train_loss"][0] is None
    assert history["train_loss"][1:] == [(logged[i - 2] + logged[i]) / 2 for i in (4, 8, 12)]
    rows = [row for row in read_metrics(trainer.folder) if "val_wer" in row]
    for name in ("val_loss", "val_wer", "val_cer"):
        assert history[name] == [row[name] for row in rows]
    assert Trainer.open(trainer.folder).history == history


def test_a_history_without_losses() -> None:
    row = {"step": 4, "epoch": 1.0, "val_wer": 0.5, "val_cer": 0.25}
    columns = history_columns(History(train=((6, 1.0),), evaluations=(row,)))
    assert columns == {
        "update": [4], "epoch": [1.0], "train_loss": [None], "val_loss": [None], "val_wer": [0.5], "val_cer": [0.25],
    }  # fmt: skip


def test_an_interrupted_run_goes_on(tiny_recipe: MakeRecipe) -> None:
    settings = settings_of(tiny_recipe(), updates=None)
    whole = Trainer(settings, out="whole")
    whole.train(num_epochs=2)
    trainer = Trainer(settings, out="stopped")
    with pytest.raises(Interrupted, match="Stopped at update 5 of 6"):
        trainer.train(num_epochs=2, view=StopAt(5))
    with pytest.raises(MissingPart, match=r"stopped has no model yet\. Call train\(\) to go on"):
        _ = trainer.model_folder
    with pytest.raises(InputError, match=r"num_epochs is 5, but the run in stopped began with another length"):
        trainer.train(num_epochs=5)
    trainer.train(num_epochs=2)
    assert weights(trainer.model_folder) == weights(whole.model_folder)
    for name in ("update", "epoch", "val_loss", "val_wer", "val_cer"):
        assert trainer.history[name] == whole.history[name]


def test_a_run_can_be_opened_and_finished_later(tiny_recipe: MakeRecipe) -> None:
    with pytest.raises(Interrupted):
        Trainer(tiny_recipe(), out="run").train(view=StopAt(5))
    (Path("run") / "recipe.yaml").unlink()  # as where the process was killed before it was written
    opened = Trainer.open("run")
    assert opened.history["update"] == [0, 4]
    assert opened.train().state.update == 12
    with pytest.raises(InputError, match=r"holds a run already\. Go on with it by Trainer\.open\('run'\)\.train\(\)"):
        Trainer(tiny_recipe(), out="run").train()
    with pytest.raises(InputError, match="is not a run folder"):
        Trainer.open("corpus")


def test_a_finished_run_says_how_to_train_further(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe("training.updates=4")
    first = Trainer(recipe, out="first")
    first.train()
    with pytest.raises(InputError, match=r"first is finished\. Train its model further.*model='first/model'"):
        first.train(num_epochs=1)
    settings = settings_of(recipe)
    del settings["model"]
    second = Trainer(settings, model="first/model", out="second")
    second.train(num_epochs=1)
    assert second.history["update"] == [0, 3]
    best = first.history["val_wer"][-1]
    assert second.history["val_wer"][0] == best
    assert load_model(second.model_folder).description.family == "recurrent-ctc"


def test_the_model_is_saved_and_loaded(tiny_recipe: MakeRecipe, tone_corpus: Any) -> None:
    trainer = Trainer(tiny_recipe("training.updates=4"), out="run")
    trainer.train()
    saved = trainer.save_pretrained("outputs/final_model")
    assert saved == Path("outputs/final_model")
    utterance = read_manifest(tone_corpus.validation)[0]
    texts = [harken.load(folder).transcribe(utterance.audio).text for folder in (saved, trainer.model_folder)]
    assert texts[0] == texts[1]
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        trainer.save_pretrained(saved)


def test_the_sinks_of_the_recipe_are_served(tiny_recipe: MakeRecipe) -> None:
    pytest.importorskip("tensorboard")
    Trainer(tiny_recipe("training.updates=2", "tracking.sinks=[tensorboard]"), out="run").train()
    assert list(Path("run").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("model", "start"),
    [
        ("whisper-tiny", "openai/whisper-tiny"),
        ("facebook/wav2vec2-base@main", "facebook/wav2vec2-base@main"),
        ("downloads/mine", "{here}/downloads/mine"),
    ],
)
def test_what_to_start_from(tiny_recipe: MakeRecipe, tmp_path: Path, model: str, start: str) -> None:
    Path("downloads/mine").mkdir(parents=True)
    settings = dump_settings(tiny_recipe())
    trainer = Trainer({**settings, "model": {"settings": {}}}, model=model)
    assert trainer._recipe(None).model.pretrained == start.format(here=tmp_path)
    assert trainer._recipe(None).model.initial is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("wisper-tiny", "No model is known as 'wisper-tiny'. Did you mean whisper-tiny"),
        ("stt_hi_conformer_ctc_medium", r"is a \.nemo file\. Import it \(harken models import\)"),
        ("downloads/x.nemo", r"is a \.nemo file"),
    ],
)
def test_models_that_cannot_be_started_from(model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Trainer(train="a.jsonl", validation="b.jsonl", model=model)


def test_whisper_is_fine_tuned(tone_corpus: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    from harken.testing.random_models import random_whisper

    random_whisper(tmp_path / "models" / "whisper-tiny")
    manager = harken.WhisperModelManager({"models_dir": "models"})
    settings = {
        "seq2seq": {"language": "en"},
        "training": {"device": "cpu", "precision": "fp32", "threads": 1, "workers": 0},
    }
    trainer = Trainer(
        settings, train=tone_corpus.train, validation=tone_corpus.validation, model=manager.locate("tiny"), out="run"
    )
    trainer.train(num_epochs=1)
    assert json.loads((trainer.model_folder / "config.json").read_text())["model_type"] == "whisper"
    assert trainer.history["val_loss"][-1] < trainer.history["val_loss"][0]  # type: ignore[operator]
