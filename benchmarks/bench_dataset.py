"""A manifest of 100,000 lines to its first batch, and what that writes to the disk.

The lines name hard links of 500 recordings, so every one is opened, and read, as a file of its own; all are in the file
cache. The rival makes features of the same lines with `datasets`' map, as the guides of transformers do before they
train; it is measured on fewer lines and scaled.
"""

import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.clips import CHARACTERS_PER_S, LETTERS, SAMPLE_RATE_HZ, durations_s, nonsense, write_clips
from benchmarks.harness import MemoryUse, peak_memory, timed
from harken.core import Utterance
from harken.data.manifest import read_manifest, write_manifest
from harken.testing import random_wav2vec2
from harken.training.assembly import Assembler
from harken.training.recipe import BatchConfig, DataConfig, ModelConfig, Recipe, TrainingConfig

NAME = "dataset"
CLIPS, LINES, RIVAL_LINES = 500, 100_000, 2_000
CHECKS, ROUNDS = ("probe", "decode"), 3
MOST_S, MOST_DISK_SHARE = 30.0, 0.01
BYTES_PER_S = 2 * SAMPLE_RATE_HZ


def run() -> dict[str, Any]:
    runs: dict[str, list[MemoryUse]] = {name: [] for name in (*CHECKS, "map")}
    with tempfile.TemporaryDirectory(prefix="harken-dataset-") as name:
        # Whatever a library keeps beside the data goes into the folder too, and is counted.
        os.environ |= dict.fromkeys(("TMPDIR", "HOME", "HARKEN_HOME", "XDG_CACHE_HOME", "HF_HOME"), name)
        audio_s = float(peak_memory("benchmarks.bench_dataset:prepare", name).result)
        written = 0
        for _ in range(ROUNDS):
            before = _bytes_in(name)
            for check in CHECKS:
                runs[check].append(peak_memory("benchmarks.bench_dataset:first_batch", name, check))
            written = max(written, _bytes_in(name) - before)
            runs["map"].append(peak_memory("benchmarks.bench_dataset:map_features", name))
    figures = {f"first batch, {check}": _figure(runs[check]) for check in CHECKS}
    figures |= {f"peak memory, {check}": {"value": _peak_gb(runs[check]), "unit": "GB"} for check in CHECKS}
    share = written / (audio_s * BYTES_PER_S)
    figures["extra disk"] = {"value": 100 * share, "unit": "% of the audio"}
    return {
        "name": NAME,
        "title": f"A manifest of {LINES:,} lines to its first batch",
        "target": f"at most {MOST_S:g} s of CPU, extra disk below {MOST_DISK_SHARE:.0%} of the audio",
        "met": all(figures[f"first batch, {check}"]["value"] <= MOST_S for check in CHECKS) and share < MOST_DISK_SHARE,
        "note": f"{audio_s / 3600:.0f} h in {LINES:,} hard links of {CLIPS} WAV files, in the file cache. Time counts "
        "from the recipe to the first batch in memory: reading the manifest, checking every file, labels, buckets, a "
        "small random Wav2Vec2, the batch. `probe` checks headers, `decode` reads all audio to find damage.",
        "figures": figures,
        "rivals": {f"datasets map, {RIVAL_LINES:,} lines scaled to {LINES:,}": _rival(runs["map"])},
    }


def prepare(name: str) -> float:
    """Recordings, their links, manifests and a model in the folder `name`; seconds of audio that the lines name."""
    folder = Path(name)
    random_wav2vec2(folder / "model", letters=LETTERS)
    clips = [
        replace(clip, text=nonsense(clip.duration_s, characters_per_s=CHARACTERS_PER_S["wav2vec2"], seed=number))
        for number, clip in enumerate(write_clips(folder / "audio", durations_s(CLIPS)))
    ]
    (folder / "links").mkdir()
    lines = list(_linked(clips, folder / "links"))
    write_manifest(folder / "train.jsonl", lines)
    write_manifest(folder / "few.jsonl", lines[:RIVAL_LINES])
    write_manifest(folder / "validation.jsonl", clips[:2])
    return sum(line.duration_s for line in lines)


