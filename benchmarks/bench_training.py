"""Training throughput against transformers' Trainer: seconds of audio per CPU second, padding and memory.

Both sides train the same random weights on the same 500 utterances, with every part of an update but evaluation:
loading, collating, forward, backward, clipping, optimiser. The rival groups utterances by length; its features are made
beforehand and not counted, Harken's are made while it trains. Each run is a process of its own with one thread.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import CHARACTERS_PER_S, LANGUAGE, LETTERS, SAMPLE_RATE_HZ, durations_s, nonsense, write_clips
from benchmarks.harness import MemoryUse, peak_memory
from harken.core.files import write_json
from harken.data.manifest import write_manifest
from harken.testing import random_wav2vec2, random_whisper
from harken.testing.random_models import BYTE_UNITS, whisper_tokens
from harken.training.assembly import Assembler
from harken.training.objective import make_objective
from harken.training.precision import choose_precision
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

NAME = "training"
CLIPS = 500
WARM_UP = 1  # update: lazy imports, fresh memory
LEARNING_RATE = 1e-5
LEAST_WAV2VEC2, LEAST_WHISPER, MOST_DIFFERENCE = 1.5, 3.0, 1e-5
WAV2VEC2_BASE: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "conv_dim": (512,) * 7, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
    "hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "final_dropout": 0.1,
}  # fmt: skip
WHISPER_TINY: dict[str, Any] = {
    "d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6,
    "decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "max_source_positions": 1500,
    "max_target_positions": 448, "vocab_size": 51865, "init_std": 0.02,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """What both sides train, how many updates are measured, and in how many rounds.

    The rival's update gathers `gathered` batches of BATCH utterances, and Harken's hold as much audio.
    """

    model: str
    gathered: int
    harken_updates: int
    transformers_updates: int
    rounds: int
    frozen: bool = False


CASES = {
    "wav2vec2-base": Case(model="wav2vec2", gathered=1, harken_updates=4, transformers_updates=3, rounds=3),
    "whisper-tiny": Case(model="whisper", gathered=3, harken_updates=5, transformers_updates=1, rounds=2),
    "wav2vec2-base, frozen feature encoder": Case(
        model="wav2vec2", gathered=1, harken_updates=4, transformers_updates=3, rounds=1, frozen=True
    ),
}
BATCH = 8  # of the rival, and its default
# group_by_length sorts every 15 batches, longest first. A few stand for all of an epoch: each round others, evenly
# spread from long to short, without the very first, which holds the longest of all.
FIRST_BATCH, BATCHES_APART = (1, 2, 15), 21


class _Measured(Exception):  # noqa: N818 - the end of a run that has been measured
    """Stops a run before what follows its last update."""


class Stopwatch(SilentView):
    """CPU and wall seconds between the end of the warm-up and the end of update number WARM_UP + `updates`."""

    def __init__(self, updates: int) -> None:
        self.last = WARM_UP + updates
        self.cpu_s = self.wall_s = 0.0

    def done(self, update: int) -> bool:
        if update == WARM_UP:
            self.cpu_s, self.wall_s = -time.process_time(), -time.perf_counter()
        if update == self.last:
            self.cpu_s += time.process_time()
            self.wall_s += time.perf_counter()
        return update == self.last

    def show(self, standing: Standing) -> None:
        if self.done(standing.update):
            raise _Measured


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="harken-training-") as name:
        peak_memory("benchmarks.bench_training:prepare", name)
        pairs = {case: _rounds(case, name) for case in CASES}
        differences = {
            model: float(peak_memory("benchmarks.bench_training:loss_difference", model, name).result)
            for model in CHARACTERS_PER_S
        }
    figures: dict[str, Any] = {}
    rivals: dict[str, Any] = {}
    for case, (harken, transformers) in pairs.items():
        figures |= _figures(case, harken, transformers)
        trainer = "Seq2SeqTrainer" if CASES[case].model == "whisper" else "Trainer"
        rivals[f"transformers {trainer}, {case}"] = _rival(transformers)
    for model, difference in differences.items():
        figures[f"{model}: difference of losses"] = {"value": difference, "unit": "nats a label"}
    met = (
        figures["wav2vec2-base: ratio"]["value"] >= LEAST_WAV2VEC2
        and figures["whisper-tiny: ratio"]["value"] >= LEAST_WHISPER
        and max(differences.values()) <= MOST_DIFFERENCE
    )
    return {
        "name": NAME,
        "title": f"Training on {CLIPS} utterances of log-normal duration",
        "target": f"audio per CPU second at least {LEAST_WAV2VEC2:g} times transformers' Trainer with group_by_length "
        f"for wav2vec2-base, all weights trained, and {LEAST_WHISPER:g} times for Whisper-tiny, packed; the losses of "
        f"a batch differ by at most {MOST_DIFFERENCE:g}",
        "met": met,
        "note": _note(figures),
        "figures": figures,
        "rivals": rivals,
    }


def prepare(name: str) -> None:
    """Recordings, manifests, models, and the features and labels that the rival reads."""
    folder = Path(name)
    random_wav2vec2(folder / "wav2vec2", letters=LETTERS, **WAV2VEC2_BASE)
    random_whisper(folder / "whisper", languages=(LANGUAGE,), generation=_units_alone(), **WHISPER_TINY)
    clips = write_clips(folder / "audio", durations_s(CLIPS))
    few = write_clips(folder / "equal", [3.0] * 4)
    for model, rate in CHARACTERS_PER_S.items():
        for kind, chosen in (("train", clips), ("validation", clips[:2]), ("equal", few)):
            spoken = [
                replace(clip, text=nonsense(clip.duration_s, characters_per_s=rate, seed=number))
                for number, clip in enumerate(chosen)
            ]
            write_manifest(folder / f"{model}-{kind}.jsonl", spoken)
        _prepare_rival(model, folder)


def _units_alone() -> dict[str, Any]:
    """Keeps greedy decoding to the ids that the byte tokenizer has, of the many that the real vocabulary has."""
    units = len(BYTE_UNITS) + len(whisper_tokens((LANGUAGE,)))
    return {"suppress_tokens": list(range(units, WHISPER_TINY["vocab_size"]))}


def _prepare_rival(model: str, folder: Path) -> None:
    """Features of every utterance end to end in one file, as the rival's own extractor makes them, and labels."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    assembler = Assembler(_recipe(CASES["wav2vec2-base" if model == "wav2vec2" else "whisper-tiny"], folder, seed=0))
    train_set = assembler.assemble(None)[1].train
    if len(train_set.utterances) != CLIPS:
        raise RuntimeError(f"{CLIPS - len(train_set.utterances)} utterances cannot be used: {train_set.rejected[:3]}")
    kind = {"wav2vec2": Wav2Vec2FeatureExtractor, "whisper": WhisperFeatureExtractor}[model]
    extractor = kind() if model == "whisper" else kind.from_pretrained(folder / model)
    samples = []
    with (folder / f"{model}.features").open("wb") as file:
        for utterance in train_set.utterances:
            waveform = assembler.read_audio(utterance)
            (features,) = extractor(waveform, sampling_rate=SAMPLE_RATE_HZ)[extractor.model_input_names[0]]
            file.write(np.asarray(features, np.float32).tobytes())
            samples.append(len(waveform))
    write_json(folder / f"{model}-rival.json", {"samples": samples, "labels": [list(ids) for ids in train_set.labels]})


