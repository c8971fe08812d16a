"""Whole runs on the tone corpus: what they leave, and what a resume makes of it."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart, RunFailed, load_yaml, parse_settings
from harken.core.files import sha256_file
from harken.data.manifest import read_manifest
from harken.models.folder import load_model
from harken.tracking.lock import RunBusyError
from harken.tracking.run import RunFolder, read_events, read_metrics, read_record
from harken.training.augmenting import augmentations_of
from harken.training.loop import Interrupted
from harken.training.manifests import manifest_hashes
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import plan_run, resume, train

MakeRecipe = Callable[..., Recipe]


class StopAt(SilentView):
    """Asks the run to stop, as Ctrl-C does, once it reaches an update."""

    def __init__(self, update: int) -> None:
        self.update = update

    def show(self, standing: Standing) -> None:
        if standing.update == self.update:
            signal.raise_signal(signal.SIGINT)


def weights(run: Path) -> str:
    return sha256_file(run / "model" / "model.safetensors")


def evaluations(run: Path) -> list[dict[str, Any]]:
    rows = [row for row in read_metrics(run) if "val_wer" in row]
    return [{key: row.get(key) for key in ("step", "val_wer", "val_cer", "val_loss")} for row in rows]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def event_kinds(run: Path) -> list[str]:
    return [event["event"] for event in read_events(run)]


def test_a_run_learns_and_leaves_everything(tiny_recipe: MakeRecipe, tmp_path: Path, real_picture: None) -> None:
    recipe = tiny_recipe("training.updates=40", "training.evaluate_every=20")
    outcome = train(recipe, tmp_path / "run")
    assert outcome.state.update == 40
    assert [row["step"] for row in evaluations(tmp_path / "run")] == [0, 20, 40]
    best = outcome.history.best
    assert best is not None
    assert outcome.state.best_wer == best["val_wer"] < 0.3 < outcome.history.evaluations[0]["val_wer"]
    record = read_record(tmp_path / "run")
    assert record["status"] == "finished"
    assert record["result"]["best_update"] == outcome.state.best_update
    assert record["provenance"]["manifests"] == manifest_hashes(recipe)
    assert parse_settings(Recipe, load_yaml(tmp_path / "run" / "recipe.yaml"), source="recipe.yaml") == recipe
    loaded = load_model(outcome.model_folder)
    assert loaded.tokenizer.vocab_size == 5
    assert loaded.features == recipe.features
    assert loaded.description.provenance["update"] == outcome.state.best_update
    # The report scores the same model on the same set as the best evaluation did.
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["wer"]["value"] == pytest.approx(outcome.state.best_wer)
    assert (tmp_path / "run" / "training.png").stat().st_size > 10_000
    assert outcome.cpu_s > 0
    assert 0 <= outcome.data_wait_share < 1


def test_equal_recipes_give_equal_weights_whatever_the_workers(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    for name, workers in (("a", 0), ("b", 2)):
        train(tiny_recipe("training.updates=4", f"training.workers={workers}"), tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    train(tiny_recipe("training.updates=4", "seed=7"), tmp_path / "c")
    assert weights(tmp_path / "c") != weights(tmp_path / "a")


def test_ctrl_c_and_resume_change_no_bit(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("model.settings.dropout=0.2")
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted, match="Stopped at update 5 of 12"):
        train(recipe, tmp_path / "run", view=StopAt(5))
    assert read_record(tmp_path / "run")["status"] == "interrupted"
    outcome = resume(tmp_path / "run")
    assert outcome.state.update == 12
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert evaluations(tmp_path / "run") == evaluations(tmp_path / "whole")
    assert [e["from_step"] for e in read_events(tmp_path / "run") if e["event"] == "resumed"] == [5]
    assert read_record(tmp_path / "run")["status"] == "finished"


def test_a_damaged_checkpoint_costs_time_and_no_bit(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=StopAt(9))
    newest = tmp_path / "run" / "checkpoints" / "step-000009" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    resume(tmp_path / "run")
    assert [e["from_step"] for e in read_events(tmp_path / "run") if e["event"] == "resumed"] == [8]
    assert event_kinds(tmp_path / "run").count("checkpoint-damaged") == 1
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert evaluations(tmp_path / "run") == evaluations(tmp_path / "whole")


def test_a_finished_run_resumed_again_stays_as_it_is(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(tiny_recipe("training.updates=4"), tmp_path / "run")
    before, rows = weights(tmp_path / "run"), read_metrics(tmp_path / "run")
    outcome = resume(tmp_path / "run")
    assert outcome.state.update == 4
    assert weights(tmp_path / "run") == before
    assert read_metrics(tmp_path / "run") == rows
    assert read_record(tmp_path / "run")["status"] == "finished"


def test_a_run_killed_before_its_first_update_can_be_resumed(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("training.updates=4")
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=StopAt(1))
    (tmp_path / "run" / "recipe.yaml").unlink()
    for name in ("tokenizer", "checkpoints"):
        shutil.rmtree(tmp_path / "run" / name)
    half = tmp_path / "run" / ".tokenizer.tmp"
    half.mkdir()
    (half / "vocab.json").write_text("{")
    resume(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == (tmp_path / "whole" / "recipe.yaml").read_bytes()
    assert not half.exists()


def test_a_resume_refuses_a_changed_manifest(tiny_recipe: MakeRecipe, tone_corpus: Any, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tiny_recipe(), tmp_path / "run", view=StopAt(3))
    tone_corpus.edit("train-03", text="ah ah")
    with pytest.raises(InputError, match=r"train\.jsonl has changed since the run began"):
        resume(tmp_path / "run")
    assert read_record(tmp_path / "run")["status"] == "failed"


def test_a_resume_refuses_audio_that_has_gone(tiny_recipe: MakeRecipe, tone_corpus: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=StopAt(3))
    audio = tone_corpus.folder / "train-03.wav"
    content = audio.read_bytes()
    audio.unlink()
    with pytest.raises(InputError, match="not those the run began with"):
        resume(tmp_path / "run")
    audio.write_bytes(content)
    resume(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_two_runs_in_one_folder_are_refused(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("training.updates=2")
    train(recipe, tmp_path / "run")
    before = weights(tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already"):
        train(recipe, tmp_path / "run")
    with RunFolder.open(tmp_path / "run"), pytest.raises(RunBusyError, match="in use by process"):
        resume(tmp_path / "run")
    assert weights(tmp_path / "run") == before


def test_resume_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        resume(tmp_path)


def test_a_plan_says_what_would_happen_and_writes_nothing(
    tiny_recipe: MakeRecipe, tone_corpus: Any, tmp_path: Path
) -> None:
    tone_corpus.edit("train-03", text="")
    before = files(tmp_path)
    plan = plan_run(tiny_recipe("batches.batch_s=1.5"))
    assert files(tmp_path) == before
    assert (plan["train_utterances"], plan["validation_utterances"]) == (23, 6)
    assert plan["rejected"] == {"empty text": 1}
    assert (plan["family"], plan["device"], plan["precision"]) == ("recurrent-ctc", "cpu", "fp32")
    assert (plan["updates"], plan["evaluate_every"], plan["warmup_updates"]) == (12, 4, 1)
    assert plan["output_units"] == 5
    assert plan["batches_per_update"] == 4  # 8 utterances of 0.3 to 0.75 s, two to four in a batch of 1.5 s
    assert 0 <= plan["padding_share"] < 0.5
    edges_s = [bucket["upper_edge_s"] for bucket in plan["buckets"]]
    assert edges_s == sorted(edges_s)
    assert edges_s[-1] == pytest.approx(0.75)


def test_a_recipe_that_cannot_work_leaves_no_folder(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    missing = replace(recipe, model=replace(recipe.model, settings={}, initial=str(tmp_path / "nowhere")))
    with pytest.raises(MissingPart, match="nowhere does not exist"):
        train(missing, tmp_path / "run")
    both = replace(recipe, model=replace(recipe.model, initial=str(tmp_path)))
    with pytest.raises(InputError, match=r"model\.initial and model\.settings are both given"):
        train(both, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rejections_are_reported_by_name(tiny_recipe: MakeRecipe, tone_corpus: Any, tmp_path: Path) -> None:
    (tone_corpus.folder / "train-05.wav").write_bytes(b"not audio")
    tone_corpus.edit("train-03", text=None)
    outcome = train(tiny_recipe("training.updates=2"), tmp_path / "run")
    assert outcome.rejected == {"empty text": 1, "unreadable audio": 1}
    events = [e for e in read_events(tmp_path / "run") if e["event"] == "rejected"]
    assert [(e["set"], e["reason"], e["count"], e["examples"]) for e in events] == [
        ("train", "empty text", 1, ["train-03"]),
        ("train", "unreadable audio", 1, ["train-05"]),
    ]
    lines = (tmp_path / "run" / "rejected-train.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["train-03", "train-05"]


def test_training_goes_on_from_a_model_folder(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(tiny_recipe("training.updates=30", "training.evaluate_every=30"), tmp_path / "first")
    start = evaluations(tmp_path / "first")[-1]
    recipe = tiny_recipe("training.updates=3", "optimizer.learning_rate=1.0e-9", "schedule.final_learning_rate=0.0")
    recipe = replace(recipe, model=replace(recipe.model, settings={}, initial=str(tmp_path / "first" / "model")))
    outcome = train(recipe, tmp_path / "second")
    first = outcome.history.evaluations[0]
    assert (first["step"], first["val_wer"]) == (0, start["val_wer"])
    assert first["val_loss"] == pytest.approx(start["val_loss"], rel=1e-5)
    assert outcome.state.best_update == 0  # nothing was better than what it began with
    assert weights(tmp_path / "second") == weights(tmp_path / "first")


def test_a_run_of_nothing_but_nan_fails_and_says_so(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harken.audio.features import FeatureExtractor

    extract = FeatureExtractor.__call__
    monkeypatch.setattr(FeatureExtractor, "__call__", lambda self, waveform: extract(self, waveform) * float("nan"))
    with pytest.raises(RunFailed, match="3 updates in a row"):
        train(tiny_recipe("training.max_nonfinite_updates=3"), tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert (record["status"], record["error"].split(":")[0]) == ("failed", "RunFailed")
    skipped = [e for e in read_events(tmp_path / "run") if e["event"] == "nonfinite-update-skipped"]
    assert [e["in_a_row"] for e in skipped] == [1, 2, 3]
    assert all(e["utterances"] for e in skipped)


@pytest.mark.parametrize("block", ["codec={kinds: [telephone], probability: 1}", "clipping={probability: 1}"])
def test_an_augmentation_of_waveforms_reaches_the_model(tiny_recipe: MakeRecipe, tmp_path: Path, block: str) -> None:
    train(tiny_recipe("training.updates=2"), tmp_path / "plain")
    train(tiny_recipe("training.updates=2", f"augmentation.{block}"), tmp_path / "altered")
    assert weights(tmp_path / "plain") != weights(tmp_path / "altered")


def test_what_an_augmentation_needs_is_looked_for_first(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("augmentation.noise={kinds: [file], files: [/absent/noise.wav]}")
    with pytest.raises(InputError, match=r"/absent/noise\.wav"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_manifest_of_noise_stands_for_its_recordings(
    tiny_recipe: MakeRecipe, tone_corpus: Any, tmp_path: Path
) -> None:
    noise = f"augmentation.noise={{kinds: [file], files: [{tone_corpus.validation}], probability: 1}}"
    recipe = tiny_recipe("training.updates=2", noise)
    (config,) = augmentations_of(recipe)
    assert config is not None
    assert config.noise is not None
    assert config.noise.files == tuple(u.audio for u in read_manifest(tone_corpus.validation))
    train(recipe, tmp_path / "run")
    manifests = RunFolder.open(tmp_path / "run").record["provenance"]["manifests"]
    assert manifests["recordings-1"] == {
        "path": str(tone_corpus.validation), "sha256": sha256_file(tone_corpus.validation),
    }  # fmt: skip
    missing = tiny_recipe("augmentation.noise={kinds: [file], files: [/absent/noises.jsonl]}")
    with pytest.raises(InputError, match=r"A manifest of augmentation is /absent/noises\.jsonl, which does not exist"):
        train(missing, tmp_path / "other")
