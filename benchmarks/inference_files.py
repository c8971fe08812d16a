"""Many short files, and very long ones: throughput of `transcribe_files` against one by one, and memory.

Throughput has two threads for the model, whichever way it is asked, and `transcribe_files` decodes files ahead in two
more. Memory is that
of a process which loads a model and transcribes: its peak, less what it has once the model is loaded.
"""

import os
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import SAMPLE_RATE_HZ, write_clips
from benchmarks.harness import interleaved, peak_memory
from benchmarks.inference_figures import cost, gain, missed
from harken.core import Recognizer
from harken.inference import EngineConfig, load, transcribe_files
from harken.inference.config import Precision

FILES, SHORTEST_S, LONGEST_S = 200, 1.0, 4.0
LEAST_GAIN = 2.0
THREADS = 2
FEW, MANY, MORE = 200, 800, 3_200
MOST_GROWTH, MOST_MIB = 1.1, 600.0
LONG_S, LONG_WAV2VEC2_S = 10_800, 300
MIB = 2**20
ENGINES: dict[str, tuple[str, Precision]] = {
    "onnx fp32": ("onnx", "fp32"), "onnx int8": ("onnx", "int8"), "torch": ("torch", "auto"),
}  # fmt: skip


def throughput(name: str, smoke: bool) -> dict[str, Any]:
    """A Conformer of width 144 and 4 layers, in every engine."""
    import torch

    from benchmarks.inference_models import SMALL, TINY, make_conformer

    torch.set_num_threads(THREADS)
    folder = make_conformer(Path(name), TINY if smoke else SMALL)
    paths = _write_short(Path(name) / "short", 20 if smoke else FILES)
    readers: dict[str, Callable[[], object]] = {}
    for kind, (engine, precision) in ENGINES.items():
        recognizer = _load(folder, engine, precision, threads=THREADS)
        readers[kind] = _together(recognizer, paths)
        readers[f"{kind}, one by one"] = _one_by_one(recognizer, paths)
    timings = interleaved(readers, 2 if smoke else 5)
    audio_s = sum(durations_s(len(paths)))
    what = f"{len(paths)} files of {SHORTEST_S:g} to {LONGEST_S:g} s"
    figures: dict[str, Any] = {}
    for kind in ENGINES:
        alone = f"{kind}, one by one"
        figures[f"{what}, {kind}: over one by one, wall"] = gain(timings, kind, alone, "wall_s", LEAST_GAIN)
        figures[f"{what}, {kind}: over one by one, CPU"] = gain(timings, kind, alone, "cpu_s")
        figures[f"{what}, {kind}"] = cost(timings[kind], audio_s)
        figures[f"{what}, {alone}"] = cost(timings[alone], audio_s)
    return {"figures": figures, "rivals": {}, "missed": missed(figures)}


def memory(name: str, smoke: bool) -> dict[str, Any]:
    """Conformers for many files and for three hours; wav2vec2-base, whose windows take most, for a few minutes."""
    folders = peak_memory("benchmarks.inference_files:prepare", name, smoke).result
    counts = (5, 20, 40) if smoke else (FEW, MANY, MORE)
    added = {count: _added_mib("transcribe_short", folders["small"], name, count) for count in counts}
    growth = added[counts[2]] / added[counts[1]]
    figures: dict[str, Any] = {
        f"{count} short files, above the model": {"value": round(mib, 1), "unit": "MiB"} for count, mib in added.items()
    }
    figures[f"memory of {counts[2]} files over {counts[1]}"] = {
        "value": round(growth, 3), "unit": "times", "at_most": MOST_GROWTH,
    }  # fmt: skip
    for model, duration_s in (("conformer", LONG_S), ("wav2vec2", LONG_WAV2VEC2_S)):
        length_s = duration_s // 60 if smoke else duration_s
        mib = _added_mib("transcribe_long", folders[model], name, length_s)
        figures[f"{model}, a file of {length_s / 60:g} minutes, above the model"] = {
            "value": round(mib, 1), "unit": "MiB", "at_most": MOST_MIB,
        }  # fmt: skip
    return {"figures": figures, "rivals": {}, "missed": missed(figures)}


def prepare(name: str, smoke: bool) -> dict[str, str]:
    """Model folders of `memory` by name; writes its audio."""
    from benchmarks.inference_models import MEDIUM, SMALL, TINY, make_conformer, make_wav2vec2

    root = Path(name)
    folders = {
        "small": make_conformer(root, TINY if smoke else SMALL),
        "conformer": make_conformer(root, TINY if smoke else MEDIUM),
        "wav2vec2": make_wav2vec2(root, smoke=smoke)[1],
    }
    _write_short(root / "short", MANY)
    return {model: str(folder) for model, folder in folders.items()}


def transcribe_short(folder: str, name: str, count: int) -> int:
    """Bytes of this process with the model, before `count` files are transcribed."""
    recognizer = _load(Path(folder), "onnx", "fp32")
    paths = sorted((Path(name) / "short").iterdir())
    before = _rss_bytes()
    _together(recognizer, [paths[place % len(paths)] for place in range(count)])()
    return before


def transcribe_long(folder: str, name: str, duration_s: int) -> int:
    """Bytes of this process with the model, before a file of `duration_s` is transcribed."""
    recognizer = _load(Path(folder), "onnx", "fp32")
    path = _write_long(Path(name) / f"{duration_s}.wav", duration_s)
    before = _rss_bytes()
    _together(recognizer, [path])()
    path.unlink()
    return before


def durations_s(count: int) -> list[float]:
    """Evenly drawn, in whole milliseconds."""
    return [float(x) for x in np.random.default_rng(3).uniform(SHORTEST_S, LONGEST_S, count).round(3)]


def _added_mib(function: str, *arguments: Any) -> float:
    use = peak_memory(f"benchmarks.inference_files:{function}", *arguments)
    return float((use.peak_bytes - use.result) / MIB)


def _write_short(folder: Path, count: int) -> list[Path]:
    return [Path(clip.audio) for clip in write_clips(folder, durations_s(count))]


def _write_long(path: Path, duration_s: int) -> Path:
    """A minute of noise again and again."""
    second = np.random.default_rng(4).normal(0, 2_000, (60, SAMPLE_RATE_HZ)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        for place in range(duration_s):
            file.writeframesraw(second[place % len(second)].tobytes())
    return path


def _load(folder: Path, engine: str, precision: Precision, *, threads: int = 1) -> Recognizer:
    return load(folder, engine=engine, config=EngineConfig(device="cpu", threads=threads, precision=precision))


def _together(recognizer: Recognizer, paths: Sequence[Path]) -> Callable[[], None]:
    def read() -> None:
        for result in transcribe_files(recognizer, paths):
            if result.error is not None:
                raise result.error

    return read


def _one_by_one(recognizer: Recognizer, paths: Sequence[Path]) -> Callable[[], object]:
    return lambda: [recognizer.transcribe(path) for path in paths]


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
