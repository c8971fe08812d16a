"""Freed memory is kept while asked for, and goes back afterwards; page faults and bytes of a process of its own."""

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource
import psutil, torch
from harken.training.allocator import freed_memory_kept, return_freed_memory

def faults(rounds=10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16_000_000)  # 64 MB, 16,000 pages: above what glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return psutil.Process().memory_info().rss / 1e6

faults()
found = {"plain": faults()}
with freed_memory_kept():
    faults()
    found["kept"] = faults()
    many = [torch.ones(16_000_000) for _ in range(5)]
    full = resident()
    del many
    found["still held"] = resident() - full
    return_freed_memory()
    found["returned"] = resident() - full
with freed_memory_kept():
    many = [torch.ones(16_000_000) for _ in range(5)]
    full = resident()
    del many
found["after"] = resident() - full
print(json.dumps(found))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_freed_memory_is_kept_and_returned() -> None:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert found["plain"] > 10 * 12_000  # every tensor was fresh memory
    assert found["kept"] < 0.05 * found["plain"]
    assert found["still held"] > -20  # MB of 320
    assert found["returned"] < -250
    assert found["after"] < -250
