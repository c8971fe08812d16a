"""Hardware profiles of fake machines: their files, their torch and their nvidia-smi hold what each test says."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harken.autoconfig import hardware
from harken.autoconfig.cards import find_card
from harken.autoconfig.hardware import DEFAULT_CORES, card_names, find_hardware
from harken.core import InputError, MissingPart

GIB = 1 << 30
MIB = 1 << 20
MEMINFO = f"MemTotal: {32 * GIB >> 10} kB\nMemAvailable: {30 * GIB >> 10} kB\n"
CPUINFO = (
    "processor\t: 0\nmodel name\t: Xeon 9 @ 2.50GHz\nsiblings\t: 8\ncpu cores\t: 4\nflags\t\t: fpu {flags}\n\n"
    "processor\t: 1\nmodel name\t: other\n"
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def machine(root: Path, *, flags: str = "avx2", **more: str) -> Path:
    return tree(root, {"proc/meminfo": MEMINFO, "proc/cpuinfo": CPUINFO.format(flags=flags), **more})


def fake_torch(**properties: Any) -> SimpleNamespace:
    """torch that sees one GPU, or none without properties."""
    cuda = SimpleNamespace(
        is_available=lambda: bool(properties),
        get_device_properties=lambda index: [SimpleNamespace(**properties)][index],
    )
    return SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda=None))


def smi(monkeypatch: pytest.MonkeyPatch, line: str) -> Any:
    """A machine without torch whose nvidia-smi prints this line."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("harken.tracking.hardware.shutil.which", lambda _: "nvidia-smi")
    return lambda *_, **__: SimpleNamespace(stdout=line + "\n")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())


@pytest.mark.parametrize("name", ["auto", "cpu", " CPU "])
def test_without_a_gpu_the_processor_counts(name: str, no_gpu: None, tmp_path: Path) -> None:
    found = find_hardware(name, cores=8, root=machine(tmp_path), folder=tmp_path)
    assert (found.name, found.device, found.source) == ("CPU: Xeon 9 @ 2.50GHz", "cpu", "machine")
    assert found.memory_bytes == found.ram_bytes == 32 * GIB
    # 8 threads on 4 cores, 2 units of 8 lanes with fused multiply and add: 32 operations a cycle.
    assert found.flops == {"fp32": 4 * 32 * 2.5e9}
    assert (found.cores, found.isa, found.compute_capability, found.bf16) == (8, ("avx2",), None, False)


