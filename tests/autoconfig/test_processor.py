"""Processors as /proc/cpuinfo and sysctl describe them, and the peak rates that follow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harken.autoconfig.processor import read_processor

HYPER_THREADED = (
    "processor\t: 0\nmodel name\t: Xeon 9 @ 2.50GHz\nsiblings\t: 8\ncpu cores\t: 4\nflags\t\t: fpu {flags}\n"
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("flags", "isa", "fp32", "bf16"),
    [
        ("sse2", (), 8, None),
        ("avx2 fma", ("avx2",), 32, None),
        ("avx2 avx512f avx512bw", ("avx2", "avx512"), 64, None),
        ("avx2 avx512f avx512_bf16", ("avx2", "avx512", "avx512_bf16"), 64, 128),
        ("avx2 avx512f avx512_bf16 amx_bf16 amx_tile", ("avx2", "avx512", "avx512_bf16", "amx_bf16"), 64, 256),
    ],
)
def test_rates_follow_the_instruction_sets(
    flags: str, isa: tuple[str, ...], fp32: int, bf16: int | None, tmp_path: Path
) -> None:
    cpuinfo = HYPER_THREADED.format(flags=flags)
    found = read_processor(root=tree(tmp_path, {"proc/cpuinfo": f"{cpuinfo}\nprocessor\t: 1\nflags\t: avx512f\n"}))
    assert (found.name, found.isa) == ("CPU: Xeon 9 @ 2.50GHz", isa)
    assert found.flops(2) == {"fp32": fp32 * 2.5e9} | ({"bf16": bf16 * 2.5e9} if bf16 else {})


@pytest.mark.parametrize(("cores", "physical"), [(1, 1), (2, 1), (3, 1.5), (8, 4)])
def test_the_second_thread_of_a_core_adds_nothing(cores: int, physical: float, tmp_path: Path) -> None:
    found = read_processor(root=tree(tmp_path, {"proc/cpuinfo": HYPER_THREADED.format(flags="avx2")}))
    assert found.threads_per_core == 2
    assert found.flops(cores) == {"fp32": physical * 32 * 2.5e9}


@pytest.mark.parametrize(
    "lines", ["", "siblings : 4\n", "siblings : x\ncpu cores : 2\n", "siblings : 4\ncpu cores : 0\n"]
)
def test_without_counts_each_core_has_one_thread(lines: str, tmp_path: Path) -> None:
    assert read_processor(root=tree(tmp_path, {"proc/cpuinfo": f"model name : A\n{lines}"})).threads_per_core == 1


def test_arm(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd bf16\n"})
    tree(root, {"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3000000\n"})
    found = read_processor(root=root)
    assert (found.isa, found.flops(4)) == (("neon",), {"fp32": 4 * 16 * 3.0e9})


@pytest.mark.parametrize(
    ("files", "line", "clock_hz"),
    [
        ({"base_frequency": "2100000", "cpuinfo_max_freq": "3900000"}, "cpu MHz : 1234.5", 2.1e9),
        ({"base_frequency": "x", "cpuinfo_max_freq": "3900000"}, "cpu MHz : 1234.5", 3.9e9),
        ({}, "cpu MHz : 2599.998", 2.6e9),
        ({}, "cpu MHz : 0.000", None),
        ({}, "cpu MHz : unknown", None),
        ({}, "", None),
    ],
)
def test_clock(files: dict[str, str], line: str, clock_hz: float | None, tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": f"model name : Some CPU\n{line}\nflags : avx2\n"})
    tree(root, {f"sys/devices/system/cpu/cpu0/cpufreq/{name}": text for name, text in files.items()})
    found = read_processor(root=root)
    assert found.clock_hz == (None if clock_hz is None else pytest.approx(clock_hz))
    assert found.flops(1)["fp32"] == pytest.approx(32 * (clock_hz or 2.0e9))
    assert found.name == ("CPU: Some CPU" if clock_hz else "CPU: Some CPU (clock unknown, 2.0 GHz assumed)")


def test_the_clock_in_the_name_goes_before_the_turbo_of_the_driver(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": HYPER_THREADED.format(flags="avx2")})
    tree(root, {"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3900000"})
    assert read_processor(root=root).clock_hz == 2.5e9


INTEL_MAC = """machdep.cpu.brand_string: Intel(R) Core(TM) i7 CPU @ 2.60GHz
machdep.cpu.features: FPU AVX1.0
machdep.cpu.leaf7_features: BMI1 AVX2
hw.cpufrequency: 2500000000
hw.physicalcpu: 6
hw.logicalcpu: 12
"""
APPLE_MAC = """machdep.cpu.brand_string: Apple M2
hw.optional.neon: 1
hw.physicalcpu: 8
hw.logicalcpu: 8
"""


@pytest.mark.parametrize(
    ("answer", "name", "isa", "fp32"),
    [
        (INTEL_MAC, "CPU: Intel(R) Core(TM) i7 CPU @ 2.60GHz", ("avx2",), 6 * 32 * 2.6e9),
        (INTEL_MAC.replace(" @ 2.60GHz", ""), "CPU: Intel(R) Core(TM) i7 CPU", ("avx2",), 6 * 32 * 2.5e9),
        (APPLE_MAC, "CPU: Apple M2 (clock unknown, 2.0 GHz assumed)", ("neon",), 12 * 16 * 2.0e9),
    ],
)
def test_macos(answer: str, name: str, isa: tuple[str, ...], fp32: float, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(stdout=answer)

    found = read_processor(root=tmp_path, run=run)
    assert (found.name, found.isa) == (name, isa)
    assert found.flops(12)["fp32"] == pytest.approx(fp32)
    assert asked[0][:2] == ["sysctl", "-i"]
