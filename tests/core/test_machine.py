"""Cores and memory, read from fake file systems with known content."""

import sys
from pathlib import Path

import psutil
import pytest

from harken.core import machine
from harken.core.machine import Memory, read_memory, usable_cores

MEMINFO = "MemTotal:       16000 kB\nMemFree:         100 kB\nMemAvailable:    8000 kB\nHugePages_Total:       0\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_control_group_the_machine_counts(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": MEMINFO})
    assert read_memory(root=root) == Memory(total=16_000 * 1024, limit=None, available=8_000 * 1024)


def test_version_2_limits_of_every_level_count_and_file_cache_does_not(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/pod/job\n",
        "sys/fs/cgroup/pod/job/memory.max": "max\n",
        "sys/fs/cgroup/pod/memory.max": "5000000\n",
        "sys/fs/cgroup/pod/memory.current": "4000000\n",
        "sys/fs/cgroup/pod/memory.stat": "anon 5\ninactive_file 1500000\nactive_file 7\n",
    }
    assert read_memory(root=tree(tmp_path, files)) == Memory(total=16_384_000, limit=5_000_000, available=2_500_000)


def test_version_1(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "3000000\n",
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "2900000\n",
        "sys/fs/cgroup/memory/x/memory.stat": "inactive_file 7\ntotal_inactive_file 400000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = read_memory(root=tree(tmp_path, files))
    assert found.limit == 3_000_000
    assert found.available == 3_000_000 - (2_900_000 - 7)


def test_inside_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/host/path/not/mounted\n",
        "sys/fs/cgroup/memory.max": "1000000",
        "sys/fs/cgroup/memory.current": "1200000",
    }
    assert read_memory(root=tree(tmp_path, files)) == Memory(total=16_384_000, limit=1_000_000, available=0)


def test_this_machine_agrees_with_psutil() -> None:
    found = read_memory()
    assert found.total == psutil.virtual_memory().total
    assert found.available is not None
    assert 0 < found.available <= psutil.virtual_memory().available * 1.2


def test_elsewhere_psutil_answers_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_memory(root=tmp_path).total == psutil.virtual_memory().total
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert read_memory(root=tmp_path) == Memory(total=None, limit=None, available=None)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 6),
        ({"proc/self/cgroup": "0::/pod/job\n", "sys/fs/cgroup/pod/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/pod\n", "sys/fs/cgroup/pod/cpu.max": "max 100000\n"}, 6),
        ({"proc/self/cgroup": "0::/pod\n", "sys/fs/cgroup/pod/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "3200000 100000\n"}, 6),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
    ],
)
def test_usable_cores_are_bounded_by_the_quota_of_time(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert usable_cores(root=tree(tmp_path, files)) == cores


def test_usable_cores_without_affinity_are_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 5)
    assert usable_cores(root=tmp_path) == 5
