"""Audio per second of a planned run against transformers' Trainer on the same GPU, model and utterances.

Both train one epoch that is not counted and one that is, from the same files and with random weights of the same size.
The rival finds its batch size by itself, from a large one down, groups utterances by length and reads features that
were made beforehand; Harken makes its own while it trains.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bench_training import WAV2VEC2_BASE, Collator
from benchmarks.clips import CHARACTERS_PER_S, LANGUAGE, LETTERS, SAMPLE_RATE_HZ, durations_s, nonsense, write_clips
from benchmarks.harness import peak_memory
from harken.autoconfig.dataset import profile_dataset
from harken.autoconfig.hardware import find_hardware
from harken.autoconfig.model import planned_model
from harken.autoconfig.plan import Plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core.files import write_json
from harken.data.manifest import write_manifest
from harken.models.variants import find_variant
from harken.testing import random_wav2vec2, random_whisper
from harken.text.vocabulary import read_json_object
from harken.training.assembly import Assembler
from harken.training.progress import SilentView, Standing
from harken.training.recipe import (
    BatchConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    Seq2SeqConfig,
    TrainingConfig,
)
from harken.training.run import train

CLIPS = 500  # recordings; every line of the manifest names one of them
UPDATE_S = 1_200.0  # of audio
FIRST_BATCH = 256  # that the rival tries
WORKERS = 4
LEARNING_RATE = 1e-5
WINDOW = {"max_source_positions": 1500, "max_target_positions": 448}  # Whisper's 30 s


@dataclass(frozen=True, kw_only=True)
class Case:
    """What both sides train, and on how many utterances."""

    model: str
    utterances: int
    config: Mapping[str, Any]


def cases(device: str) -> dict[str, Case]:
    """By name; on a CPU tiny ones."""
    if device == "cpu":
        return {
            "tiny wav2vec2": Case(model="wav2vec2", utterances=24, config={}),
            "tiny whisper": Case(model="whisper", utterances=12, config=WINDOW),
        }
    whisper = {key: value for key, value in find_variant("whisper-small").config.items() if key != "model_type"}
    return {
        "wav2vec2-base": Case(model="wav2vec2", utterances=8_000, config=WAV2VEC2_BASE),
        "whisper-small": Case(model="whisper", utterances=4_000, config=whisper),
    }


def compare(name: str, device: str) -> dict[str, Any]:
    """Both runs, each in a process of its own, and the ratio of what they train in a second."""
    with tempfile.TemporaryDirectory(prefix="harken-gpu-") as folder:
        peak_memory("benchmarks.gpu_training:prepare", name, device, folder, threads=WORKERS)
        runs = {
            side: peak_memory(
                f"benchmarks.gpu_training:train_with_{side}", name, device, folder, threads=WORKERS
            ).result
            for side in ("harken", "transformers")
        }
    harken, rival = runs["harken"], runs["transformers"]
    return {"ratio": harken["audio_per_s"] / rival["audio_per_s"], "harken": harken, "rival": rival}


def prepare(name: str, device: str, folder_name: str) -> None:
    """Recordings, manifests, a model, and the features and labels that the rival reads."""
    case, folder = cases(device)[name], Path(folder_name)
    if case.model == "whisper":
        random_whisper(folder / "model", languages=(LANGUAGE,), **case.config)
    else:
        random_wav2vec2(folder / "model", letters=LETTERS, **case.config)
    rate = CHARACTERS_PER_S[case.model]
    clips = [
        replace(clip, text=nonsense(clip.duration_s, characters_per_s=rate, seed=number))
        for number, clip in enumerate(write_clips(folder / "audio", durations_s(min(CLIPS, case.utterances))))
    ]
    lines = [replace(clips[place % len(clips)], id=str(place)) for place in range(case.utterances)]
    write_manifest(folder / "train.jsonl", lines)
    write_manifest(folder / "few.jsonl", clips)
    write_manifest(folder / "validation.jsonl", clips[:2])
    _write_features(case, folder)


def _write_features(case: Case, folder: Path) -> None:
    """Of every recording, end to end in one file."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    recipe = _recipe(case, folder, None, "cpu")
    assembler = Assembler(replace(recipe, data=replace(recipe.data, train=str(folder / "few.jsonl"))))
    train_set = assembler.assemble(None)[1].train
    kind = {"wav2vec2": Wav2Vec2FeatureExtractor, "whisper": WhisperFeatureExtractor}[case.model]
    extractor = kind() if case.model == "whisper" else kind.from_pretrained(folder / "model")
    samples = []
    with (folder / "features").open("wb") as file:
        for utterance in train_set.utterances:
            waveform = assembler.read_audio(utterance)
            (features,) = extractor(waveform, sampling_rate=SAMPLE_RATE_HZ)[extractor.model_input_names[0]]
            file.write(np.asarray(features, np.float32).tobytes())
            samples.append(len(waveform))
    write_json(folder / "rival.json", {"samples": samples, "labels": [list(ids) for ids in train_set.labels]})


def _recipe(case: Case, folder: Path, plan: Plan | None, device: str) -> Recipe:
    batches, training = BatchConfig(), TrainingConfig(epochs=3, device=device, precision="fp32")
    if plan is not None:
        batches = BatchConfig(
            edges_s=tuple(row.upper_edge_s for row in plan.buckets),
            batch_sizes=tuple(row.batch_size for row in plan.buckets),
            accumulate=plan.gradient_accumulation_steps,
        )
        training = replace(
            training,
            precision=plan.precision,
            gradient_checkpointing=plan.gradient_checkpointing,
            workers=max(1, plan.dataloader_num_workers),
            evaluate_every=3 * plan.updates_per_epoch,
        )
    return Recipe(
        name=case.model,
        data=DataConfig(
            train=str(folder / "train.jsonl"), validation=str(folder / "validation.jsonl"), check_audio="probe"
        ),
        model=ModelConfig(pretrained=str(folder / "model"), vocabulary="own"),
        seq2seq=Seq2SeqConfig(window="packed", language=LANGUAGE) if case.model == "whisper" else Seq2SeqConfig(),
        batches=batches,
        optimizer=OptimizerConfig(learning_rate=LEARNING_RATE),
        schedule=ScheduleConfig(warmup_updates=0),
        training=training,
    )


