"""What this machine has: processors, memory, GPUs. Facts that cannot be had are None, with the reason beside them."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" with a number near 2^63
_MEMORY_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
_GPU_FIELDS = ("name", "memory.total", "driver_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory in bytes. `limit` is the tightest control group's, None where there is none.

    `available` is what a new allocation can have without swapping: the smaller of what the machine and what the
    control group have left. Both are None where the system does not tell.
    """

    total: int | None
    limit: int | None
    available: int | None


def read_memory(*, root: Path = Path("/")) -> Memory:
    """Memory of this machine and of the control group (container) this process lives in, v1 or v2.

    `root` stands in for the root of the file system in tests.
    """
    total, available = _machine_memory(root)
    limits: list[int] = []
    for limit, used in _group_memory(root):
        limits.append(limit)
        available = min(max(0, limit - used), limit if available is None else available)
    limit_bytes = min(limits, default=None)
    return Memory(total=total, limit=limit_bytes, available=available)


def usable_cores(*, root: Path = Path("/")) -> int:
    """Logical cores this process can keep busy: those it may run on, no more than the control group's quota of time.

    A quota of 2.5 cores counts as 2. `root` stands in for the root of the file system in tests.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min((cores, *(int(quota) for quota in _group_quotas(root)))))


def hardware_facts(*, run: Callable[..., Any] = subprocess.run) -> dict[str, Any]:
    """Processor, memory and GPUs, ready for JSON."""
    memory = read_memory()
    return {
        "cpu": cpu_model(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": memory.total,
        "memory_limit_bytes": memory.limit,
        **gpu_facts(run=run),
    }


def cpu_model(*, root: Path = Path("/")) -> str | None:
    """The processor's name as the system gives it."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    found = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or None


def gpu_facts(*, run: Callable[..., Any] = subprocess.run) -> dict[str, Any]:
    """GPUs and CUDA version: from torch where the program has loaded it, else from nvidia-smi.

    torch is never imported for this: a program that does without it should not pay for it. Where it is loaded and
    sees a GPU, asking for the GPU's properties starts CUDA, which such a program is about to do anyway.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda"):
        if not torch.cuda.is_available():
            return {"gpus": [], "cuda": torch.version.cuda, "gpus_reason": "torch finds no usable GPU"}
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        found = [{"name": device.name, "memory_bytes": int(device.total_memory)} for device in devices]
        return {"gpus": found, "cuda": torch.version.cuda}
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"gpus": [], "cuda": None, "gpus_reason": "torch is not loaded and there is no nvidia-smi"}
    return _ask_nvidia_smi(program, run)


def _ask_nvidia_smi(program: str, run: Callable[..., Any]) -> dict[str, Any]:
    command = [program, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError) as err:
        return {"gpus": [], "cuda": None, "gpus_reason": f"nvidia-smi failed: {err}"}
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    gpus = [
        {"name": row[0], "memory_bytes": int(row[1]) << 20 if row[1].isdigit() else None, "driver": row[2]}
        for row in rows
        if len(row) == len(_GPU_FIELDS)
    ]
    return {"gpus": gpus, "cuda": None}


def _machine_memory(root: Path) -> tuple[int | None, int | None]:
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _machine_memory_elsewhere()
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    total, available = kib.get("MemTotal"), kib.get("MemAvailable")
    return (None if total is None else total << 10), (None if available is None else available << 10)


def _machine_memory_elsewhere() -> tuple[int | None, int | None]:
    """Systems without /proc: psutil knows them, where it is installed."""
    try:
        import psutil
    except ImportError:
        return None, None
    machine = psutil.virtual_memory()
    return int(machine.total), int(machine.available)


def _group_memory(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes in use that cannot be reclaimed) of each limited control group above this process."""
    for folder, version in _groups(root, "memory"):
        limit_name, used_name = _MEMORY_FILES[version]
        limit = _number(folder / limit_name)
        if limit is not None and limit < _UNLIMITED:
            yield limit, max(0, (_number(folder / used_name) or 0) - _reclaimable(folder))


def _group_quotas(root: Path) -> Iterator[float]:
    """Cores that each control group above this process may keep busy, of those that limit them."""
    for folder, version in _groups(root, "cpu"):
        if version == 1:
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        else:
            quota, period = _pair(folder / "cpu.max")
        if quota is not None and period:
            yield quota / period


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the control groups above this process that this controller limits, each with the version, 1 or 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / (f"sys/fs/cgroup/{controller}" if controllers else "sys/fs/cgroup")
        # Inside a container the path may be the host's; then only the mount itself exists, and it is the group.
        group = mount / path.strip("/")
        for folder in (group, *group.parents):
            yield folder, 1 if controllers else 2
            if folder == mount:
                break


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None  # "max" and -1 mean no limit


def _pair(path: Path) -> tuple[int | None, int | None]:
    """Two numbers on one line, as in "200000 100000"; "max" stands for no limit."""
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return None, None
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None, None
    return int(words[0]), int(words[1])


def _reclaimable(folder: Path) -> int:
    """File cache the kernel gives up before it refuses memory."""
    try:
        text = (folder / "memory.stat").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
