"""Plans on a real GPU: memory predicted against memory taken, and speed against transformers' Trainer.

    python -m benchmarks.gpu_plan [--out FILE] [--configurations N] [--minutes M] [--no-training] [--device cpu]

Needs a machine with a CUDA device and nothing else on it. The file is written after every configuration, and a second
call with the same file goes on where the first one stopped, such as after `--minutes`. With `--device cpu` tiny models
take a few steps, which shows that everything runs; there are no bytes then, and no verdict.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gpu_training
from benchmarks.dry_runs import TINY, Setup, error_percent
from benchmarks.gpu_steps import SPEECH
from benchmarks.harness import machine_facts, peak_memory
from benchmarks.run import RESULTS
from harken.autoconfig.model import WAYS
from harken.autoconfig.plan_inputs import PrecisionName
from harken.core.files import write_json

NAME = "gpu_plan"
CONFIGURATIONS = 30
LEAST_USED, MOST_USED, MOST_PROBE_S, LEAST_RATIO = 0.85, 0.92, 60.0, 2.0
MODELS = (
    "openai/whisper-tiny",
    "openai/whisper-small",
    "openai/whisper-medium",
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-xls-r-300m",
    "facebook/wav2vec2-xls-r-1b",
    "stt_en_conformer_ctc_small",
    "stt_hi_conformer_ctc_medium",
)
PRECISIONS: tuple[PrecisionName, ...] = ("bf16", "fp16", "fp32")
SMOKE = {"memory_gib": 0.86, "buckets": 3}  # the memory of a CPU process, and little more
ALLOCATOR = "expandable_segments:True"  # as the predictor takes it to be
_KEPT = ("configurations", "failed", "training")  # of a file that an earlier call wrote
Outcome = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 where a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_plan", description="Plans on a real GPU.")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{NAME}.json", help="default: %(default)s")
    parser.add_argument("--configurations", type=int, default=CONFIGURATIONS, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after this long")
    parser.add_argument("--no-training", action="store_true", help="leave out the comparison of speed")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    chosen = parser.parse_args(arguments)
    os.environ["PYTORCH_ALLOC_CONF"] = ALLOCATOR
    deadline = time.monotonic() + 60 * chosen.minutes
    found: dict[str, Any] = _earlier(chosen.out)
    models = tuple(TINY) if chosen.device == "cpu" else MODELS
    for setup, speech in candidates(models):
        if time.monotonic() > deadline or sum(map(bool, found["configurations"].values())) >= chosen.configurations:
            break
        name = f"{setup}, {speech} speech"
        if name not in found["configurations"] and name not in found["failed"]:
            _note(found, name, setup, speech, chosen.device)
            write_json(chosen.out, summary(found, chosen.device))
    for case in () if chosen.no_training else gpu_training.cases(chosen.device):
        if case not in found["training"] and time.monotonic() < deadline:
            found["training"][case] = gpu_training.compare(case, chosen.device)
            print(f"{case}: {found['training'][case]}", flush=True)
    result = summary(found, chosen.device)
    write_json(chosen.out, result)
    return 1 if result["met"] is False else 0


def _note(found: dict[str, Any], name: str, setup: Setup, speech: str, device: str) -> None:
    """Measure a configuration. One whose process broke off is noted too, and the others go on."""
    try:
        one = _measured(setup, speech, device)
    except subprocess.CalledProcessError as err:
        found["failed"][name] = f"broke off with exit code {err.returncode}"
        print(f"{name}: {found['failed'][name]}", flush=True)
        return
    found["configurations"][name] = one
    print(f"{name}: {_line(one)}", flush=True)


def candidates(models: Sequence[str]) -> Iterator[tuple[Setup, str]]:
    """All configurations, shuffled, so that the first few hold every kind."""
    every = list(product(models, WAYS, PRECISIONS, (False, True), SPEECH))
    for place in np.random.default_rng(0).permutation(len(every)).tolist():
        model, way, precision, checkpointing, speech = every[place]
        yield Setup(model=model, way=way, precision=precision, checkpointing=checkpointing), speech


def summary(found: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The result as the docs show it, and all that was measured."""
    fitting = {name: one for name, one in found["configurations"].items() if one}
    figures = _memory_figures(list(fitting.values())) if device == "cuda" and fitting else {}
    ran_out = sum(step["out_of_memory"] for one in fitting.values() for step in (*one["verified"], *one["visited"]))
    figures["configurations"] = {
        "value": len(fitting),
        "unit": f"with {ran_out} times out of memory, {len(found['failed'])} broken off",
    }
    if fitting:
        seconds = [one["plan_s"] + one["verify_s"] for one in fitting.values()]
        figures["plan and verify"] = _spread(seconds, "s")
    for case, pair in found["training"].items():
        figures[f"{case}: ratio"] = {"value": pair["ratio"], "unit": "times the rival"}
        figures[f"{case}: audio per second"] = {"value": pair["harken"]["audio_per_s"], "unit": "s"}
    return {
        "name": NAME,
        "title": "Plans on a GPU",
        "target": f"no batch out of memory in {CONFIGURATIONS} configurations, {LEAST_USED:.0%} to {MOST_USED:.0%} of "
        f"the budget used, plan and verification within {MOST_PROBE_S:g} s, audio per second at least {LEAST_RATIO:g} "
        "times transformers' Trainer with auto_find_batch_size and group_by_length",
        "met": None if device == "cpu" else _met(figures, ran_out + len(found["failed"])),
        "note": "Updates of full batches of every bucket, longest first, and then of those whose size memory decides, "
        "short and long ones in turn. Bytes taken are those the allocator reserved and the context's. Used is the "
        "most of a configuration, as a share of the plan's budget.",
        "figures": figures,
        "rivals": {f"transformers, {case}": _rival(pair["rival"]) for case, pair in found["training"].items()},
        **{key: found[key] for key in _KEPT},
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**machine_facts(), **_gpu()},
    }


