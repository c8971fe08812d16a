"""What a recipe with a plan may not fix itself, and what a plan has no room for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, Utterance, parse_settings
from harken.training.plan_config import PlanConfig
from harken.training.planning import check_free, within_plan
from harken.training.preparation import Subset
from harken.training.recipe import Recipe, load_recipe

BASE: dict[str, Any] = {
    "name": "x",
    "data": {"train": "t.jsonl", "validation": "v.jsonl"},
    "training": {"epochs": 1},
}


def recipe(**blocks: Any) -> Recipe:
    return parse_settings(Recipe, {**BASE, **blocks}, source="test")


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ({"batches": {"edges_s": [2.0], "batch_sizes": [4]}}, "batches.edges_s"),
        ({"batches": {"batch_s": 60}}, "batches.batch_s"),
        ({"batches": {"accumulate": 2}}, "batches.accumulate"),
        ({"training": {"epochs": 1, "validation_batch_s": 30}}, "training.validation_batch_s"),
    ],
)
def test_what_the_plan_decides_is_not_given_too(blocks: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"plan and {named} are both given"):
        check_free(recipe(plan="auto", **blocks))


def test_targets_of_an_update_are_free() -> None:
    check_free(recipe(plan="auto", batches={"update_s": 60, "buckets": 5}))


def test_longer_utterances_than_the_last_bucket_are_rejected_by_name() -> None:
    utterances = tuple(Utterance(id=f"u{s}", audio="a.wav", duration_s=s, text="a") for s in (1.0, 3.0, 2.0))
    train = Subset(utterances=utterances, texts=("a", "b", "c"), labels=([1], [2], [3]), rejected=())
    planned = recipe(batches={"edges_s": [1.0, 2.0], "batch_sizes": [4, 2]})
    kept = within_plan(train, planned)
    assert [(u.id, text, ids) for u, text, ids in zip(kept.utterances, kept.texts, kept.labels, strict=True)] == [
        ("u1.0", "a", [1]),
        ("u2.0", "c", [3]),
    ]
    (left_out,) = kept.rejected
    assert (left_out.id, left_out.reason) == ("u3.0", "longer than max_duration_s")
    assert "3.000 s" in left_out.detail
    assert within_plan(kept, planned) is kept
    assert within_plan(train, recipe()) is train


def test_the_block_says_what_it_refuses() -> None:
    with pytest.raises(InputError, match=r"safety_margin is 0\.99; use a share from 0\.7 to 0\.95"):
        recipe(plan={"safety_margin": 0.99})
    with pytest.raises(InputError, match="file is given, and it has a memory"):
        recipe(plan={"file": "plan.json", "memory": "6GiB"})
    with pytest.raises(InputError, match="plan"):
        recipe(plan="always")


def test_a_planned_file_lies_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "name: x\ndata: {train: t.jsonl, validation: v.jsonl}\ntraining: {epochs: 1}\nplan: {file: plan.json}\n"
    )
    assert load_recipe(tmp_path / "r.yaml").plan == PlanConfig(file=str(tmp_path / "plan.json"))
    assert replace(load_recipe(tmp_path / "r.yaml", ["plan=auto"])).plan == "auto"
