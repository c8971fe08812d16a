"""The plan as a file, and as an answer to "why?"."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.autoconfig.plan import Plan, check_same, decided_names, planning_versions, read_plan, rounded
from harken.core import InputError

DESIGNED = [
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "effective_batch_size",
    "fp16",
    "bf16",
    "gradient_checkpointing",
    "max_audio_duration_seconds",
    "dataloader_num_workers",
    "use_streaming",
    "cache_audio",
    "eval_steps",
    "save_steps",
    "logging_steps",
    "num_epochs",
    "learning_rate",
    "safety_margin",
    "buckets",
    "memory",
]


@pytest.fixture(scope="module")
def plan(planning: Any) -> Plan:
    made: Plan = planning.World().plan([*planning.log_normal(3000), 10_800.0], price_per_hour=2.5)
    return made


def edited(plan: Plan, path: Path, edit: Any) -> Path:
    data = plan.as_json()
    edit(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_it_has_the_keys_that_the_design_names(plan: Plan) -> None:
    assert set(DESIGNED) <= set(plan.as_json())


def test_what_is_written_is_read_back_and_written_the_same(plan: Plan, tmp_path: Path) -> None:
    first, second = tmp_path / "configs" / "training_config.json", tmp_path / "again.json"
    plan.write(first)
    read = read_plan(first)
    read.write(second)
    assert first.read_bytes() == second.read_bytes()
    assert read.as_json() == plan.as_json()


def test_every_value_has_one_decision_that_holds_it(plan: Plan) -> None:
    values = plan.as_json()
    assert [decision.name for decision in plan.decisions] == decided_names()
    for decision in plan.decisions:
        assert decision.rule.endswith("."), decision.name
        if decision.name == "buckets":
            rows = values["buckets"]
            assert decision.value["edges_s"] == [row["upper_edge_s"] for row in rows]
            assert decision.value["batch_sizes"] == [row["batch_size"] for row in rows]
        elif decision.name == "rejected":
            assert decision.value == {key: values["rejected"][key] for key in ("utterances", "seconds")}
        else:
            assert decision.value == values[decision.name]


def test_an_explanation_gives_value_rule_and_inputs(plan: Plan) -> None:
    value, rule, *inputs = plan.explain("budget_bytes")
    assert value == "budget_bytes = 3400000000"
    assert rule.startswith("The memory of the device times the safety margin")
    assert inputs == ["  memory_bytes: 4000000000", "  safety_margin: 0.85"]


def test_a_long_list_is_cut_short_in_an_explanation(plan: Plan) -> None:
    sizes = plan.decision("buckets").value["batch_sizes"]
    assert len(sizes) > 12
    assert f"and {len(sizes) - 12} more" in plan.explain("buckets")[0]


def test_a_name_that_is_not_decided_is_refused_with_the_nearest(plan: Plan) -> None:
    with pytest.raises(InputError, match=r"nothing called 'batch_size'\. Did you mean .*batch_size"):
        plan.explain("batch_size")
    with pytest.raises(InputError, match="It decides per_device_train_batch_size"):
        plan.explain("zzz")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda data: data.update(eval_step=3), "eval_step is not a setting; did you mean 'eval_steps'"),
        (lambda data: data.pop("epoch_s"), "epoch_s is missing"),
        (lambda data: data["buckets"][0].update(batch_size="many"), r"buckets\.0\.batch_size is 'many'"),
        (lambda data: data.update(format=7), "format is 7"),
        (lambda data: data["decisions"].pop(0), "none, or several, for per_device_train_batch_size"),
        (lambda data: data["decisions"].append(data["decisions"][3]), "none, or several, for fp16"),
        (lambda data: data["buckets"].reverse(), "use ascending ones"),
    ],
)
def test_a_broken_file_is_refused_with_the_key(plan: Plan, tmp_path: Path, edit: Any, said: str) -> None:
    path = edited(plan, tmp_path / "broken.json", edit)
    with pytest.raises(InputError, match=said) as caught:
        read_plan(path)
    assert "broken.json" in str(caught.value)


def test_what_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json does not exist\. Make one with harken plan\."):
        read_plan(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text("batch size: 3", encoding="utf-8")
    with pytest.raises(InputError, match=r"text\.json cannot be read as JSON"):
        read_plan(tmp_path / "text.json")
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"list\.json"):
        read_plan(tmp_path / "list.json")


def test_a_plan_for_the_same_passes_and_the_name_alone_does_not_matter(plan: Plan) -> None:
    check_same(plan, plan.model, plan.dataset["sha256"])
    check_same(plan, {**plan.model, "name": "a-copy"}, plan.dataset["sha256"], versions=planning_versions())


def test_each_difference_is_named(plan: Plan) -> None:
    other = {**plan.model, "sha256": "0ther", "trained": 5}
    versions = {**planning_versions(), "torch": "1.0"}
    with pytest.raises(InputError) as caught:
        check_same(plan, other, "0123456789abcdef", versions=versions)
    text = str(caught.value)
    assert "model sha256 (plan: 5eed, now: 0ther)" in text
    assert "model trained (plan: 90000000, now: 5)" in text
    assert "dataset (plan: train.jsonl, sha256 " in text
    assert "now: 0123456789ab)" in text
    assert f"torch (plan: {planning_versions()['torch']}, now: 1.0)" in text
    assert "model name" not in text
    assert "harken (" not in text


def test_the_build_of_torch_is_no_difference() -> None:
    assert "+" not in planning_versions()["torch"]


@pytest.mark.parametrize(
    ("bf16", "fp16", "name"), [(True, False, "bf16"), (False, True, "fp16"), (False, False, "fp32")]
)
def test_precision_as_a_recipe_names_it(plan: Plan, bf16: bool, fp16: bool, name: str) -> None:
    assert replace(plan, bf16=bf16, fp16=fp16).precision == name


def test_floats_keep_nine_digits() -> None:
    assert rounded({"a": (1 / 3, 2), "b": 1234567890.5}) == {"a": [0.333333333, 2], "b": 1234567890.0}
