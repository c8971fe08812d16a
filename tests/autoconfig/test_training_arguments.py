"""TrainingArguments from plans, and steps of the Trainer with them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments

from harken.autoconfig.batch_sampler import planned_batch_sampler
from harken.autoconfig.manager import create_optimal_config
from harken.autoconfig.plan import Plan
from harken.autoconfig.training_arguments import constant_batch_size, training_arguments
from harken.core import InputError, MissingPart
from harken.testing.random_models import random_wav2vec2, random_whisper

SECONDS = (1.0, 0.4, 0.9, 0.5, 0.8, 0.6, 0.7, 0.5, 1.0, 0.4, 0.9, 0.5)


LETTERS = "abcdefgh"


@pytest.fixture
def plan(planning: Any) -> Plan:
    made: Plan = planning.World(device="cpu").plan([5.0] * 640)
    return made


def test_the_plan_arrives_in_every_field(plan: Plan, tmp_path: Path) -> None:
    found = training_arguments(plan, tmp_path / "out", batch_size=10)
    assert type(found) is TrainingArguments
    assert found.output_dir == str(tmp_path / "out")
    assert (found.per_device_train_batch_size, found.per_device_eval_batch_size) == (10, plan.evaluation_batch_size)
    assert found.gradient_accumulation_steps == 3  # 160 s of an update are 3.2 batches of 50 s
    assert (found.fp16, found.bf16, found.use_cpu) == (False, False, True)
    assert (found.num_train_epochs, found.learning_rate, found.dataloader_num_workers) == (20, 3e-4, 1)
    # 64 batches an epoch are 22 updates
    assert (found.eval_steps, found.save_steps, found.logging_steps) == (22, 22, 5)
    assert {str(found.eval_strategy.value), str(found.save_strategy.value)} == {"steps"}
    assert (found.optim.value, found.max_grad_norm, found.weight_decay) == ("adamw_torch", 1.0, 0.01)
    assert (found.adam_beta1, found.adam_beta2) == (0.9, 0.999)
    assert (found.lr_scheduler_type.value, found.lr_scheduler_kwargs) == ("cosine_with_min_lr", {"min_lr": 1e-6})
    assert found.get_warmup_steps(1000) == 100
    assert found.save_total_limit == 3
    assert found.gradient_checkpointing is False
    assert found.train_sampling_strategy == "random"


def test_with_buckets_batches_and_accumulation_are_the_plans(plan: Plan, tmp_path: Path) -> None:
    found = training_arguments(plan, tmp_path, batch_size=10, bucketed=True, length_column="duration")
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (16, 2)
    assert found.eval_steps == plan.eval_steps == 20
    assert found.train_sampling_strategy == "random"


def test_lengths_are_grouped_where_the_column_is_known(plan: Plan, planning: Any, tmp_path: Path) -> None:
    found = training_arguments(plan, tmp_path, batch_size=10, length_column="duration")
    assert (found.train_sampling_strategy, found.length_column_name) == ("group_by_length", "duration")
    assert found.remove_unused_columns is False
    windowed = planning.World(device="cpu", model=planning.Shape(window_s=30.0, longest_tokens=448)).plan([5.0] * 64)
    found = training_arguments(windowed, tmp_path, batch_size=2, length_column="duration")
    assert type(found) is Seq2SeqTrainingArguments
    assert (found.train_sampling_strategy, found.predict_with_generate) == ("random", True)


def test_checkpointing_goes_by_its_newest_name(planning: Any, tmp_path: Path) -> None:
    plan = planning.World(device="cpu").plan([5.0] * 640, gradient_checkpointing=True)
    found = training_arguments(plan, tmp_path, batch_size=10)  # a deprecated name would warn, which is an error here
    assert found.gradient_checkpointing is True
    assert found.gradient_checkpointing_kwargs == {"use_reentrant": False}
    off = training_arguments(plan, tmp_path, batch_size=10, overrides={"gradient_checkpointing": False})
    assert off.gradient_checkpointing is False


def test_overrides_win_and_what_follows_from_a_batch_size_follows(plan: Plan, tmp_path: Path) -> None:
    chosen = {"per_device_train_batch_size": 4, "learning_rate": 1e-5, "eval_strategy": "no"}
    found = training_arguments(plan, tmp_path, batch_size=10, overrides=chosen)
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (4, 8)
    assert (found.learning_rate, found.eval_strategy.value, found.save_steps) == (1e-5, "no", 20)


def test_unknown_names_are_refused_with_the_near_ones(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no field 'evaluation_strategy'.*eval_strategy"):
        training_arguments(plan, tmp_path, batch_size=10, overrides={"evaluation_strategy": "no"})


def test_what_transformers_refuses_is_an_input_error(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="At most one of fp16 and bf16"):
        training_arguments(plan, tmp_path, batch_size=10, overrides={"fp16": True, "bf16": True})


def test_without_transformers_it_says_what_to_install(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPart, match=r"harken\[train\]"):
        training_arguments(plan, tmp_path, batch_size=10)


def test_without_accelerate_it_says_what_to_install(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.training_args.is_accelerate_available", lambda *_: False)
    with pytest.raises(MissingPart, match="pip install accelerate"):
        training_arguments(plan, tmp_path, batch_size=10)


def test_a_constant_batch_fits_beside_accumulated_gradients(planning: Any, plan: Plan) -> None:
    """By hand: a row of 5 s takes 126 MB; 3400 MB / 1.15 less 1000 of states and 200 of gradients hold 13 of them."""
    law = planning.World().law
    assert constant_batch_size(plan, law, at_most=64) == 13
    assert constant_batch_size(plan, law, at_most=4) == 4


def test_a_constant_batch_is_that_of_the_longest(planning: Any) -> None:
    """640 of 2 s and 20 of 20 s: rows of 20 s take 801 MB; 2 fit into 1756 MB."""
    plan = planning.World(device="cpu").plan([2.0] * 640 + [20.0] * 20)
    assert constant_batch_size(plan, planning.World().law, at_most=64) == 2
    assert max(row.batch_size for row in plan.buckets) > 10


def test_a_constant_batch_makes_no_more_than_an_update(planning: Any) -> None:
    """15 rows fit without gradients of a batch before, and an update of 14 utterances needs none."""
    plan = planning.World(device="cpu").plan([5.0] * 640, target_batch_size=14)
    assert constant_batch_size(plan, planning.World().law, at_most=64) == 14


def test_a_longest_that_fits_alone_only_needs_buckets(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bucketed=True"):
        training_arguments(plan, tmp_path, batch_size=0)
    assert training_arguments(plan, tmp_path, batch_size=0, bucketed=True).per_device_train_batch_size == 16


class Speech(torch.utils.data.Dataset[dict[str, Any]]):
    """Noise of these lengths, with labels in proportion."""

    def __init__(self, key: str, window_frames: int | None = None) -> None:
        self.key, self.window_frames = key, window_frames

    def __len__(self) -> int:
        return len(SECONDS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw = np.random.default_rng(index)
        shape = round(16_000 * SECONDS[index]) if self.window_frames is None else (80, self.window_frames)
        return {self.key: draw.normal(size=shape).astype(np.float32), "labels": draw.integers(2, 8, 5)}


class Seen:
    """Pads, and remembers the sizes of the batches it was given."""

    def __init__(self, key: str) -> None:
        self.key, self.sizes, self.longest_s = key, [], []  # type: ignore[var-annotated]

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.sizes.append(len(items))
        longest = max(item[self.key].shape[-1] for item in items)
        self.longest_s.append(longest / 16_000)
        padded = [
            np.pad(item[self.key], [(0, 0)] * (item[self.key].ndim - 1) + [(0, longest - item[self.key].shape[-1])])
            for item in items
        ]
        labels = np.stack([item["labels"] for item in items])
        return {self.key: torch.from_numpy(np.stack(padded)), "labels": torch.from_numpy(labels)}


TEXTS = [{"id": f"{n}", "audio": f"{n}.wav", "duration_s": s, "text": "abcde"} for n, s in enumerate(SECONDS)]
STEPS = {"max_steps": 2, "eval_strategy": "no", "save_strategy": "no", "logging_steps": 1, "dataloader_num_workers": 0}


def test_the_trainer_steps_with_whisper(tmp_path: Path) -> None:
    model = random_whisper(tmp_path / "model").train()
    config, _ = create_optimal_config(TEXTS, model, gpu="cpu", target_batch_size=4)
    found = config.to_training_arguments(tmp_path / "out", disable_tqdm=True, **STEPS)
    seen, before = Seen("input_features"), model.model.decoder.embed_tokens.weight.clone()
    trainer = Seq2SeqTrainer(
        model=model, args=found, train_dataset=Speech("input_features", window_frames=150), data_collator=seen
    )
    trainer.train()
    assert set(seen.sizes) == {config.constant_batch_size} == {4}
    assert trainer.state.global_step == 2
    assert np.isfinite(trainer.state.log_history[0]["loss"])
    assert not torch.equal(model.model.decoder.embed_tokens.weight, before)


def test_the_trainer_steps_with_wav2vec2(tmp_path: Path) -> None:
    model = random_wav2vec2(tmp_path / "model", letters=LETTERS).train()
    config, _ = create_optimal_config(TEXTS, model, gpu="cpu", target_batch_size=4)
    found = config.to_training_arguments(tmp_path / "out", disable_tqdm=True, **STEPS)
    seen = Seen("input_values")
    trainer = Trainer(model=model, args=found, train_dataset=Speech("input_values"), data_collator=seen)
    trainer.train()
    assert set(seen.sizes) == {config.constant_batch_size} == {4}
    assert np.isfinite(trainer.state.log_history[0]["loss"])


def test_the_trainer_groups_by_the_length_column(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{**Speech("input_values")[number], "duration": seconds} for number, seconds in enumerate(SECONDS)]
    table, model = datasets.Dataset.from_list(rows), random_wav2vec2(tmp_path / "model", letters=LETTERS)
    config, _ = create_optimal_config(table, model, gpu="cpu", target_batch_size=4)
    found = config.to_training_arguments(tmp_path / "out", **STEPS)
    seen = Seen("input_values")
    trainer = Trainer(model=model, args=found, train_dataset=table, data_collator=seen)
    assert list(trainer.get_train_dataloader().batch_sampler.sampler.lengths) == list(SECONDS)


def test_the_trainer_takes_the_planned_buckets(tmp_path: Path) -> None:
    model = random_wav2vec2(tmp_path / "model", letters=LETTERS).train()
    config, _ = create_optimal_config(TEXTS, model, gpu="cpu", target_batch_size=4, buckets=2)
    seen, sampler = Seen("input_values"), planned_batch_sampler(SECONDS, config)

    class Bucketed(Trainer):
        def get_train_dataloader(self) -> Any:
            loader = torch.utils.data.DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=seen)
            return self.accelerator.prepare(loader)

    found = config.to_training_arguments(
        tmp_path / "out", bucketed=True, disable_tqdm=True, **{**STEPS, "max_steps": -1, "num_train_epochs": 2}
    )
    trainer = Bucketed(model=model, args=found, train_dataset=Speech("input_values"), data_collator=seen)
    trainer.train()
    sizes = {row.upper_edge_s: row.batch_size for row in config.buckets}
    assert sum(seen.sizes) == 2 * len(SECONDS)
    for size, longest_s in zip(seen.sizes, seen.longest_s, strict=True):
        assert size <= min(most for edge_s, most in sizes.items() if longest_s <= edge_s + 1e-3)
    assert sampler.epoch == 2
