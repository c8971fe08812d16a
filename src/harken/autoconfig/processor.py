"""This machine's processor: model, usable cores, instruction sets, and from these its peak rate.

Linux tells in /proc/cpuinfo, macOS by sysctl. What neither tells is taken from conservative figures that `Processor`
names, so that a reader of a plan sees what was assumed.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.tracking.hardware import cpu_model

# Floating-point operations per core and clock cycle in float32: lanes, times two for fused multiply and add, times two
# units that do it, by Intel's and Arm's optimisation manuals. SSE2 has nothing fused and counts one unit of each kind.
_OPERATIONS = {"avx512": 64, "avx2": 32, "neon": 16}
_OPERATIONS_SSE2 = 8
# In bfloat16. AMX tiles do 1024 by the manual, but PyTorch's products of large matrices reached only four times their
# own float32 rate on a Sapphire Rapids core, so four times is what is counted.
_OPERATIONS_BF16 = {"amx_bf16": 256, "avx512_bf16": 128}
_ASSUMED_CLOCK_HZ = 2.0e9  # base clock of slow server processors

# Names here, and the systems' words for the same: /proc/cpuinfo's on x86 and Arm, and sysctl's.
_ISA = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "avx512_bf16": ("avx512_bf16",),
    "amx_bf16": ("amx_bf16",),
    "neon": ("asimd", "neon"),
}
_SYSCTL_NAMES = (
    "machdep.cpu.brand_string",
    "machdep.cpu.features",
    "machdep.cpu.leaf7_features",
    "hw.optional.neon",
    "hw.cpufrequency",
    "hw.physicalcpu",
    "hw.logicalcpu",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """`isa`: instruction sets that matter here, "avx2" and so on. `threads_per_core`: 2 with hyper-threading, whose
    second thread adds no arithmetic. `clock_hz` is None where the system does not tell it."""

    model: str
    isa: tuple[str, ...]
    threads_per_core: int
    clock_hz: float | None

    @property
    def name(self) -> str:
        """The model, with the clock that is assumed where it is unknown."""
        assumed = "" if self.clock_hz else f" (clock unknown, {_ASSUMED_CLOCK_HZ / 1e9:.1f} GHz assumed)"
        return f"CPU: {self.model}{assumed}"

    def flops(self, cores: int) -> dict[str, float]:
        """Peak operations per second by precision of `cores` logical cores; "bf16" only where instructions exist."""
        cycles = max(1.0, cores / self.threads_per_core) * (self.clock_hz or _ASSUMED_CLOCK_HZ)
        rates = {"fp32": cycles * self._most(_OPERATIONS, _OPERATIONS_SSE2)}
        bf16 = self._most(_OPERATIONS_BF16, 0)
        return {**rates, "bf16": cycles * bf16} if bf16 else rates

    def _most(self, operations: dict[str, int], least: int) -> int:
        return max((operations[name] for name in self.isa if name in operations), default=least)


def read_processor(*, root: Path = Path("/"), run: Callable[..., Any] = subprocess.run) -> Processor:
    """The processor of this machine. `root` stands in for the file system in tests, `run` for subprocess.run."""
    model = cpu_model(root=root) or "unknown"
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _from_sysctl(_ask_sysctl(run), model)
    facts = _facts(text)
    return Processor(
        model=model,
        isa=_isa(facts.get("flags", "") + " " + facts.get("features", "")),
        threads_per_core=_ratio(facts.get("siblings"), facts.get("cpu cores")),
        clock_hz=_clock_in_name(model) or _clock_of_driver(root) or _clock_now(facts),
    )


def _from_sysctl(facts: dict[str, str], model: str) -> Processor:
    model = facts.get("machdep.cpu.brand_string", model)
    flags = f"{facts.get('machdep.cpu.features', '')} {facts.get('machdep.cpu.leaf7_features', '')}".lower()
    neon = " neon" if facts.get("hw.optional.neon") == "1" else ""
    hertz = facts.get("hw.cpufrequency", "")  # Intel only
    return Processor(
        model=model,
        isa=_isa(flags + neon),
        threads_per_core=_ratio(facts.get("hw.logicalcpu"), facts.get("hw.physicalcpu")),
        clock_hz=_clock_in_name(model) or (float(hertz) if hertz.isdigit() else None),
    )


def _ask_sysctl(run: Callable[..., Any]) -> dict[str, str]:
    """What macOS tells; nothing on systems without sysctl. Its -i leaves out names that this processor has not."""
    try:
        answer = run(["sysctl", "-i", *_SYSCTL_NAMES], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return _facts(answer)


def _facts(text: str) -> dict[str, str]:
    """The first value of each "name : value" line, which in /proc/cpuinfo is the first core's."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip().lower(), value.strip())
    return facts


def _isa(flags: str) -> tuple[str, ...]:
    present = set(flags.split())
    return tuple(name for name, words in _ISA.items() if present.intersection(words))


def _ratio(threads: str | None, cores: str | None) -> int:
    if threads is None or cores is None or not threads.isdigit() or not cores.isdigit() or int(cores) == 0:
        return 1
    return max(1, int(threads) // int(cores))


def _clock_in_name(model: str) -> float | None:
    found = re.search(r"@ ?(\d+(?:\.\d+)?) ?GHz", model)
    return float(found[1]) * 1e9 if found else None


def _clock_of_driver(root: Path) -> float | None:
    """The base clock, else the highest, in Hz as the frequency driver gives it."""
    for name in ("base_frequency", "cpuinfo_max_freq"):
        try:
            text = (root / "sys/devices/system/cpu/cpu0/cpufreq" / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit() and int(text) > 0:
            return int(text) * 1e3
    return None


def _clock_now(facts: dict[str, str]) -> float | None:
    """The clock at the moment, in steps of 0.1 GHz: without a frequency driver (virtual machines) it hardly moves, and
    the same machine should give the same plan."""
    found = re.fullmatch(r"\d+(?:\.\d+)?", facts.get("cpu mhz", ""))
    return round(float(found[0]) / 100) * 1e8 if found and float(found[0]) >= 100 else None
