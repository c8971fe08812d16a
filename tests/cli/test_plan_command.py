"""`harken plan`: the tables people read, the JSON programs read, the file a run takes, and what is refused."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harken.core import MissingPart

from .conftest import Harken

pytest.importorskip("transformers", reason="needs the extra `train`")

CONFIG = {
    "model_type": "wav2vec2", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
SECONDS = [round(1.0 + 0.37 * number, 2) for number in range(40)]


def lines(durations_s: list[float], **values: Any) -> str:
    rows = [
        {"id": f"utt-{number:02d}", "audio": f"{number:02d}.wav", "duration_s": seconds, "text": "salom dunyo"}
        for number, seconds in enumerate(durations_s)
    ]
    return "".join(json.dumps(row | values) + "\n" for row in rows)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifests of odd kinds, and a model of which there is only the config.json."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "small").mkdir()
    (desk / "small" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (desk / "nothing").mkdir()
    (desk / "train.jsonl").write_text(lines(SECONDS), encoding="utf-8")
    (desk / "far.jsonl").write_text(lines([*SECONDS, 10_800.0]), encoding="utf-8")
    (desk / "empty.jsonl").touch()
    (desk / "unknown.jsonl").write_text(lines(SECONDS, duration_s=None), encoding="utf-8")
    return desk


@pytest.fixture(scope="module")
def laws_once() -> Iterator[None]:
    """The steps of a model on a device are followed for the first plan only: they are the slow part."""
    from harken.autoconfig.model import PlannedModel

    made: dict[tuple[str, str, float], Any] = {}
    follow = PlannedModel.laws

    def laws(model: Any, hardware: Any, *, utilisation: float) -> Any:
        key = (model.profile.sha256, hardware.name, utilisation)
        if key not in made:
            made[key] = follow(model, hardware, utilisation=utilisation)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlannedModel, "laws", laws)
        yield


@pytest.fixture
def desk(prepared: Path, laws_once: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    return prepared


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.autoconfig.hardware._machine_gpu", lambda host, run: None)


def test_people_get_a_table_and_the_file_is_what_the_plan_writes(harken: Harken, desk: Path) -> None:
    from harken.autoconfig.plan import decided_names, read_plan

    command = ["plan", "--data", "train.jsonl", "--model", "small", "--gpu", "t4", "--out"]
    answer = harken(*command, "new/plan.json", "--picture", "new/plan.png")
    assert answer.code == 0
    plan = read_plan("new/plan.json")
    shown = dict(re.findall(r"^  (\S+)  +(.*)$", answer.out, re.MULTILINE))
    for name in set(decided_names()) - {"buckets", "memory", "rejected"}:
        assert name in shown, name
    assert shown["budget_bytes"] == "12.4 GiB"
    assert (shown["fp16"], shown["bf16"], shown["num_epochs"]) == ("yes", "no", "20")
    assert shown["per_device_train_batch_size"] == str(plan.per_device_train_batch_size)
    table = answer.out[answer.out.index("Buckets") :].splitlines()[2:]
    assert [float(row.split()[0]) for row in table[: len(plan.buckets)]] == [row.upper_edge_s for row in plan.buckets]
    assert [int(row.split()[3]) for row in table[: len(plan.buckets)]] == [row.batch_size for row in plan.buckets]
    assert "Left out (rejected): nothing" in answer.out
    assert answer.err.splitlines()[-2:] == ["plan: new/plan.json", "picture: new/plan.png"]
    assert Path("new/plan.png").read_bytes().startswith(b"\x89PNG")
    plan.write("new/rewritten.json")
    assert harken(*command, "new/again.json", "--json").json == plan.as_json()
    assert len({Path(f"new/{name}.json").read_bytes() for name in ("plan", "rewritten", "again")}) == 1


def test_options_reach_the_plan(harken: Harken, desk: Path) -> None:
    given = (
        "--gpu 24GiB --way lora --units 40 --margin 0.9 --target-audio-s 60 --epochs 3 --learning-rate 1e-4 "
        "--precision fp32 --checkpointing on --max-duration 10 --utilisation 0.5 --price-per-hour 2"
    )
    plan = harken("plan", "--data", "train.jsonl", "--model", "small", *given.split(), "--json").json
    assert (plan["safety_margin"], plan["target_audio_s"], plan["num_epochs"]) == (0.9, 60.0, 3)
    assert (plan["learning_rate"], plan["fp16"], plan["bf16"]) == (1e-4, False, False)
    assert (plan["gradient_checkpointing"], plan["max_audio_duration_seconds"]) == (True, 9.88)
    assert (plan["model"]["way"], plan["model"]["output_units"]) == ("lora", 40)
    assert plan["model"]["trained"] < plan["model"]["parameters"]
    assert plan["hardware"]["memory_bytes"] == 24 * 2**30
    assert plan["cost"] == pytest.approx(2 * plan["training_s"] / 3600)
    assert plan["rejected"]["utterances"] == sum(seconds > 10 for seconds in SECONDS)


def test_one_value_explained(harken: Harken, desk: Path) -> None:
    command = ["plan", "--data", "train.jsonl", "--model", "small", "--gpu", "t4", "--explain", "budget_bytes"]
    answer = harken(*command)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "budget_bytes = 13280215040",
        "The memory of the device times the safety margin; the rest is left to the system and to fragmentation.",
        "  memory_bytes: 15623782400",
        "  safety_margin: 0.85",
    ]
    decision = harken(*command, "--json").json
    assert decision["inputs"] == {"memory_bytes": 15_623_782_400, "safety_margin": 0.85}


def test_several_are_compared(harken: Harken, desk: Path) -> None:
    command = ["plan", "--data", "train.jsonl", "--model", "small", "--gpu", "t4", "--gpu", "520MiB"]
    found = harken(*command, "--json").json
    assert [(item["hardware"][:9], item["fits"]) for item in found] == [("NVIDIA T4", True), ("520 MiB G", False)]
    assert (found[0]["precision"], found[0]["left_out"], found[0]["cost"]) == ("fp16", 0, None)
    assert found[0]["peak_bytes"] <= found[0]["budget_bytes"]
    assert found[1]["peak_bytes"] is None
    assert "The smallest card on which it would fit is " in found[1]["refusal"]
    answer = harken(*command)
    head, fitting, small, blank, reason = answer.out.splitlines()
    assert re.split(r"  +", head) == [
        "model", "way", "device", "fits", "precision", "checkpointing", "batch", "peak", "left out", "audio s/s",
        "hours", "cost",
    ]  # fmt: skip
    assert re.split(r"  +", fitting)[:6] == ["small", "full", "NVIDIA T4", "yes", "fp16", "off"]
    assert re.split(r"  +", small)[-1] == "no"
    assert (blank, reason) == ("", found[1]["refusal"])


def test_a_preset_says_how_much(harken: Harken, desk: Path) -> None:
    many = [2.0 + number % 7 for number in range(600)]
    Path("many.jsonl").write_text(lines(many), encoding="utf-8")
    command = ["plan", "--data", "many.jsonl", "--model", "small", "--gpu", "t4", "--preset", "demo", "--json"]
    answer = harken(*command)
    plan = answer.json
    assert (plan["preset"], plan["num_epochs"], plan["dataset"]["utterances"]) == ("demo", 2, 500)
    assert sum(row["utterances"] for row in plan["buckets"]) == 500
    assert answer.err == "The preset demo trains on 500 of 600 utterances.\n"
    assert harken(*command, "--epochs", "4").json["num_epochs"] == 4


def test_without_a_gpu_the_plan_is_for_the_processor_and_says_so(harken: Harken, desk: Path, no_gpu: None) -> None:
    answer = harken("plan", "--data", "train.jsonl", "--model", "small", "--json")
    assert answer.code == 0
    assert (answer.json["hardware"]["device"], answer.json["fp16"], answer.json["bf16"]) == ("cpu", False, False)
    assert answer.err == "No GPU was found here, so the plan is for the processor. --gpu t4 plans for a card.\n"


def test_what_does_not_fit_is_named_with_its_cost(harken: Harken, desk: Path) -> None:
    answer = harken("plan", "--data", "far.jsonl", "--model", "small", "--gpu", "t4")
    assert answer.code == 0
    end = answer.out[answer.out.index("Left out") :].splitlines()
    assert end[0] == "Left out (rejected): 1 utterance, 3 h 00 min, longer than max_audio_duration_seconds"
    assert re.fullmatch(r"  utt-40 +3 h 00 min +[\d.]+ TiB", end[2])
    assert len(end) == 3


def test_durations_that_the_manifest_lacks_come_from_the_files(harken: Harken, desk: Path, corpus: Path) -> None:
    bare = [json.loads(line) for line in (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in bare:
        del row["duration_s"]
        row["audio"] = str(corpus / row["audio"])
    Path("bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare), encoding="utf-8")
    answer = harken("plan", "--data", "bare.jsonl", "--model", "small", "--gpu", "t4")
    assert answer.code == 0
    assert "12 (12 without a duration in the manifest)" in answer.out
    assert "longest 1.0 s)" in answer.out


def test_the_cards(harken: Harken) -> None:
    answer = harken("plan", "--list-gpus")
    rows = [re.split(r"  +", row) for row in answer.out.splitlines()]
    assert rows[0] == ["--gpu", "card", "GiB", "capability", "fp32 TFLOPS", "fp16", "bf16", "GB/s"]
    assert ["a100-80gb", "NVIDIA A100 80GB", "79.1", "8.0", "19.5", "312", "312", "1935"] in rows
    assert ["t4", "NVIDIA T4", "14.6", "7.5", "8.1", "65", "-", "300"] in rows
    cards = {card["name"]: card for card in harken("plan", "--list-gpus", "--json").json}
    assert len(cards) == len(rows) - 1
    assert cards["t4"]["flops"] == {"fp32": 8.1e12, "fp16": 65e12}


T4 = "--model small --gpu t4 --data train.jsonl"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--model small", 2, "There is no data to plan for. Name the training manifest with --data."),
        ("--data train.jsonl --gpu t4", 2, "There is no model to plan for. Name one with --model"),
        ("--model small --gpu t4 --data absent.jsonl", 2, "absent.jsonl does not exist."),
        ("--model small --gpu t4 --data empty.jsonl", 2, "empty.jsonl holds no utterances."),
        ("--model small --gpu t4 --data nothing", 2, "nothing is a folder."),
        ("--model small --gpu t4 --data unknown.jsonl", 2, "has no duration, and its audio does not tell"),
        ("--data train.jsonl --model small --gpu t44", 2, "No graphics card called 't44' is known."),
        ("--data train.jsonl --model small --gpu 520MiB", 2, "The smallest card on which it would fit is"),
        ("--data train.jsonl --gpu t4 --model whisper-smal", 2, "Did you mean whisper-small"),
        ("--data train.jsonl --gpu t4 --model nothing", 3, "nothing has no config.json."),
        (f"{T4} --margin 0.5", 2, "safety_margin is 0.5; use a share of the memory from 0.7 to 0.95."),
        (f"{T4} --way half", 2, "way is 'half'; input should be 'full', 'frozen-encoder' or 'lora'."),
        (f"{T4} --precision half", 2, "precision is 'half'; input should be 'auto'"),
        (f"{T4} --precision bf16", 2, "precision is bf16, which NVIDIA T4 does not have."),
        (f"{T4} --checkpointing maybe", 2, "--checkpointing is 'maybe'. Use auto, on or off."),
        (f"{T4} --epochs 0", 2, "num_epochs is 0; use a number above 0."),
        (f"{T4} --preset demoo", 2, "Did you mean demo?"),
        (f"{T4} --target-batch-size 8 --target-audio-s 60", 2, "both say how large an update is. Keep one"),
        (f"{T4} --max-duration 0.5", 2, "The shortest utterance of train.jsonl lasts 1.00 s, and at most 0.5 s"),
        (f"{T4} --explain wer", 2, "--explain is 'wer', which no plan decides. Use one of per_device_train_batch_size"),
        (f"{T4} --picture plan.jpg", 2, "--picture is plan.jpg. Use a name that ends in .png or .svg."),
        (f"{T4} --out nothing", 2, "--out is nothing, and nothing is a folder."),
        (f"{T4} --gpu l4 --out two.json", 2, "are about one plan, and these are 2. Name one model"),
        ("--model whisper-tiny --units 40 --gpu t4 --data train.jsonl", 2, "--units is about a CTC output layer"),
    ],
)
def test_refused(harken: Harken, desk: Path, arguments: str, code: int, message: str) -> None:
    before = sorted(desk.rglob("*"))
    answer = harken("plan", *arguments.split())
    assert (answer.code, answer.out) == (code, ""), answer.err
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert sorted(desk.rglob("*")) == before


def test_without_torch_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harken.cli.plan import _models

    monkeypatch.setitem(sys.modules, "harken.autoconfig.model", None)
    with pytest.raises(MissingPart, match=r"Planning needs torch .* pip install 'harken\[train\]'"):
        _models(["openai/whisper-tiny"], [], None)
