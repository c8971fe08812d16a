"""Facts about the machine, read from fake file systems with known content."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from harken.tracking import hardware
from harken.tracking.hardware import cpu_model, gpu_facts, hardware_facts


def test_processor_name(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 9000 @ 3GHz\nmodel name\t: other\n")
    assert cpu_model(root=tmp_path) == "Fast 9000 @ 3GHz"


def test_gpus_by_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(hardware.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    answer = "NVIDIA H200, 143771, 570.86.15\nNVIDIA A100-SXM4-40GB, [N/A], 570.86.15\n"
    asked: list[Any] = []

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        asked.append((command, options["timeout"]))
        return SimpleNamespace(stdout=answer)

    assert gpu_facts(run=run) == {
        "gpus": [
            {"name": "NVIDIA H200", "memory_bytes": 143771 * 2**20, "driver": "570.86.15"},
            {"name": "NVIDIA A100-SXM4-40GB", "memory_bytes": None, "driver": "570.86.15"},
        ],
        "cuda": None,
    }
    command = ["/usr/bin/nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    assert asked == [(command, 5)]


def test_a_broken_or_absent_nvidia_smi_is_a_reason_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(hardware.shutil, "which", lambda _: None)
    assert gpu_facts()["gpus_reason"] == "torch is not loaded and there is no nvidia-smi"
    monkeypatch.setattr(hardware.shutil, "which", lambda _: "/usr/bin/nvidia-smi")

    def run(*_: Any, **__: Any) -> SimpleNamespace:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    facts = gpu_facts(run=run)
    assert facts["gpus"] == []
    assert "timed out after 5 seconds" in facts["gpus_reason"]


def test_gpus_by_torch_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(name="NVIDIA T4", total_memory=15 * 2**30)
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_properties=lambda index: [device, device][index]
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.8")))
    one = {"name": "NVIDIA T4", "memory_bytes": 15 * 2**30}
    assert gpu_facts() == {"gpus": [one, one], "cuda": "12.8"}
    cuda.is_available = lambda: False
    assert gpu_facts() == {"gpus": [], "cuda": "12.8", "gpus_reason": "torch finds no usable GPU"}


def test_hardware_facts_name_cores_and_memory() -> None:
    facts = hardware_facts()
    assert facts["cores"] == psutil.cpu_count()
    assert 1 <= facts["usable_cores"] <= facts["cores"]
    assert facts["memory_bytes"] == psutil.virtual_memory().total