class _Measured(Exception):  # noqa: N818 - the end of a run that has been measured
    """Stops a run before its third epoch."""


class SecondEpoch(SilentView):
    """Wall seconds of the second epoch, and how many epochs they hold (an update may hold parts of two)."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None
        self.wall_s = self.epochs = 0.0

    def reset(self) -> None:
        """The run begins anew."""
        self.began = None

    def done(self, epoch: float, now: float) -> bool:
        """Whether the second epoch ended with the update after which this much was trained."""
        if self.began is None and epoch >= 1:
            self.began = epoch, now
        if self.began is not None and epoch >= self.began[0] + 1:
            self.epochs, self.wall_s = epoch - self.began[0], now - self.began[1]
            return True
        return False

    def show(self, standing: Standing) -> None:
        _wait()
        if self.done(standing.epoch, time.perf_counter()):
            raise _Measured

    def rate(self, audio_s: float) -> dict[str, float]:
        """Seconds of audio per second, where an epoch holds `audio_s`."""
        return {"wall_s": self.wall_s, "audio_per_s": self.epochs * audio_s / self.wall_s}


def train_with_harken(name: str, device: str, folder_name: str) -> dict[str, Any]:
    """A planned run, up to the end of its second epoch."""
    case, folder = cases(device)[name], Path(folder_name)
    dataset = profile_dataset(str(folder / "train.jsonl"))
    hardware, model = find_hardware("auto" if device == "cuda" else "cpu"), planned_model(folder / "model")
    settings = PlanSettings(target_audio_s=min(UPDATE_S, dataset.total_s / 4), max_batch_size=dataset.utterances)
    laws = model.laws(hardware, utilisation=settings.utilisation)
    plan = make_plan(hardware, dataset, model.profile, laws, settings)
    clock = SecondEpoch()
    with tempfile.TemporaryDirectory(dir=folder) as run_folder, suppress(_Measured):
        train(_recipe(case, folder, plan, device), Path(run_folder) / "run", view=clock)
    return {
        **clock.rate(dataset.total_s),
        "batch": plan.per_device_train_batch_size,
        "accumulate": plan.gradient_accumulation_steps,
        "precision": plan.precision,
        "checkpointing": plan.gradient_checkpointing,
    }


def train_with_transformers(name: str, device: str, folder_name: str) -> dict[str, Any]:
    """The rival's own trainer of this model, up to the end of its second epoch."""
    import transformers

    case, folder = cases(device)[name], Path(folder_name)
    clock, starts = SecondEpoch(), []

    class Clock(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.reset()
            starts.append(state.train_batch_size)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _wait()
            if clock.done(state.epoch, time.perf_counter()):
                control.should_training_stop = True

    whisper = case.model == "whisper"
    kinds = (transformers.Seq2SeqTrainer, transformers.Seq2SeqTrainingArguments)
    trainer, arguments = kinds if whisper else (transformers.Trainer, transformers.TrainingArguments)
    data, audio_s = _rival_data(case, folder)
    trainer(
        model=_rival_network(case, folder),
        train_dataset=data,
        data_collator=Collator(),
        callbacks=[Clock()],
        args=arguments(
            output_dir=str(folder / "rival"),
            per_device_train_batch_size=min(FIRST_BATCH, case.utterances // 4),
            auto_find_batch_size=True,
            train_sampling_strategy="group_by_length",
            num_train_epochs=3,
            learning_rate=LEARNING_RATE,
            bf16=device == "cuda" and torch.cuda.is_bf16_supported(),
            remove_unused_columns=False,
            dataloader_num_workers=WORKERS if device == "cuda" else 0,
            dataloader_pin_memory=device == "cuda",
            use_cpu=device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    ).train()
    return {**clock.rate(audio_s), "batch": starts[-1], "restarts": len(starts) - 1}


def _rival_network(case: Case, folder: Path) -> Any:
    from transformers import Wav2Vec2ForCTC, WhisperForConditionalGeneration

    if case.model == "wav2vec2":
        return Wav2Vec2ForCTC.from_pretrained(folder / "model")
    network = WhisperForConditionalGeneration.from_pretrained(folder / "model")
    network.config.use_cache = False
    return network


def _rival_data(case: Case, folder: Path) -> tuple[Any, float]:
    """The utterances, their features mapped into memory, and the seconds of all of them."""
    from datasets import Dataset

    facts = read_json_object(folder / "rival.json")
    samples: Sequence[int] = facts["samples"]
    stored = np.memmap(folder / "features", np.float32, mode="r")
    split = np.split(stored, np.cumsum(samples)[:-1])
    items = list(stored.reshape(len(samples), 80, -1)) if case.model == "whisper" else split
    places = [number % len(samples) for number in range(case.utterances)]

    def read(columns: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        chosen = columns.get("place", ())
        return {
            **({"length": columns["length"]} if "length" in columns else {}),
            "features": [items[place] for place in chosen],
            "labels": [facts["labels"][place] for place in chosen],
            "samples": [samples[place] for place in chosen],
        }

    lengths = [samples[place] for place in places]
    listed = Dataset.from_dict({"place": places, "length": lengths}).with_transform(read)
    return listed, sum(lengths) / SAMPLE_RATE_HZ


def _wait() -> None:
    """For what the GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
