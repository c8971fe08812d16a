"""Plans as recipes."""

from pathlib import Path
from typing import Any

import pytest

from harken.autoconfig.model import TrainedParts, planned_model
from harken.autoconfig.recipe_blocks import planned_recipe
from harken.core import InputError, parse_settings
from harken.models.adapters import AdapterConfig
from harken.testing.random_models import random_whisper
from harken.training.recipe import Recipe


def test_the_plan_decides_batches_and_training(planning: Any) -> None:
    plan = planning.World(memory_bytes=6000 * planning.MB).plan(planning.log_normal(2000), learning_rate=1e-4)
    blocks = planned_recipe(plan, planned_model("wav2vec2-base"), train="a.jsonl", validation="b.jsonl")
    recipe = parse_settings(Recipe, blocks, source="test")
    assert (recipe.data.train, recipe.data.validation) == ("a.jsonl", "b.jsonl")
    assert recipe.data.max_duration_s == plan.max_audio_duration_seconds
    assert recipe.model.pretrained == "facebook/wav2vec2-base"
    assert recipe.batches.edges_s == tuple(row.upper_edge_s for row in plan.buckets)
    assert recipe.batches.batch_sizes == tuple(row.batch_size for row in plan.buckets)
    assert recipe.batches.accumulate == plan.gradient_accumulation_steps
    assert (recipe.optimizer.learning_rate, recipe.training.epochs) == (1e-4, 20)
    assert (recipe.training.precision, recipe.training.device) == ("bf16", "auto")
    assert recipe.training.evaluate_every == recipe.training.checkpoint_every == plan.eval_steps
    assert recipe.training.validation_batch_s == plan.evaluation_batch_size * plan.buckets[-1].upper_edge_s


def test_what_is_trained_goes_into_the_model_block(planning: Any, tmp_path: Path) -> None:
    plan = planning.World(device="cpu").plan([5.0] * 64)
    frozen = planned_model("whisper-tiny", parts=TrainedParts(way="frozen-encoder"))
    blocks = planned_recipe(plan, frozen, train="a", validation="b", samples={"train_samples": 50})
    assert blocks["model"] == {"pretrained": "openai/whisper-tiny", "freeze": ["model.encoder"]}
    assert (blocks["data"]["train_samples"], blocks["training"]["device"]) == (50, "cpu")
    random_whisper(tmp_path / "model")
    parts = TrainedParts(way="lora", adapter=AdapterConfig(rank=4), keep=("model.decoder.layer_norm",))
    block = planned_recipe(plan, planned_model(tmp_path / "model", parts=parts), train="a", validation="b")["model"]
    assert block["pretrained"] == str(tmp_path / "model")
    assert (block["adapter"]["rank"], block["train_beside_adapter"]) == (4, ["model.decoder.layer_norm"])


def test_a_model_without_a_place_to_start_from_is_refused(planning: Any) -> None:
    plan = planning.World().plan([5.0] * 64)
    with pytest.raises(InputError, match="folder or hub id"):
        planned_recipe(plan, planned_model("stt_en_conformer_ctc_small"), train="a", validation="b")