def train_with_harken(case_name: str, name: str, seed: int) -> dict[str, Any]:
    """A real run, up to the end of the last update measured."""
    case, folder = CASES[case_name], Path(name)
    recipe = _recipe(case, folder, seed=seed)
    stopwatch = Stopwatch(case.harken_updates)
    with tempfile.TemporaryDirectory(dir=folder) as run_folder, suppress(_Measured):
        train(recipe, Path(run_folder) / "run", view=stopwatch)
    batches, padding = _harken_batches(recipe, range(WARM_UP, stopwatch.last))
    return _throughput(stopwatch, batches) | {"epoch_padding": padding}


def _recipe(case: Case, folder: Path, *, seed: int, equal: bool = False) -> Recipe:
    updates = WARM_UP + case.harken_updates
    whisper = case.model == "whisper"
    return Recipe(
        name=case.model,
        seed=seed,
        data=DataConfig(
            train=str(folder / f"{case.model}-{'equal' if equal else 'train'}.jsonl"),
            validation=str(folder / f"{case.model}-validation.jsonl"),
        ),
        model=ModelConfig(
            pretrained=str(folder / case.model),
            vocabulary="own",
            settings={} if whisper else {"freeze_feature_encoder": case.frozen},
        ),
        seq2seq=Seq2SeqConfig(window="packed", language=LANGUAGE) if whisper else Seq2SeqConfig(),
        batches=BatchConfig(update_samples=BATCH * case.gathered, short_first=False),
        optimizer=OptimizerConfig(learning_rate=LEARNING_RATE),
        schedule=ScheduleConfig(warmup_updates=0),
        training=TrainingConfig(updates=updates, device="cpu", precision="fp32", threads=1, evaluate_every=updates),
    )


