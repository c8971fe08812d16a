"""`plan: auto` in a recipe: planned by itself, recorded, trained, resumed without planning again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from harken.core import InputError, parse_settings
from harken.tracking.run import read_events
from harken.training import Recipe, plan_run, resume, train
from harken.training.loop import Interrupted


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    lines = []
    for place, duration_s in enumerate(np.linspace(1.0, 4.0, 24).round(2).tolist()):
        path = folder / f"{place}.flac"
        soundfile.write(path, 0.1 * generator.standard_normal(round(duration_s * 16_000)), 16_000)
        lines.append({"id": str(place), "audio": str(path), "duration_s": duration_s, "text": "ab ba"})
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "validation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:3]))
    return folder


def recipe(folder: Path, **blocks: Any) -> Recipe:
    content = {
        "name": "planned",
        "data": {"train": str(folder / "train.jsonl"), "validation": str(folder / "validation.jsonl")},
        "model": {"family": "conformer-ctc", "settings": {"layers": 2, "width": 32, "heads": 4}},
        "plan": "auto",
        "batches": {"update_samples": 8, "buckets": 3},
        "training": {"epochs": 1, "device": "cpu", "threads": 1},
        **blocks,
    }
    return parse_settings(Recipe, content, source="test")


def test_a_planned_run_records_its_plan_and_its_recipe(manifests: Path, tmp_path: Path) -> None:
    outcome = train(recipe(manifests), tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    saved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert saved["plan"] is None
    assert saved["batches"]["edges_s"] == [row["upper_edge_s"] for row in plan["buckets"]]
    assert saved["batches"]["batch_sizes"] == [row["batch_size"] for row in plan["buckets"]]
    assert saved["training"]["precision"] == "fp32"
    assert sum(row["utterances"] for row in plan["buckets"]) == 24
    assert plan["hardware"]["device"] == "cpu"
    assert outcome.state.update == plan["updates_per_epoch"]
    assert [event["event"] for event in read_events(tmp_path / "run")].count("planned") == 1
    again = tmp_path / "again"
    train(recipe(manifests), again)
    assert (again / "plan.json").read_bytes() == (tmp_path / "run" / "plan.json").read_bytes()


def test_a_resumed_run_is_not_planned_again(manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe(manifests, training={"epochs": 2, "device": "cpu", "threads": 1, "evaluate_every": 2})
    whole = train(chosen, tmp_path / "whole")
    from harken.training.loop import TrainingLoop

    one_update = TrainingLoop._one_update

    def interrupted(self: TrainingLoop, update: int, stream: Any) -> None:
        one_update(self, update, stream)
        if update == 2:
            self._interrupt()

    monkeypatch.setattr(TrainingLoop, "_one_update", interrupted)
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "run")
    monkeypatch.undo()
    before = (tmp_path / "run" / "plan.json").read_bytes()
    monkeypatch.setattr("harken.training.assembly.find_planner", lambda: pytest.fail("planned again"))
    resume(tmp_path / "run")
    assert (tmp_path / "run" / "plan.json").read_bytes() == before
    name = "model/model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_little_memory_makes_small_batches_and_rejects_what_does_not_fit(manifests: Path, tmp_path: Path) -> None:
    rows = {}
    for memory in ("4GiB", "0.81GiB"):
        summary = plan_run(recipe(manifests, plan={"memory": memory}))
        rows[memory] = [row["batch_size"] for row in summary["buckets"]]
    assert sum(rows["0.81GiB"]) < sum(rows["4GiB"])
    with pytest.raises(InputError, match=r"does not fit|do not fit|needs"):
        plan_run(recipe(manifests, plan={"memory": "0.7GiB"}))


def test_memory_is_a_size_and_no_more_than_there_is(manifests: Path) -> None:
    with pytest.raises(InputError, match=r"plan\.memory is 't4'"):
        plan_run(recipe(manifests, plan={"memory": "t4"}))
    with pytest.raises(InputError, match=r"plan\.memory is 900GiB, but .* has"):
        plan_run(recipe(manifests, plan={"memory": "900GiB"}))


def test_verifying_takes_a_step_of_every_bucket(manifests: Path, tmp_path: Path) -> None:
    train(recipe(manifests, plan={"verify": True}), tmp_path / "verified")
    train(recipe(manifests), tmp_path / "plain")
    events = read_events(tmp_path / "verified")
    plan = json.loads((tmp_path / "verified" / "plan.json").read_text())
    assert [event["event"] for event in events].count("plan-verified") == len(plan["buckets"])
    name = "model/model.safetensors"
    assert (tmp_path / "verified" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
