"""Rules about the machine, the data and the schedule, by hand."""

from typing import Any

import pytest

from harken.autoconfig import rules
from harken.autoconfig.hardware import card_names, find_hardware
from harken.core import InputError
from harken.training.precision import FP16_FROM_BYTES

GB = 10**9


def test_the_budget_is_the_memory_times_the_margin() -> None:
    decision = rules.budget_bytes(24 * GB, 0.85)
    assert (decision.name, decision.value) == ("budget_bytes", 20_400_000_000)
    assert decision.inputs == {"memory_bytes": 24 * GB, "safety_margin": 0.85}


@pytest.mark.parametrize(
    ("device", "flops", "memory_bytes", "asked", "chosen"),
    [
        ("cuda", {"fp32": 1.0, "fp16": 1.0, "bf16": 1.0}, 80 * GB, "auto", "bf16"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0, "bf16": 1.0}, 4 * GB, "auto", "bf16"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0}, 16 * GB, "auto", "fp16"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0}, 8 * GB, "auto", "fp16"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0}, 8 * GB - 1, "auto", "fp32"),
        ("cuda", {"fp32": 1.0}, 16 * GB, "auto", "fp32"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0}, 4 * GB, "fp16", "fp16"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0, "bf16": 1.0}, 80 * GB, "fp32", "fp32"),
        ("cuda", {"fp32": 1.0, "fp16": 1.0, "bf16": 1.0}, 80 * GB, "fp16", "fp16"),
        ("cpu", {"fp32": 1.0, "bf16": 1.0}, 64 * GB, "auto", "fp32"),
        ("cpu", {"fp32": 1.0, "bf16": 1.0}, 64 * GB, "bf16", "bf16"),
    ],
)
def test_precision(
    planning: Any, device: str, flops: dict[str, float], memory_bytes: int, asked: str, chosen: str
) -> None:
    hardware = planning.World(device=device, flops=flops, memory_bytes=memory_bytes).hardware()
    assert rules.choose_precision(hardware, asked) == chosen
    fp16, bf16 = rules.mixed_precision(hardware, asked)
    assert (fp16.name, fp16.value, bf16.name, bf16.value) == ("fp16", chosen == "fp16", "bf16", chosen == "bf16")
    assert fp16.inputs["memory_bytes"] == memory_bytes


@pytest.mark.parametrize(
    ("device", "flops", "asked", "said"),
    [
        (
            "cuda",
            {"fp32": 1.0, "fp16": 1.0},
            "bf16",
            "precision is bf16, which a card does not have. Use auto, or one of",
        ),
        ("cpu", {"fp32": 1.0}, "fp16", "which a card does not have"),
        ("cpu", {"fp32": 1.0, "fp16": 1.0}, "fp16", "the device is a CPU"),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(
    planning: Any, device: str, flops: dict[str, float], asked: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        rules.choose_precision(planning.World(device=device, flops=flops).hardware(), asked)


def test_the_bound_for_fp16_is_the_trainers() -> None:
    assert rules.FP16_FROM_BYTES == FP16_FROM_BYTES


def test_every_card_of_the_catalogue_gets_a_mixed_precision() -> None:
    for name in card_names():
        hardware = find_hardware(name)
        newer = hardware.compute_capability is not None and hardware.compute_capability >= (8, 0)
        assert rules.choose_precision(hardware, "auto") == ("bf16" if newer else "fp16"), name


@pytest.mark.parametrize(
    ("cores", "audio_s_per_s", "workers"),
    [
        (8, 10.0, 1),  # 0.03 of a core
        (8, 333.0, 1),
        (8, 334.0, 2),  # 1.002
        (8, 2000.0, 6),
        (8, 5000.0, 7),  # 15 asked for
        (2, 5000.0, 1),
        (1, 10.0, 0),
    ],
)
def test_workers_decode_twice_as_fast_as_the_run_trains(cores: int, audio_s_per_s: float, workers: int) -> None:
    decision = rules.dataloader_num_workers(cores, audio_s_per_s, None)
    assert decision.value == workers
    assert decision.inputs["decode_s_per_audio_s"] == 0.0015


def test_workers_asked_for_are_taken() -> None:
    assert rules.dataloader_num_workers(2, 10.0, 5).value == 5
    assert rules.dataloader_num_workers(2, 10.0, 0).value == 0


@pytest.mark.parametrize(
    ("total_bytes", "total_s", "streamed"),
    [
        (50 * GB, 1.0, False),
        (50 * GB + 1, 1.0, True),
        (None, 50 * GB / 32_000, False),  # 16 bits at 16 kHz are 32,000 bytes a second
        (None, 50 * GB / 32_000 + 1, True),
        (10 * GB, 1e9, False),
    ],
)
def test_streaming_above_50_gb(total_bytes: int | None, total_s: float, streamed: bool) -> None:
    decision = rules.use_streaming(total_bytes, total_s)
    assert decision.value is streamed
    assert ("taken as 16 bits" in decision.rule) == (total_bytes is None)


@pytest.mark.parametrize(
    ("total_s", "ram_bytes", "cached"),
    [
        (100_000.0, 16 * GB, True),  # 6.4 GB in half of 16
        (100_000.0, 12 * GB, False),
        (156_249.0, 64 * GB, True),  # 9.999936 GB
        (156_250.0, 64 * GB, False),  # 10 GB
        (100_000.0, None, True),
        (156_250.0, None, False),
    ],
)
def test_caching_below_10_gb_where_it_fits(total_s: float, ram_bytes: int | None, cached: bool) -> None:
    decision = rules.cache_audio(total_s, ram_bytes)
    assert decision.value is cached
    assert decision.inputs["decoded_bytes"] == total_s * 64_000


@pytest.mark.parametrize(
    ("updates", "eval_steps", "logging_steps"),
    [(1, 1, 1), (3, 3, 1), (8, 8, 2), (305, 305, 76), (1000, 1000, 250), (1001, 501, 125), (10_000, 1000, 250)],
)
def test_the_schedule(updates: int, eval_steps: int, logging_steps: int) -> None:
    evaluate, save, log = rules.schedule(updates)
    assert (evaluate.name, save.name, log.name) == ("eval_steps", "save_steps", "logging_steps")
    assert (evaluate.value, save.value, log.value) == (eval_steps, eval_steps, logging_steps)


def test_what_the_settings_say_is_a_decision_too() -> None:
    decision = rules.given("num_epochs", 20)
    assert (decision.name, decision.value, decision.rule) == ("num_epochs", 20, "As the settings say.")