def _harken_batches(recipe: Recipe, updates: range) -> tuple[list[tuple[float, float]], float]:
    """(seconds of audio, seconds the model reads) of the batches of these updates, and the padding of an epoch.

    Both are functions of the recipe alone, and so need not be noted while time is measured.
    """
    config = replace(recipe.data, check_audio="probe")
    data = Assembler(replace(recipe, data=config)).assemble(None)[1]
    (stage,) = data.stages
    steps = [step for update in updates for step in stage.sampler.update_steps(update, stage.accumulate)]
    batches = [stage.loader.load(step) for step in steps]
    hop_s = stage.loader.rows.hop_s
    read = [(b.duration_s, b.features_BFM.shape[0] * b.features_BFM.shape[1] * hop_s) for b in batches]
    return read, data.padding_share


def train_with_transformers(case_name: str, name: str, seed: int) -> dict[str, Any]:
    """Utterances grouped by length as transformers does, and its own trainer of this model."""
    import transformers

    case, folder = CASES[case_name], Path(name)
    stopwatch = Stopwatch(case.transformers_updates)

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stopwatch.done(state.global_step)

    whisper = case.model == "whisper"
    kinds = (transformers.Seq2SeqTrainer, transformers.Seq2SeqTrainingArguments)
    trainer, arguments = kinds if whisper else (transformers.Trainer, transformers.TrainingArguments)
    network = _rival_network(case.model, folder)
    if case.frozen:
        network.freeze_feature_encoder()
    collate = Collator()
    trainer(
        model=network,
        train_dataset=_rival_data(case, folder, seed),
        data_collator=collate,
        callbacks=[Clock()],
        args=arguments(
            output_dir=str(folder / "rival"),
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=case.gathered,
            max_steps=stopwatch.last,
            learning_rate=LEARNING_RATE,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            use_cpu=True,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    ).train()
    measured = collate.batches[WARM_UP * case.gathered : stopwatch.last * case.gathered]
    return _throughput(stopwatch, measured) | {"epoch_padding": _rival_padding(case.model, seed)}


def _rival_batches(seed: int) -> list[list[int]]:
    """The places of each batch of an epoch, as `train_sampling_strategy="group_by_length"` orders them."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(seed)
    order = get_length_grouped_indices(durations_s(CLIPS).tolist(), BATCH, generator=generator)
    return [order[start : start + BATCH] for start in range(0, CLIPS, BATCH)]


def _rival_padding(model: str, seed: int) -> float:
    """Padding of an epoch, to the longest of each batch, or to Whisper's 30 s."""
    lengths = durations_s(CLIPS)
    if model == "whisper":
        return 1 - float(lengths.mean()) / 30
    return 1 - float(lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in _rival_batches(seed)))


