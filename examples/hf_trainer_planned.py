"""A script for the Trainer of transformers, with its settings planned instead of guessed.

    python examples/hf_trainer_planned.py [--before] [--out FOLDER]

It trains a small wav2vec2 with random weights for a few updates on tones, so nothing is downloaded and nothing useful
is learnt. `--before` runs the same script as it was, with settings set by hand: `arguments_by_hand` is all it had in
the place of `planned_arguments` and `PlannedTrainer`. Harken predicts its own training step; the Trainer's takes up to
15 % more for a wav2vec2.
"""

import argparse
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import harken
from harken.autoconfig import planned_batch_sampler
from harken.core.units import format_bytes

RATE_HZ = 16_000
LETTERS = "abcdefgh"  # each sounds as a tone of its own, for a quarter of a second
UPDATES = 4


def make_dataset(utterances: int = 160, seed: int = 0) -> datasets.Dataset:
    """Words of 2 to 16 letters, in tones."""
    draw, times_s = np.random.default_rng(seed), np.arange(RATE_HZ // 4) / RATE_HZ
    rows = []
    for _ in range(utterances):
        letters = draw.integers(len(LETTERS), size=draw.integers(2, 17))
        waveform = np.concatenate([0.3 * np.sin(2 * np.pi * 300 * (1 + letter) * times_s) for letter in letters])
        rows.append(
            {
                "input_values": waveform.astype(np.float32),
                "labels": letters + 1,
                "text": "".join(LETTERS[letter] for letter in letters),
                "duration": len(waveform) / RATE_HZ,
            }
        )
    return datasets.Dataset.from_list(rows)


def make_model(seed: int = 0) -> Any:
    """A wav2vec2 with a CTC output, its convolutions frozen as usual."""
    torch.manual_seed(seed)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(LETTERS) + 1, pad_token_id=0, conv_dim=(64,) * 7, hidden_size=192, num_hidden_layers=4,
        num_attention_heads=4, intermediate_size=768, mask_time_prob=0.0, layerdrop=0.0, ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForCTC(config)
    model.freeze_feature_encoder()
    return model


def pad(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch: samples padded with silence, labels with what the loss leaves out."""
    samples = [torch.as_tensor(item["input_values"]) for item in items]
    labels = [torch.as_tensor(item["labels"]) for item in items]
    return {
        "input_values": torch.nn.utils.rnn.pad_sequence(samples, batch_first=True),
        "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
    }


def arguments_by_hand(out: Path) -> transformers.TrainingArguments:
    """Before: a batch size that did not run out of memory, found by trying."""
    return transformers.TrainingArguments(
        output_dir=str(out), per_device_train_batch_size=4, gradient_accumulation_steps=2, learning_rate=3e-4,
        max_steps=UPDATES, save_strategy="no", logging_steps=1, use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )  # fmt: skip


def planned_arguments(config: Any, out: Path) -> transformers.TrainingArguments:
    """After: the plan's, but only a few updates of it, without an evaluation."""
    arguments: transformers.TrainingArguments = config.to_training_arguments(
        out, bucketed=True, max_steps=UPDATES, eval_strategy="no", save_strategy="no", dataloader_num_workers=0,
        disable_tqdm=True,
    )  # fmt: skip
    return arguments


class PlannedTrainer(transformers.Trainer):
    """The Trainer with the plan's batches: short utterances many at once, long ones few."""

    def __init__(self, *, config: Any, **options: Any) -> None:
        super().__init__(**options)
        self.config = config

    def get_train_dataloader(self) -> Any:
        sampler = planned_batch_sampler(self.train_dataset["duration"], self.config, seed=self.args.seed)
        return self.accelerator.prepare(
            torch.utils.data.DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator)
        )


def print_plan(config: Any) -> None:
    """The values people ask for first."""
    for name in (
        "per_device_train_batch_size", "gradient_accumulation_steps", "effective_batch_size", "fp16", "bf16",
        "gradient_checkpointing", "max_audio_duration_seconds", "updates_per_epoch",
    ):  # fmt: skip
        print(f"{name:30} {config[name]}")
    print(f"{'buckets':30} " + ", ".join(f"{row.batch_size} up to {row.upper_edge_s:g} s" for row in config.buckets))
    print(config.explain("gradient_checkpointing"))


def predicted_bytes(config: Any) -> int:
    """What `train_measured` should find: on a CPU, the run's own beyond the weights and the process as it was."""
    kinds = config.memory
    own: int = kinds["gradients"] + kinds["optimizer"] + kinds["activations"]
    return config.peak_bytes if torch.cuda.is_available() else own


class TensorBytes(TorchDispatchMode):
    """Follows the bytes of tensors that are made while it is active; `peak` is the most at a time."""

    def __init__(self, before: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.alive: dict[int, Any] = {tensor.untyped_storage()._cdata: None for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.alive:
                storage = tensor.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                self.now += size
                self.peak = max(self.peak, self.now)
                self.alive[key] = weakref.ref(storage, lambda _, key=key, size=size: self.freed(key, size))
        return out

    def freed(self, key: int, size: int) -> None:
        del self.alive[key]
        self.now -= size


def train_measured(trainer: transformers.Trainer) -> int:
    """Train; returns the most bytes that tensors took beyond the model's own, or all that a GPU had reserved."""
    if torch.cuda.is_available():
        trainer.train()
        return torch.cuda.max_memory_reserved()
    with TensorBytes([*trainer.model.parameters(), *trainer.model.buffers()]) as tensors:
        trainer.train()
    return tensors.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", action="store_true", help="with settings set by hand")
    parser.add_argument("--out", type=Path, default=Path("hf_trainer_planned"))
    chosen = parser.parse_args()
    train_set, model = make_dataset(), make_model()
    options = {"model": model, "train_dataset": train_set, "data_collator": pad}
    if chosen.before:
        measured = train_measured(transformers.Trainer(args=arguments_by_hand(chosen.out), **options))
        print(f"took {format_bytes(measured)}")
        return
    config, _ = harken.create_optimal_config(train_set, model, target_batch_size=8)
    config.save(chosen.out / "training_config.json")
    print_plan(config)
    trainer = PlannedTrainer(config=config, args=planned_arguments(config, chosen.out), **options)
    measured = train_measured(trainer)
    print(f"predicted at the peak: {format_bytes(predicted_bytes(config))}")
    print(f"measured in {UPDATES} updates: {format_bytes(measured)}")


if __name__ == "__main__":
    main()
