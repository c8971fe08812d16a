"""Parts of the benchmarks of inference: each in a process of its own, with the threads it is about.

    python -m benchmarks.inference_parts ctc sherpa                     # parts alone, printed
    python -m benchmarks.inference_parts --models /tmp/models whisper   # keeps the models for the next time
    python -m benchmarks.inference_parts --smoke                        # small models, few files: does it run?

Weights are random, of real shapes; audio is noise of log-normal duration. Contenders take turns; ratios are of CPU
time unless they say otherwise, spreads those of single rounds. One thread where a part does not say two.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import peak_memory
from benchmarks.run import table


@dataclass(frozen=True, kw_only=True)
class Part:
    """A function of (folder, smoke) that returns figures, rivals and the names of figures that miss their target."""

    function: str
    target: str
    threads: int = 1


PARTS = {
    "ctc": Part(
        function="benchmarks.inference_ctc:against_transformers",
        target="wav2vec2-base: int8 at most 0.6 times the CPU time of transformers' pipeline, fp32 ONNX at most 0.8 "
        "times that of transformers' forward pass alone; fp32 texts equal",
    ),
    "sherpa": Part(
        function="benchmarks.inference_ctc:against_sherpa",
        target="Conformer: at most 1.1 times sherpa-onnx on the same files (fp32, int8), fp32 ONNX at most 0.8 times "
        "torch eager; fp32 texts equal",
    ),
    "whisper": Part(
        function="benchmarks.inference_whisper:against_faster_whisper",
        target="Whisper-tiny: at most 1.03 times faster-whisper on the same files and tokens",
    ),
    "whisper-batch": Part(
        function="benchmarks.inference_whisper:at_once",
        target="8 files at once at least 1.3 times the throughput of one after the other, two threads",
        threads=2,
    ),
    "files": Part(
        function="benchmarks.inference_files:throughput",
        target="200 short files: at least 2 times the throughput of one by one, two threads",
        threads=2,
    ),
    "memory": Part(
        function="benchmarks.inference_files:memory",
        target="3,200 files in at most 10 % more memory than 800; three hours in at most 600 MiB above the model",
    ),
}


def measure(name: str, folder: str, *, smoke: bool = False) -> dict[str, Any]:
    """The result of one part, with the load of the machine when it began; models and audio go to `folder`."""
    part, load = PARTS[name], round(os.getloadavg()[0], 2)
    result = peak_memory(part.function, folder, smoke, threads=part.threads).result
    return {"name": name, "target": part.target, "met": not result["missed"], "load": load, **result}


def measure_together(name: str, title: str, parts: Sequence[str], *, note: str = "") -> dict[str, Any]:
    """Parts as one benchmark, in the form `benchmarks.run` keeps."""
    with tempfile.TemporaryDirectory(prefix="harken-inference-") as folder:
        results = [measure(part, folder) for part in parts]
    missed = [figure for result in results for figure in result["missed"]]
    told = f"Missed: {'; '.join(missed)}." if missed else ""
    return {
        "name": name,
        "title": title,
        "target": "; ".join(PARTS[part].target for part in parts),
        "met": not missed,
        "note": f"{note} {told}".strip(),
        "figures": {label: figure for result in results for label, figure in result["figures"].items()},
        "rivals": {label: rival for result in results for label, rival in result["rivals"].items()},
        "parts": {result["name"]: {"met": result["met"], "load": result["load"]} for result in results},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference_parts", description="Parts alone.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--smoke", action="store_true", help="small models and few files")
    parser.add_argument("--models", help="a folder for the models, which stays (default: a temporary one)")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.parts) - set(PARTS)):
        parser.error(f"no part called {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="harken-inference-") as folder:
        for name in chosen.parts or PARTS:
            result = measure(name, chosen.models or folder, smoke=chosen.smoke)
            both = {**result["figures"], **result["rivals"]}
            print(table({**result, "figures": both}), f"  load {result['load']}", sep="\n", flush=True)


if __name__ == "__main__":
    main()