def _rival_network(model: str, folder: Path) -> Any:
    from transformers import Wav2Vec2ForCTC, WhisperForConditionalGeneration

    if model == "wav2vec2":
        return Wav2Vec2ForCTC.from_pretrained(folder / model)
    network = WhisperForConditionalGeneration.from_pretrained(folder / model)
    network.config.use_cache = False
    return network


def _rival_data(case: Case, folder: Path, seed: int) -> Any:
    """The utterances of some batches in their order; the features stay in a file that is mapped into memory."""
    from datasets import Dataset

    facts = json.loads((folder / f"{case.model}-rival.json").read_text(encoding="utf-8"))
    stored = np.memmap(folder / f"{case.model}.features", np.float32, mode="r")
    ends = np.cumsum(facts["samples"])
    items = list(stored.reshape(CLIPS, 80, -1)) if case.model == "whisper" else np.split(stored, ends[:-1])
    batches = [batch for batch in _rival_batches(seed) if len(batch) == BATCH]
    warm_up = batches[-WARM_UP * case.gathered :]
    measured = batches[FIRST_BATCH[seed] :: BATCHES_APART][: case.gathered * case.transformers_updates]

    def read(columns: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        places = columns["place"]
        return {
            "features": [items[place] for place in places],
            "labels": [facts["labels"][place] for place in places],
            "samples": [facts["samples"][place] for place in places],
        }

    places = [place for batch in warm_up + measured for place in batch]
    return Dataset.from_dict({"place": places}).with_transform(read)


class Collator:
    """Pads with zeros to the longest of a batch, as the models' guides do; remembers what each batch holds."""

    def __init__(self) -> None:
        self.batches: list[tuple[float, float]] = []

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        longest = max(len(item["labels"]) for item in items)
        labels = torch.full((len(items), longest), -100)
        for row, item in zip(labels, items, strict=True):
            row[: len(item["labels"])] = torch.tensor(item["labels"])
        audio_s = sum(item["samples"] for item in items) / SAMPLE_RATE_HZ
        features = [np.asarray(item["features"]) for item in items]
        if features[0].ndim == 2:
            self.batches.append((audio_s, 0.01 * features[0].shape[1] * len(items)))
            return {"input_features": torch.from_numpy(np.stack(features)), "labels": labels}
        values = np.zeros((len(items), max(map(len, features))), np.float32)
        for row, samples in zip(values, features, strict=True):
            row[: len(samples)] = samples
        self.batches.append((audio_s, values.size / SAMPLE_RATE_HZ))
        return {"input_values": torch.from_numpy(values), "labels": labels}


def loss_difference(model: str, name: str) -> float:
    """Nats a label between the losses of one batch, dropout off: full windows, or four utterances of one length.

    The length is one because transformers lets padding take part in the norm of wav2vec2-base's first layer.
    """
    import torch

    folder = Path(name)
    case = CASES["whisper-tiny" if model == "whisper" else "wav2vec2-base"]
    parts, data = Assembler(_recipe(case, folder, seed=0, equal=model == "wav2vec2")).assemble(None)
    ours = make_objective(parts.model.eval(), data.labeller, precision=choose_precision("fp32", torch.device("cpu")))
    batch = data.stages[0].loader.load(0)
    tensors = [torch.from_numpy(array) for array in batch.tensors]
    features, _, labels, lengths = tensors
    inputs = {"input_features": features.transpose(1, 2)} if model == "whisper" else {"input_values": features[:, :, 0]}
    wanted = labels.masked_fill(torch.arange(labels.shape[1]) >= lengths[:, None], -100)
    with torch.no_grad():
        our_loss = float(ours.losses(*tensors).double().sum() / lengths.sum())
        rival = _rival_network(model, folder).eval()(**inputs, labels=wanted).loss
    # transformers sums a CTC loss over the batch, and takes the mean of a cross entropy.
    return abs(our_loss - float(rival) / (1 if model == "whisper" else int(lengths.sum())))


def _throughput(stopwatch: Stopwatch, batches: Sequence[tuple[float, float]]) -> dict[str, Any]:
    audio_s, read_s = (sum(values) for values in zip(*batches, strict=True))
    return {
        "audio_s": audio_s,
        "cpu_s": stopwatch.cpu_s,
        "wall_s": stopwatch.wall_s,
        "audio_per_cpu_s": audio_s / stopwatch.cpu_s,
        "padding": 1 - audio_s / read_s,
        "load": os.getloadavg()[0],
    }


def _rounds(case: str, folder: str) -> tuple[list[MemoryUse], list[MemoryUse]]:
    """Every round both contenders, each first in turn: (Harken's runs, the rival's)."""
    contenders = ("train_with_harken", "train_with_transformers")
    runs: dict[str, list[MemoryUse]] = {name: [] for name in contenders}
    for seed in range(CASES[case].rounds):
        for contender in contenders if seed % 2 else reversed(contenders):
            runs[contender].append(peak_memory(f"benchmarks.bench_training:{contender}", case, folder, seed))
            print(case, contender, seed, runs[contender][-1], flush=True)
    return runs[contenders[0]], runs[contenders[1]]


def _figures(case: str, harken: Sequence[MemoryUse], transformers: Sequence[MemoryUse]) -> dict[str, Any]:
    ratios = [
        ours.result["audio_per_cpu_s"] / theirs.result["audio_per_cpu_s"]
        for ours, theirs in zip(harken, transformers, strict=True)
    ]
    speeds = _values(harken, "audio_per_cpu_s")
    return {
        f"{case}: ratio": {"value": statistics.median(ratios), "unit": "times the rival", "spread": _spread(ratios)},
        f"{case}: audio per CPU second": {
            "value": statistics.median(speeds),
            "unit": "s",
            "spread": _spread(speeds),
            "cpu_s": statistics.median(_values(harken, "cpu_s")),
            "wall_s": statistics.median(_values(harken, "wall_s")),
            "runs": [run.result for run in harken],
        },
        f"{case}: padding": {"value": 100 * statistics.mean(_values(harken, "epoch_padding")), "unit": "%"},
        f"{case}: peak memory": {"value": max(run.peak_bytes for run in harken) / 1e9, "unit": "GB"},
    }


def _rival(runs: Sequence[MemoryUse]) -> dict[str, Any]:
    speeds, peak_gb = _values(runs, "audio_per_cpu_s"), max(run.peak_bytes for run in runs) / 1e9
    speed, (low, high) = statistics.median(speeds), _spread(speeds)
    padding = 100 * statistics.mean(_values(runs, "epoch_padding"))
    return {
        "median_cpu_s": statistics.median(_values(runs, "cpu_s")),
        "median_wall_s": statistics.median(_values(runs, "wall_s")),
        "audio_per_cpu_s": speed,
        "padding_percent": padding,
        "peak_gb": peak_gb,
        "runs": [run.result for run in runs],
        "note": f"{speed:.2f} s of audio per CPU second ({low:.2f} to {high:.2f}), "
        f"padding {padding:.1f} %, {peak_gb:.1f} GB",
    }


def _values(runs: Sequence[MemoryUse], key: str) -> list[float]:
    return [float(run.result[key]) for run in runs]


def _spread(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def _note(figures: Mapping[str, Any]) -> str:
    few, many = (BATCH * CASES[case].gathered for case in ("wav2vec2-base", "whisper-tiny"))
    missed = figures["wav2vec2-base, frozen feature encoder: ratio"]["value"] < LEAST_WAV2VEC2
    return (
        "Random weights of the real sizes, float32, dropout 0.1 (Whisper: 0, as its configuration has it), no layers "
        f"dropped, no SpecAugment, the audio of {few} utterances an update for wav2vec2 and of {many} for Whisper "
        "(packed by Harken, padded to 30 s each by transformers). Padding is that of an epoch; CPU and wall time are "
        "those of the measured updates of a run, peak memory is of these too. Evaluation is left out, and so is the "
        "making of the rival's features. The rounds of a case train on other utterances, which is most of their spread."
        + (f" With a frozen feature encoder the ratio stays below {LEAST_WAV2VEC2:g}." if missed else "")
    )
