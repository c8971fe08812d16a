"""What this process may use of the machine: cores and memory, by the system and its control groups (containers)."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" with a number near 2^63
_MEMORY_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}


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
