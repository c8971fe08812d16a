"""How benchmarks measure: contenders taking turns, CPU time beside wall time, memory in a process of its own.

Wall time on a shared machine says as much about the neighbours as about the code. CPU time says less about them, and
taking turns (every contender once a round) spreads what is left of their influence over everybody.
"""

import gc
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "harken", "numpy", "scipy", "torch", "onnxruntime", "soxr", "soundfile", "av", "transformers", "ctranslate2",
    "faster-whisper", "sherpa-onnx", "pyctcdecode", "kenlm",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One contender's rounds, in the order they ran: wall time, and CPU time of all threads and children, in s."""

    wall_s: list[float]
    cpu_s: list[float]

    def __post_init__(self) -> None:
        if not self.wall_s or len(self.wall_s) != len(self.cpu_s):
            raise ValueError(
                f"{len(self.wall_s)} wall and {len(self.cpu_s)} CPU times; use as many of each, at least 1"
            )

    @property
    def median_wall_s(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def median_cpu_s(self) -> float:
        return statistics.median(self.cpu_s)

    def as_json(self) -> dict[str, Any]:
        """Medians, [smallest, largest], and the number of rounds."""
        return {
            "rounds": len(self.wall_s),
            "median_cpu_s": self.median_cpu_s,
            "median_wall_s": self.median_wall_s,
            "spread_cpu_s": [min(self.cpu_s), max(self.cpu_s)],
            "spread_wall_s": [min(self.wall_s), max(self.wall_s)],
        }


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Peak resident bytes of a process that ran one function, and the peak it had before the call (imports)."""

    peak_bytes: int
    before_bytes: int
    result: Any

    @property
    def added_bytes(self) -> int:
        return self.peak_bytes - self.before_bytes


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1) -> dict[str, Timing]:
    """Run every contender once a round and time each run.

    `warm_up` rounds come first and are not counted (lazy imports, compiled kernels, the file cache). The order turns
    by one each round, so that nobody always runs on the cache that the same neighbour left behind.
    """
    if rounds < 1 or not contenders:
        raise ValueError(f"{rounds} rounds of {len(contenders)} contenders; use at least one of each")
    names = list(contenders)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_up + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wall_s, cpu_s = timed(contenders[name])
            if turn >= warm_up:
                wall[name].append(wall_s)
                cpu[name].append(cpu_s)
    return {name: Timing(wall_s=wall[name], cpu_s=cpu[name]) for name in names}


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds of one call; rubbish of earlier calls is collected before, not during."""
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu_s()
    call()
    return time.perf_counter() - wall, _cpu_s() - cpu


def peak_memory(function: str, *arguments: Any, threads: int = 1) -> MemoryUse:
    """Run `"module:function"` with JSON-able arguments in a fresh Python and measure that process.

    The child reads its own high-water mark: what the parent would get from wait4 includes the parent's own size,
    inherited through fork.
    """
    command = [sys.executable, "-m", "benchmarks.harness", function, json.dumps(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=thread_environment(threads), stdout=subprocess.PIPE, text=True, check=True
    )
    return MemoryUse(**json.loads(done.stdout.splitlines()[-1]))


def thread_environment(threads: int) -> dict[str, str]:
    """This process's environment with every numerical library held to `threads` threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "false"}


def machine_facts() -> dict[str, Any]:
    """What a number needs beside it to mean something: hardware, versions, commit, and how busy the machine was."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _own_peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # macOS reports bytes where Linux would report kibibytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[1]) * 1024  # type: ignore[index]


def _measure_here(function: str, arguments: list[Any]) -> dict[str, Any]:
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    before = _own_peak_bytes()
    result = call(*arguments)
    return {"peak_bytes": _own_peak_bytes(), "before_bytes": before, "result": result}


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1], json.loads(sys.argv[2]))))
