"""What this machine has: processors, memory, GPUs. Facts that cannot be had are None, with the reason beside them."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harken.core.machine import read_memory, usable_cores

_GPU_FIELDS = ("name", "memory.total", "driver_version")


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
