"""The hardware that a plan is made for: this machine, a card of the catalogue, or one of which only memory is known."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harken.autoconfig.cards import CARDS, find_card, match_card, slowest_card
from harken.autoconfig.processor import read_processor
from harken.core import InputError, MissingPart
from harken.core.machine import read_memory, usable_cores
from harken.tracking.hardware import gpu_facts

DEFAULT_CORES = 8
"""Processor cores beside a card that is planned for elsewhere: what clouds commonly rent with one T4, A10G or L4 (AWS
g4dn.2xlarge and g5.2xlarge, Google g2-standard-8). Larger cards come with more."""

_CPU_BANDWIDTH = 20e9  # bytes/s: one channel of DDR4-2666 with little lost, the share of a small virtual machine
_GIB = 1 << 30
_LARGEST_SIZE = 1024 * _GIB
_UNITS = {"g": 10**9, "gb": 10**9, "gib": _GIB, "m": 10**6, "mb": 10**6, "mib": 1 << 20}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})", re.IGNORECASE)
_ASSUMED_GPU_CLOCK_HZ = 1.0e9  # under the boost clock of every card of the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """What training on a device can use.

    `memory_bytes` is the device's: the GPU's, or the main memory that a run on the processor may use (the control
    group's limit counts). `flops` holds peak operations per second by precision, "fp32" (outside tensor cores), "fp16",
    "bf16", absent where the device lacks it; `bandwidth` is bytes per second of the device's memory. `cores` (logical),
    `ram_bytes` and `disk_free_bytes` are those of the machine that loads the data, None where unknown. `isa` names a
    processor's instruction sets ("avx2", "avx512", "avx512_bf16", "amx_bf16", "neon").
    """

    name: str
    device: Literal["cuda", "cpu"]
    memory_bytes: int
    compute_capability: tuple[int, int] | None
    flops: Mapping[str, float]
    bandwidth: float
    cores: int
    ram_bytes: int | None
    disk_free_bytes: int | None
    source: Literal["catalogue", "machine", "size"]
    isa: tuple[str, ...] = ()

    @property
    def bf16(self) -> bool:
        """Whether the device computes in bfloat16."""
        return "bf16" in self.flops

    def as_json(self) -> dict[str, Any]:
        """Every field, ready for JSON: tuples are lists."""
        lists: dict[str, list[Any]] = {"isa": list(self.isa)}
        if self.compute_capability is not None:
            lists["compute_capability"] = list(self.compute_capability)
        return {**asdict(self), "flops": dict(self.flops), **lists}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """The machine around a device, as far as the caller gave it or it can be read."""

    cores: int
    ram_bytes: int | None
    disk_free_bytes: int | None


def card_names() -> list[str]:
    """Names of the catalogue's cards, as `find_hardware` takes them."""
    return [card.key for card in CARDS]


def find_hardware(
    name: str = "auto",
    *,
    ram_bytes: int | None = None,
    cores: int | None = None,
    folder: Path | None = None,
    root: Path = Path("/"),
    run: Callable[..., Any] = subprocess.run,
) -> HardwareProfile:
    """The hardware called `name`.

    "auto" is this machine's first GPU, or its processor where there is none; "cpu" the processor in any case;
    "a100-80gb", "RTX 3090" and the like a card of the catalogue (`card_names`); "24GiB" or "24GB" an unnamed GPU with
    that memory, at the rates of the slowest card of about that size. Only sizes with an "i" are binary: "24GB" and
    "24g" are 24e9 bytes, close to what programs get of a card sold as 24 GB.

    `ram_bytes`, `cores` and `folder` (its disk's free space counts) describe the machine around the device. For this
    machine they are read where they are not given, with the current folder; for a card planned for elsewhere main
    memory and disk are unknown and cores are `DEFAULT_CORES`. `root` and `run` stand in for the file system and
    subprocess in tests.

    Raises InputError for an unknown or ambiguous name, a size or count out of range, or a GPU that can be neither found
    in the catalogue nor measured; MissingPart where this system does not tell its main memory.
    """
    _check_positive(ram_bytes=ram_bytes, cores=cores)
    text = name.strip()
    if text.lower() in ("auto", "cpu"):
        memory = read_memory(root=root)
        if ram_bytes is None:
            ram_bytes = min((size for size in (memory.total, memory.limit) if size is not None), default=None)
        host = _Host(
            cores=cores or usable_cores(root=root), ram_bytes=ram_bytes, disk_free_bytes=_disk_free(folder or Path())
        )
        gpu = _machine_gpu(host, run) if text.lower() == "auto" else None
        return gpu or _cpu(host, root, run)
    free = None if folder is None else _disk_free(folder)
    host = _Host(cores=cores or DEFAULT_CORES, ram_bytes=ram_bytes, disk_free_bytes=free)
    size = _SIZE.fullmatch(text)
    return _catalogue_card(text, host) if size is None else _unnamed_card(size, host)


def _check_positive(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}.", hint="Give at least 1, or leave it out.")


def _disk_free(folder: Path) -> int:
    """Free bytes in whole GiB: the rest changes by the second, and the same inputs should give the same plan."""
    try:
        return shutil.disk_usage(folder).free // _GIB * _GIB
    except OSError as err:
        raise InputError(
            f"the free space of {folder} cannot be read: {err}.", hint="Name a folder that exists."
        ) from err


def _catalogue_card(text: str, host: _Host) -> HardwareProfile:
    card = find_card(text)
    return HardwareProfile(
        name=card.name,
        device="cuda",
        memory_bytes=card.memory_bytes,
        compute_capability=card.compute_capability,
        flops=card.flops,
        bandwidth=card.bandwidth,
        source="catalogue",
        **asdict(host),
    )


def _unnamed_card(size: re.Match[str], host: _Host) -> HardwareProfile:
    memory_bytes = round(float(size[1]) * _UNITS[size[2].lower()])
    if not 0 < memory_bytes <= _LARGEST_SIZE:
        raise InputError(f"a GPU with {size[0]} of memory?", hint="Give a size up to 1024GiB, such as 24GiB.")
    card = slowest_card(memory_bytes)
    unit = {"g": "GB", "m": "MB"}[size[2][0].lower()].replace("B", "iB" if "i" in size[2].lower() else "B")
    return HardwareProfile(
        name=f"{size[1]} {unit} GPU (rates of the {card.name})",
        device="cuda",
        memory_bytes=memory_bytes,
        compute_capability=card.compute_capability,
        flops=card.flops,
        bandwidth=card.bandwidth,
        source="size",
        **asdict(host),
    )


def _cpu(host: _Host, root: Path, run: Callable[..., Any]) -> HardwareProfile:
    if host.ram_bytes is None:
        raise MissingPart("this system does not tell its main memory.", hint="Install psutil, or give ram_bytes.")
    processor = read_processor(root=root, run=run)
    return HardwareProfile(
        name=processor.name,
        device="cpu",
        memory_bytes=host.ram_bytes,
        compute_capability=None,
        flops=processor.flops(host.cores),
        bandwidth=_CPU_BANDWIDTH,
        source="machine",
        isa=processor.isa,
        **asdict(host),
    )


def _machine_gpu(host: _Host, run: Callable[..., Any]) -> HardwareProfile | None:
    """This machine's first GPU. torch knows it best; nvidia-smi answers where torch is not installed."""
    properties = _torch_gpu()
    if properties is not None:
        return _measured_gpu(properties, host)
    gpus = gpu_facts(run=run)["gpus"]  # empty where torch is there and finds no GPU: training could use none either
    return _listed_gpu(gpus[0], host) if gpus else None


def _torch_gpu() -> Any | None:
    """Properties of the first GPU as torch gives them, None without torch or GPU."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None


def _measured_gpu(properties: Any, host: _Host) -> HardwareProfile:
    memory_bytes, capability = int(properties.total_memory), (int(properties.major), int(properties.minor))
    card = match_card(properties.name, memory_bytes)
    if card is None or card.compute_capability != capability:
        rates, bandwidth, basis = _estimate(properties, capability)
        name = f"{properties.name} ({basis})"
    else:
        rates, bandwidth, name = card.flops, card.bandwidth, properties.name
    return HardwareProfile(
        name=name,
        device="cuda",
        memory_bytes=memory_bytes,
        compute_capability=capability,
        flops=rates,
        bandwidth=bandwidth,
        source="machine",
        **asdict(host),
    )


def _estimate(properties: Any, capability: tuple[int, int]) -> tuple[dict[str, float], float, str]:
    """Rates, bandwidth and their basis for a card that the catalogue lacks.

    One fused multiply and add per core and cycle; half precision at twice that, which every card with a fast half
    precision reaches without tensor cores. Cores per multiprocessor: CUDA C++ Programming Guide, "Arithmetic
    Instructions". Older torch versions tell neither clocks nor the memory's width.
    """
    cores = 64 if capability[0] == 7 or capability in ((6, 0), (8, 0)) else 128
    clock_hz = (getattr(properties, "clock_rate", 0) or 0) * 1e3 or _ASSUMED_GPU_CLOCK_HZ
    count = int(properties.multi_processor_count)
    fp32 = count * cores * 2 * clock_hz
    rates = {"fp32": fp32}
    if capability >= (7, 0) or capability == (6, 0):  # of the others, float16 is slower than float32 or absent
        rates["fp16"] = 2 * fp32
    if capability >= (8, 0):
        rates["bf16"] = 2 * fp32
    pairs_per_s = (getattr(properties, "memory_clock_rate", 0) or 0) * 1e3  # two transfers a cycle
    width_bytes = (getattr(properties, "memory_bus_width", 0) or 0) / 8
    bandwidth = 2 * pairs_per_s * width_bytes or min(card.bandwidth for card in CARDS)
    return rates, bandwidth, f"rates estimated from {count} multiprocessors at {clock_hz / 1e9:.1f} GHz"


def _listed_gpu(gpu: Mapping[str, Any], host: _Host) -> HardwareProfile:
    """A GPU of which nvidia-smi gave name and memory, which counts what the driver keeps: the smaller figure holds."""
    card = find_card(gpu["name"]) if gpu["memory_bytes"] is None else match_card(gpu["name"], gpu["memory_bytes"])
    if card is None:
        message = (
            f"this machine's GPU, {gpu['name']}, is not in the catalogue, and torch, which could ask it, is absent."
        )
        raise InputError(
            message, hint=f"Install torch, give its memory (24GiB), or name a card: {', '.join(card_names())}."
        )
    return HardwareProfile(
        name=gpu["name"],
        device="cuda",
        memory_bytes=min(card.memory_bytes, gpu["memory_bytes"] or card.memory_bytes),
        compute_capability=card.compute_capability,
        flops=card.flops,
        bandwidth=card.bandwidth,
        source="machine",
        **asdict(host),
    )
