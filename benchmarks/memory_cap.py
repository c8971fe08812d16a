"""Training runs whose plan has to keep them within an artificial memory: random models, data sets and caps.

The cap is on live bytes of tensors, counted as they are made and freed, and exceeding it raises what a GPU raises.
"""

import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harken.autoconfig.memory import CPU_PROCESS_BYTES
from harken.core import parse_settings
from harken.testing import random_wav2vec2, random_whisper
from harken.tracking.run import read_events
from harken.training import Recipe, train
from harken.training.assembly import Assembler
from harken.training.plan_config import DEFAULT_MARGIN

RATE_HZ = 16_000
LONGEST_S = 9.0
GIB = 2**30


class MemoryCap(TorchDispatchMode):
    """Raises torch.OutOfMemoryError when tensors that live would take more than `cap_bytes`."""

    def __init__(self, cap_bytes: float) -> None:
        super().__init__()
        self.cap_bytes = cap_bytes
        self.live_bytes = self.peak_bytes = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for item in tree_iter(out):
            if isinstance(item, Tensor) and item.device.type == "cpu" and type(item) in (Tensor, torch.nn.Parameter):
                self._add(item.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = weakref.ref(storage, lambda _: self._free(key, size))
        self.live_bytes += size
        if self.live_bytes > self.cap_bytes:
            raise torch.OutOfMemoryError(f"{self.live_bytes} bytes in use, {self.cap_bytes:.0f} allowed: out of memory")
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _free(self, key: int, size: int) -> None:
        del self._known[key]
        self.live_bytes -= size


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one run. Bytes are of tensors; `planned_bytes` is the plan's largest predicted peak."""

    seed: int
    model: str
    cap_bytes: int
    planned_bytes: int
    peak_bytes: int
    out_of_memory: int
    finished: bool
    checkpointing: bool
    batch_sizes: tuple[int, ...]


def run_one(seed: int, folder: Path) -> Outcome:
    """Plan and train a random model on random data under a random cap, for as many updates as see every bucket."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    _data(folder, generator)
    name, model = _model(folder, generator)
    content = {
        "name": f"cap-{seed}",
        "data": {
            "train": str(folder / "train.jsonl"),
            "validation": str(folder / "validation.jsonl"),
            "check_audio": "probe",
        },
        "model": model,
        "optimizer": {"name": str(generator.choice(["adamw", "adafactor"], p=[0.8, 0.2])), "learning_rate": 1e-5},
        "batches": {"update_samples": int(generator.integers(8, 33)), "buckets": int(generator.integers(2, 7))},
        "training": {"epochs": 1, "device": "cpu", "threads": 1},
    }
    fixed, one = _least(content)
    cap = fixed + one * float(generator.uniform(1.5, 6.0))
    recipe = _recipe(content, cap)
    with MemoryCap(cap) as watch:
        try:
            train(recipe, folder / "run")
            finished = True
        except torch.OutOfMemoryError:
            finished = False
    plan = json.loads((folder / "run" / "plan.json").read_text(encoding="utf-8"))
    events = [event for event in read_events(folder / "run") if event["event"] == "out-of-memory"]
    return Outcome(
        seed=seed,
        model=name,
        cap_bytes=int(cap),
        planned_bytes=max(row["peak_bytes"] for row in plan["buckets"]) - CPU_PROCESS_BYTES,
        peak_bytes=watch.peak_bytes,
        out_of_memory=len(events),
        finished=finished,
        checkpointing=plan["gradient_checkpointing"],
        batch_sizes=tuple(row["batch_size"] for row in plan["buckets"]),
    )


def _data(folder: Path, generator: np.random.Generator) -> None:
    """Noise of log-normal durations with texts of a random rate."""
    count, rate = int(generator.integers(24, 49)), float(generator.uniform(4, 12))
    durations_s = np.clip(generator.lognormal(np.log(2.5), generator.uniform(0.2, 0.7), count), 1.0, LONGEST_S)
    lines = []
    for place, duration_s in enumerate(np.round(durations_s, 2).tolist()):
        path = folder / f"{place}.flac"
        soundfile.write(path, 0.1 * generator.standard_normal(round(duration_s * RATE_HZ)), RATE_HZ)
        letters = "".join(generator.choice(list("abcde "), max(1, int(rate * duration_s)))).strip() or "a"
        lines.append(
            {"id": str(place), "audio": str(path), "duration_s": duration_s, "text": letters, "language": "en"}
        )
    for name, some in (("train", lines), ("validation", lines[:4])):
        text = "".join(json.dumps(line) + "\n" for line in some)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _model(folder: Path, generator: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """One of five families, trained whole, with a frozen encoder, or through an adapter."""
    kind = str(generator.choice(["conformer-ctc", "recurrent-ctc", "nemo-conformer-ctc", "wav2vec2", "whisper"]))
    way = str(generator.choice(["full", "frozen", "lora"]))
    layers, width = int(generator.integers(2, 5)), int(generator.choice([32, 48, 64]))
    if kind in ("wav2vec2", "whisper"):
        return f"{kind} {way}", _pretrained(kind, way, folder / "model", layers=layers, width=width)
    settings = {"layers": layers, "width": width, **({} if kind == "recurrent-ctc" else {"heads": 4})}
    return f"{kind} new", {"family": kind, "settings": settings}


def _pretrained(kind: str, way: str, folder: Path, *, layers: int, width: int) -> dict[str, Any]:
    if kind == "whisper":
        random_whisper(
            folder, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
            max_source_positions=500, max_target_positions=96,
        )  # fmt: skip
    else:
        random_wav2vec2(
            folder, letters="abcde", hidden_size=width, num_hidden_layers=layers, num_attention_heads=4,
            intermediate_size=4 * width, layerdrop=0.1,
        )  # fmt: skip
    frozen = {"freeze_encoder" if kind == "whisper" else "freeze_feature_encoder": True}
    more: Mapping[str, Any] = {"full": {}, "frozen": {"settings": frozen}, "lora": {"adapter": {"rank": 4}}}[way]
    return {"pretrained": str(folder), **more}


def _least(content: Mapping[str, Any]) -> tuple[int, float]:
    """Bytes that are there whatever the batch, and those that the longest utterance takes alone."""
    assembler = Assembler(_recipe(content, 8 * GIB))
    assembler.assemble(None)
    assert assembler.planned is not None
    row = assembler.planned.plan["buckets"][-1]
    memory = row["memory"]
    fixed = memory["parameters"] + memory["optimizer"] + memory["parameters"]  # gradients are as large
    return fixed, max(1.0, row["peak_bytes"] - CPU_PROCESS_BYTES - fixed) / row["batch_size"]


def _recipe(content: Mapping[str, Any], cap_bytes: float) -> Recipe:
    """The recipe with a plan for so many bytes of tensors: the process itself is not one of them."""
    memory = cap_bytes + CPU_PROCESS_BYTES / DEFAULT_MARGIN
    return parse_settings(Recipe, {**content, "plan": {"memory": f"{memory / GIB:.6f}GiB"}}, source="random recipe")
