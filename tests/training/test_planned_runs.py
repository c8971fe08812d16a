"""Whole runs of what a plan decides: buckets and batch sizes, checkpointed gradients, memory and its prediction."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harken.core import InputError
from harken.core.files import sha256_file
from harken.data.batch import Batch
from harken.models.family import CtcModel, ModelFamily
from harken.models.recurrent import RecurrentSettings
from harken.tracking.run import read_events, read_metrics
from harken.training import run as runs
from harken.training.assembly import Assembler
from harken.training.recipe import Recipe
from harken.training.run import plan_run, resume, train
from harken.training.update import Updater

MakeRecipe = Callable[..., Recipe]
# The tones last 0.3, 0.45, 0.6 and 0.75 s, six of each.
PLANNED = "batches={edges_s: [0.35, 0.61], batch_sizes: [4, 3], accumulate: 2}"
CHECKPOINTED = "training.gradient_checkpointing=true"


def weights(run: Path) -> str:
    return sha256_file(run / "model" / "model.safetensors")


def test_planned_buckets_and_who_is_beyond_them(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(PLANNED, "training.updates=2")
    plan = plan_run(recipe)
    assert plan["buckets"] == [{"upper_edge_s": 0.35, "batch_size": 4}, {"upper_edge_s": 0.61, "batch_size": 3}]
    assert (plan["train_utterances"], plan["validation_utterances"]) == (18, 6)
    assert plan["rejected"] == {"longer than max_duration_s": 6}
    assert plan["batches_per_update"] == 2
    assert plan["stages"][0]["updates_per_epoch"] == 3  # of two and four batches
    outcome = train(recipe, tmp_path / "run")
    assert outcome.rejected == {"longer than max_duration_s": 6}
    lines = [json.loads(line) for line in (tmp_path / "run" / "rejected-train.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"train-{number:02d}" for number in range(3, 24, 4)]


def test_a_sample_limit_is_drawn_from_what_fits(tiny_recipe: MakeRecipe) -> None:
    assert plan_run(tiny_recipe(PLANNED, "data.train_samples=12"))["train_utterances"] == 12


def test_validation_batches_have_a_length_of_their_own(tiny_recipe: MakeRecipe) -> None:
    def sizes(*overrides: str) -> list[int]:
        _, data = Assembler(tiny_recipe(*overrides)).assemble(None)
        return [len(batch) for batch in data.validation_set.batches()]

    assert sizes() == [6]
    assert sizes("training.validation_batch_s=1.2") == [1, 2, 2, 1]  # 0.75; 0.6 and 0.45; 0.45 and 0.3; 0.3
    assert sizes("training.validation_batch_s=0.1") == [1] * 6


@pytest.mark.parametrize("family", ["recurrent-ctc", "conformer-ctc"])
def test_gradient_checkpointing_changes_no_bit_of_a_run(tiny_recipe: MakeRecipe, tmp_path: Path, family: str) -> None:
    settings = "{width: 16, layers: 2, dropout: 0.2}"
    options = ("training.updates=6", "model={family: " + family + ", settings: " + settings + "}")
    plain, checkpointed = tmp_path / "plain" / "run", tmp_path / "checkpointed" / "run"
    train(tiny_recipe(*options), plain)
    train(tiny_recipe(*options, CHECKPOINTED), checkpointed)
    names = sorted(path.name for path in (plain / "model").iterdir())
    assert names == sorted(path.name for path in (checkpointed / "model").iterdir())
    assert "model.safetensors" in names
    for name in names:
        assert (plain / "model" / name).read_bytes() == (checkpointed / "model" / name).read_bytes(), name


class StopAfter(Updater):
    """A process that is killed in the middle of an update."""

    def run(self, update: int, batches: Any) -> Any:
        if update == 5:
            raise SystemExit
        return super().run(update, batches)


def test_a_killed_run_with_checkpointed_gradients_goes_on(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(CHECKPOINTED, PLANNED, "model.settings.dropout=0.2", "training.updates=8")
    train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "Updater", StopAfter)
        with pytest.raises(SystemExit):
            train(recipe, tmp_path / "run")
    resume(tmp_path / "run")
    assert [event["from_step"] for event in read_events(tmp_path / "run") if event["event"] == "resumed"] == [4]
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_a_family_that_cannot_is_refused_before_there_is_a_model(
    tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ForeignCtc(CtcModel):
        subsampling = 4

        def __init__(self, *_: object) -> None:
            super().__init__()
            self.output = torch.nn.Linear(16, 5)

    foreign = ModelFamily(name="foreign", settings_type=RecurrentSettings, build=ForeignCtc)
    monkeypatch.setattr("harken.training.starting_point.find_family", lambda name: foreign)
    with pytest.raises(InputError, match="A ForeignCtc cannot compute its layers again"):
        plan_run(tiny_recipe(CHECKPOINTED))


class ShortOfMemory(Updater):
    """The first piece of more than two utterances of each update does not fit."""

    def _losses(self, piece: Batch) -> Tensor:
        if len(piece) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. (injected)")
        return super()._losses(piece)


def test_a_failure_is_told_beside_the_plans_prediction(
    tiny_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"upper_edge_s": 0.35, "batch_size": 4, "peak_bytes": 1000},
        {"upper_edge_s": 0.61, "batch_size": 3, "peak_bytes": 2000},
    ]
    original = runs.predicted_peaks

    def with_plan(folder: Path, edges_s: Any) -> dict[int, int]:
        (folder / "plan.json").write_text(json.dumps({"buckets": rows}))
        return original(folder, edges_s)

    monkeypatch.setattr(runs, "Updater", ShortOfMemory)
    monkeypatch.setattr(runs, "predicted_peaks", with_plan)
    train(tiny_recipe(PLANNED, "training.updates=6"), tmp_path / "run")
    failures = [event for event in read_events(tmp_path / "run") if event["event"] == "out-of-memory"]
    assert {(event["bucket"], event["predicted_peak_bytes"], event["next_utterances"]) for event in failures} == {
        (0, 1000, 1 if failures[0]["utterances"] == 3 else 2),
        (1, 2000, 1),
    }


def test_lines_of_the_log_have_the_resident_memory(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(tiny_recipe("training.updates=4"), tmp_path / "run")
    lines = [row for row in read_metrics(tmp_path / "run") if "train_loss" in row]
    assert len(lines) == 2
    assert all(0.1 < row["memory_resident_gib"] < 20 for row in lines)


def test_a_checkpoint_knows_how_many_batches_make_an_update(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(tiny_recipe(PLANNED, "training.updates=4"), tmp_path / "run")
    state = json.loads((tmp_path / "run" / "checkpoints" / "step-000004" / "state.json").read_text())
    assert state["data"]["accumulate"] == [2]