def _linked(clips: list[Utterance], folder: Path) -> Iterator[Utterance]:
    for number in range(LINES):
        clip, path = clips[number % len(clips)], folder / f"{number}.wav"
        os.link(clip.audio, path)
        yield replace(clip, id=path.stem, audio=str(path))


def first_batch(name: str, check: str) -> dict[str, float]:
    """What `harken train` does up to its first batch; wall and CPU seconds."""
    folder = Path(name)
    recipe = Recipe(
        name="dataset",
        data=DataConfig(
            train=str(folder / "train.jsonl"),
            validation=str(folder / "validation.jsonl"),
            check_audio="probe" if check == "probe" else "decode",
        ),
        model=ModelConfig(pretrained=str(folder / "model"), vocabulary="own"),
        batches=BatchConfig(short_first=False),
        training=TrainingConfig(epochs=1, device="cpu", threads=1),
    )

    def work() -> None:
        (stage,) = Assembler(recipe).assemble(None)[1].stages
        if stage.sampler.utterances != LINES:
            raise RuntimeError(f"{LINES - stage.sampler.utterances} of {LINES} utterances were left out")
        next(stage.loader.iterate(0, 1))

    wall_s, cpu_s = timed(work)
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def map_features(name: str) -> dict[str, float]:
    """Features and labels of the first lines as `datasets` writes them, then one batch of 32; scaled to all lines."""
    import soundfile
    from datasets import Dataset
    from transformers import Wav2Vec2FeatureExtractor

    folder = Path(name)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder / "model")
    ids = {letter: number for number, letter in enumerate(LETTERS, start=2)}

    def prepared(line: dict[str, Any]) -> dict[str, Any]:
        samples, rate = soundfile.read(line["audio"], dtype="float32")
        values = extractor(samples, sampling_rate=rate).input_values[0]
        return {"input_values": values, "labels": [ids.get(letter, 1) for letter in line["text"]]}

    lines = read_manifest(folder / "few.jsonl")
    listed = Dataset.from_dict({"audio": [line.audio for line in lines], "text": [line.text for line in lines]})
    copy = folder / "features.arrow"

    def work() -> None:
        made = listed.map(prepared, remove_columns=listed.column_names, cache_file_name=str(copy))
        made[:32]

    wall_s, cpu_s = timed(work)
    copied_bytes = copy.stat().st_size
    copy.unlink()
    scale = LINES / len(lines)
    audio_bytes = sum(line.duration_s for line in lines) * BYTES_PER_S
    return {"wall_s": scale * wall_s, "cpu_s": scale * cpu_s, "disk_share": copied_bytes / audio_bytes}


def _bytes_in(name: str) -> int:
    """Bytes of all files in the folder, each counted once however many links it has."""
    sizes = {(found.st_dev, found.st_ino): found.st_size for found in map(os.stat, _files(name))}
    return sum(sizes.values())


def _files(name: str) -> Iterator[str]:
    for folder, _, files in os.walk(name):
        yield from (os.path.join(folder, file) for file in files)  # noqa: PTH118 - 100,000 of them


def _figure(runs: list[MemoryUse]) -> dict[str, Any]:
    cpu_s = _values(runs, "cpu_s")
    median = statistics.median(cpu_s)
    return {
        "value": median,
        "unit": "s CPU",
        "spread": [min(cpu_s), max(cpu_s)],
        "cpu_s": median,
        "wall_s": statistics.median(_values(runs, "wall_s")),
        "runs": [run.result for run in runs],
    }


def _rival(runs: list[MemoryUse]) -> dict[str, Any]:
    share = _values(runs, "disk_share")[0]
    return {
        "median_cpu_s": statistics.median(_values(runs, "cpu_s")),
        "median_wall_s": statistics.median(_values(runs, "wall_s")),
        "disk_percent": 100 * share,
        "peak_gb": _peak_gb(runs),
        "runs": [run.result for run in runs],
        "note": f"a copy on the disk of {100 * share:.0f} % of the audio's size",
    }


def _values(runs: list[MemoryUse], key: str) -> list[float]:
    return [float(run.result[key]) for run in runs]


def _peak_gb(runs: list[MemoryUse]) -> float:
    return max(run.peak_bytes for run in runs) / 1e9
