"""`harken models variants`: the table a person reads, the JSON a program reads, and wrong names."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

Harken = Callable[..., Any]


def test_the_table(harken: Harken) -> None:
    answer = harken("models", "variants", "whisper-tiny", "openai/whisper-large-v3")
    assert answer.code == 0
    assert [re.split(r"  +", line) for line in answer.out.splitlines()] == [
        ["name", "hub id", "parameters", "weights MB", "full GB", "LoRA GB", "CPU", "T4 16 GB", "24 GB", "A100 80 GB"],
        ["whisper-tiny", "openai/whisper-tiny", "37,760,640", "151", "0.6", "0.2", *["full"] * 4],
        ["whisper-large-v3", "openai/whisper-large-v3", "1,543,490,560", "6,174", "24.7", "6.4", "-", "lora", "lora",
         "full"],
    ]  # fmt: skip
    assert "Memory without activations" in answer.err


def test_json(harken: Harken) -> None:
    answer = harken("models", "variants", "--json")
    assert (answer.code, answer.err) == (0, "")
    models = {item["name"]: item for item in answer.json}
    assert len(models) > 25
    small = models["whisper-small"]
    assert (small["hub_id"], small["family"], small["parameters"]) == ("openai/whisper-small", "whisper", 241_734_912)
    assert (small["config"]["d_model"], small["dimensions"]) == (768, 80)
    assert small["weights_bytes"] == 4 * 241_734_912
    assert small["full_bytes"] == 16 * 241_734_912 - 12 * 1500 * 768  # the table of positions is not trained
    assert small["lora_bytes"] == 4 * 241_734_912 + 16 * small["lora_parameters"]
    assert small["machines"] == {"CPU": None, "T4 16 GB": "full", "24 GB": "full", "A100 80 GB": "full"}
    assert models["stt_hi_conformer_ctc_medium"]["hub_id"] is None


def test_a_folder_of_ones_own(harken: Harken, model: Path) -> None:
    answer = harken("models", "variants", model, "--json")
    assert answer.code == 0
    [item] = answer.json
    assert (item["hub_id"], item["family"], item["config"]["width"]) == (None, "recurrent-ctc", 16)
    assert (item["lora_bytes"], item["machines"]["CPU"]) == (None, "full")  # no Linear layer to put LoRA on
    assert harken("models", "variants", model).out.split()[-5:] == ["-", "full", "full", "full", "full"]


def test_an_unknown_name(harken: Harken) -> None:
    answer = harken("models", "variants", "whisper-tinny")
    assert (answer.code, answer.out) == (2, "")
    assert "No model is known as 'whisper-tinny'. Did you mean whisper-tiny" in answer.err