def _memory_figures(fitting: Sequence[Outcome]) -> dict[str, Any]:
    """Predicted against taken: of each step what tensors took, of each configuration what was reserved."""
    of_steps = [
        error_percent(step["predicted_bytes"], step["allocated_bytes"] + one["context_bytes"])
        for one in fitting
        for step in one["visited"]
        if not step["out_of_memory"]
    ]
    of_most = [error_percent(max(_column(one, "predicted_bytes")), taken(one)) for one in fitting]
    used = [100 * taken(one) / one["budget_bytes"] for one in fitting]
    figures = {"error against reserved memory": _spread(of_most, "%"), "budget used": _spread(used, "%")}
    return figures | ({"error against allocated memory, each step": _spread(of_steps, "%")} if of_steps else {})


def taken(one: Outcome) -> int:
    """Most bytes of the device that a configuration took."""
    return int(max(_column(one, "reserved_bytes"))) + int(one["context_bytes"])


def _column(one: Outcome, key: str) -> list[int]:
    return [step[key] for step in (*one["verified"], *one["visited"])]


def _met(figures: Mapping[str, Any], failures: int) -> bool | None:
    """None until there are enough configurations and a comparison of speed."""
    ratios = [figure["value"] for name, figure in figures.items() if name.endswith(": ratio")]
    if figures["configurations"]["value"] < CONFIGURATIONS or not ratios:
        return None
    return (
        failures == 0
        and figures["budget used"]["value"] >= 100 * LEAST_USED
        and figures["budget used"]["spread"][1] <= 100 * MOST_USED
        and figures["plan and verify"]["spread"][1] <= MOST_PROBE_S
        and min(ratios) >= LEAST_RATIO
    )


def _measured(setup: Setup, speech: str, device: str) -> dict[str, Any] | None:
    """A configuration in a process of its own; None where it does not fit this device."""
    limits = SMOKE if device == "cpu" else {}
    arguments = [asdict(setup), speech, device, *limits.values()]
    use = peak_memory("benchmarks.gpu_steps:measure", *arguments, threads=os.cpu_count() or 1)
    return None if use.result is None else dict(use.result)


def _line(one: Outcome | None) -> str:
    if one is None:
        return "does not fit"
    ran_out = sum(step["out_of_memory"] for step in (*one["verified"], *one["visited"]))
    if one["context_bytes"] == 0:
        return f"{len(one['visited'])} steps, {ran_out} out of memory"
    share = taken(one) / one["budget_bytes"]
    return f"{share:.1%} of the budget, {ran_out} out of memory, {one['plan_s'] + one['verify_s']:.0f} s to verify"


def _spread(values: Sequence[float], unit: str) -> dict[str, Any]:
    return {"value": statistics.median(values), "unit": unit, "spread": [min(values), max(values)]}


def _rival(run: Mapping[str, Any]) -> dict[str, Any]:
    note = f"{run['audio_per_s']:.1f} s of audio per second, batches of {run['batch']} after {run['restarts']} restarts"
    return {"median_wall_s": run["wall_s"], "note": note}


def _earlier(path: Path) -> dict[str, Any]:
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: dict(kept.get(key, {})) for key in _KEPT}


def _gpu() -> dict[str, str]:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"gpu": done.stdout.splitlines()[0]}


if __name__ == "__main__":
    raise SystemExit(main())