def test_the_control_groups_limit_is_the_memory(no_gpu: None, tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/memory.max": str(3 * GIB)}
    found = find_hardware("auto", root=machine(tmp_path, **files))
    assert (found.memory_bytes, found.ram_bytes) == (3 * GIB, 3 * GIB)


def test_the_control_groups_quota_bounds_the_cores(
    no_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.core.machine.os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert find_hardware("cpu", root=machine(tmp_path)).cores == 8
    files = {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "400000 100000\n"}
    found = find_hardware("cpu", root=machine(tmp_path, **files))
    assert (found.cores, found.flops["fp32"]) == (4, 2 * 32 * 2.5e9)


def test_the_control_groups_limit_is_the_main_memory_beside_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = fake_torch(name="Tesla T4", total_memory=15_095 * MIB, major=7, minor=5, multi_processor_count=40)
    monkeypatch.setitem(sys.modules, "torch", torch)
    files = {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/memory.max": str(3 * GIB)}
    found = find_hardware(root=machine(tmp_path, **files))
    assert (found.memory_bytes, found.ram_bytes) == (15_095 * MIB, 3 * GIB)


def test_what_the_caller_gives_goes_before_what_is_read(no_gpu: None, tmp_path: Path) -> None:
    found = find_hardware("cpu", ram_bytes=5 * GIB, cores=2, root=machine(tmp_path))
    assert (found.memory_bytes, found.ram_bytes, found.cores) == (5 * GIB, 5 * GIB, 2)
    assert found.flops["fp32"] == 1 * 32 * 2.5e9


def test_a_system_that_tells_nothing(no_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("sysctl")

    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(MissingPart, match=r"does not tell its main memory\. Install psutil, or give ram_bytes"):
        find_hardware("cpu", root=tmp_path, run=run)
    found = find_hardware("cpu", ram_bytes=GIB, cores=1, root=tmp_path, run=run)
    assert (found.memory_bytes, found.isa, found.flops) == (GIB, (), {"fp32": 8 * 2.0e9})


def test_a_known_gpu_has_its_own_memory_and_the_catalogues_rates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed = {"name": "NVIDIA A100-SXM4-80GB", "total_memory": 84_974_239_744, "major": 8, "minor": 0}
    monkeypatch.setitem(sys.modules, "torch", fake_torch(**printed, multi_processor_count=108))
    found = find_hardware(cores=16, root=machine(tmp_path))
    assert (found.name, found.device, found.source) == ("NVIDIA A100-SXM4-80GB", "cuda", "machine")
    assert (found.memory_bytes, found.compute_capability, found.bf16) == (84_974_239_744, (8, 0), True)
    assert found.flops == {"fp32": 19.5e12, "fp16": 312e12, "bf16": 312e12}
    assert (found.cores, found.ram_bytes, found.isa) == (16, 32 * GIB, ())
    assert find_hardware("cpu", root=machine(tmp_path)).device == "cpu"


@pytest.mark.parametrize(
    ("capability", "cores", "halves"),
    [((6, 1), 128, ()), ((7, 5), 64, ("fp16",)), ((8, 9), 128, ("fp16", "bf16")), ((12, 0), 128, ("fp16", "bf16"))],
)
def test_an_unknown_gpu_is_estimated_and_says_so(
    capability: tuple[int, int], cores: int, halves: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = {"name": "NVIDIA New", "total_memory": 20 * GIB, "major": capability[0], "minor": capability[1]}
    clocks = {"clock_rate": 1_500_000, "memory_clock_rate": 7_000_000, "memory_bus_width": 256}
    monkeypatch.setitem(sys.modules, "torch", fake_torch(**facts, **clocks, multi_processor_count=10))
    found = find_hardware(root=machine(tmp_path))
    fp32 = 10 * cores * 2 * 1.5e9
    assert found.flops == {"fp32": fp32} | dict.fromkeys(halves, 2 * fp32)
    assert found.bandwidth == 2 * 7e9 * 32
    assert found.name == "NVIDIA New (rates estimated from 10 multiprocessors at 1.5 GHz)"
    assert (found.memory_bytes, found.compute_capability, found.source) == (20 * GIB, capability, "machine")


def test_a_known_name_with_another_compute_capability_is_another_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed = {"name": "Tesla T4", "total_memory": 15_095 * MIB, "major": 8, "minor": 6}
    monkeypatch.setitem(sys.modules, "torch", fake_torch(**printed, multi_processor_count=40))
    found = find_hardware(root=machine(tmp_path))
    assert found.name == "Tesla T4 (rates estimated from 40 multiprocessors at 1.0 GHz)"
    assert found.bf16


def test_an_estimate_without_clocks_stays_under_the_data_sheet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    printed = {"name": "NVIDIA GeForce RTX 3080 Ti", "total_memory": 12_045 * MIB, "major": 8, "minor": 6}
    monkeypatch.setitem(sys.modules, "torch", fake_torch(**printed, multi_processor_count=80))
    found = find_hardware(root=machine(tmp_path))
    assert found.name.endswith("(rates estimated from 80 multiprocessors at 1.0 GHz)")
    assert 0.5 * 34.1e12 <= found.flops["fp32"] <= 34.1e12
    assert 0.5 * 68.2e12 <= found.flops["bf16"] <= 68.2e12
    assert found.bandwidth <= 912e9


def test_without_torch_nvidia_smi_names_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = smi(monkeypatch, "Tesla T4, 15360, 550.54")
    found = find_hardware(root=machine(tmp_path), run=run)
    assert (found.name, found.compute_capability, found.source) == ("Tesla T4", (7, 5), "machine")
    assert found.memory_bytes == find_card("t4").memory_bytes  # nvidia-smi counts what the driver keeps
    run = smi(monkeypatch, "NVIDIA L4, 22000, 550.54")
    assert find_hardware(root=machine(tmp_path), run=run).memory_bytes == 22_000 * MIB
    run = smi(monkeypatch, "NVIDIA H200, [N/A], 550.54")
    assert find_hardware(root=machine(tmp_path), run=run).memory_bytes == find_card("h200").memory_bytes


def test_without_torch_an_unknown_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = smi(monkeypatch, "NVIDIA Titan Z, 6144, 550.54")
    with pytest.raises(InputError) as caught:
        find_hardware(root=machine(tmp_path), run=run)
    assert caught.value.message.startswith("this machine's GPU, NVIDIA Titan Z, is not in the catalogue")
    assert "a100-80gb" in caught.value.hint


def test_a_gpu_that_torch_cannot_use_is_no_gpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harken.tracking.hardware.shutil.which", lambda _: "nvidia-smi")

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("nvidia-smi is not asked")

    assert find_hardware(root=machine(tmp_path), run=run).device == "cpu"


def test_a_card_of_the_catalogue_is_planned_for_elsewhere(tmp_path: Path) -> None:
    found = find_hardware("A100 80GB")
    card = find_card("a100-80gb")
    assert (found.name, found.device, found.source) == ("NVIDIA A100 80GB", "cuda", "catalogue")
    assert (found.memory_bytes, found.flops, found.bandwidth) == (card.memory_bytes, card.flops, card.bandwidth)
    assert (found.cores, found.ram_bytes, found.disk_free_bytes) == (DEFAULT_CORES, None, None)
    assert not find_hardware("t4").bf16
    given = find_hardware("t4", ram_bytes=64 * GIB, cores=12, folder=tmp_path)
    assert (given.ram_bytes, given.cores) == (64 * GIB, 12)
    assert given.disk_free_bytes is not None


def test_card_names_all_work() -> None:
    assert len(card_names()) == 28
    assert [find_hardware(name).name for name in card_names()] == [find_card(name).name for name in card_names()]


@pytest.mark.parametrize(
    ("text", "memory_bytes", "name"),
    [
        ("24GiB", 24 * GIB, "24 GiB GPU (rates of the NVIDIA A10G)"),
        ("24 gib", 24 * GIB, "24 GiB GPU (rates of the NVIDIA A10G)"),
        (" 24GB ", 24_000_000_000, "24 GB GPU (rates of the NVIDIA A10G)"),
        ("24g", 24_000_000_000, "24 GB GPU (rates of the NVIDIA A10G)"),
        ("7.5GiB", 8_053_063_680, "7.5 GiB GPU (rates of the NVIDIA GeForce RTX 3070)"),
        ("512MiB", 512 * MIB, "512 MiB GPU (rates of the NVIDIA GeForce RTX 3070)"),
        ("8000m", 8_000_000_000, "8000 MB GPU (rates of the NVIDIA GeForce RTX 3070)"),
        ("80GiB", 80 * GIB, "80 GiB GPU (rates of the NVIDIA A100 80GB)"),
    ],
)
def test_a_size_is_an_unnamed_gpu(text: str, memory_bytes: int, name: str) -> None:
    found = find_hardware(text)
    assert (found.memory_bytes, found.name) == (memory_bytes, name)
    assert (found.device, found.source, found.ram_bytes, found.cores) == ("cuda", "size", None, DEFAULT_CORES)
    assert found.bf16


@pytest.mark.parametrize("text", ["0GiB", "0.0g", "2000GiB", "1e9"])
def test_a_size_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 24GiB"):
        find_hardware(text)


@pytest.mark.parametrize("wrong", [{"ram_bytes": 0}, {"cores": 0}, {"cores": -3}])
def test_counts_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name} is {value}. Give at least 1"):
        find_hardware("t4", **wrong)  # type: ignore[arg-type]


def test_disk_is_that_of_the_folder_in_whole_gib(no_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path: 7 * GIB + 12_345, Path(): 9 * GIB}
    monkeypatch.setattr(hardware.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder]))
    assert find_hardware("cpu", root=machine(tmp_path), folder=tmp_path).disk_free_bytes == 7 * GIB
    assert find_hardware("cpu", root=machine(tmp_path)).disk_free_bytes == 9 * GIB


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere cannot be read.*Name a folder that exists"):
        find_hardware("t4", folder=tmp_path / "nowhere")


def test_as_json_has_every_field(no_gpu: None, tmp_path: Path) -> None:
    found = json.loads(json.dumps(find_hardware("rtx 3090", ram_bytes=GIB).as_json()))
    assert found == {
        "name": "NVIDIA GeForce RTX 3090",
        "device": "cuda",
        "memory_bytes": 24_120 * MIB,
        "compute_capability": [8, 6],
        "flops": {"fp32": 35.6e12, "fp16": 71e12, "bf16": 71e12},
        "bandwidth": 936e9,
        "cores": 8,
        "ram_bytes": GIB,
        "disk_free_bytes": None,
        "source": "catalogue",
        "isa": [],
    }
    found = json.loads(json.dumps(find_hardware("cpu", root=machine(tmp_path)).as_json()))
    assert (found["compute_capability"], found["isa"]) == (None, ["avx2"])


def test_this_machine_gives_the_same_profile_twice(no_gpu: None) -> None:
    assert find_hardware("cpu") == find_hardware("cpu")


def test_naming_a_card_loads_no_torch() -> None:
    code = "import sys; from harken.autoconfig.hardware import find_hardware; find_hardware('t4')"
    command = [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"]
    assert subprocess.run(command, check=False).returncode == 0
