"""The rules of the planner, one small function for each value. Each says what it decided, by which rule, from what.

Those about batches and updates are in update_rules.py, that about gradient checkpointing in checkpointing.py.

Where the sources of the rules contradict each other, the design decides: audio-seconds per update instead of a sample
count, predicted time instead of a parameter count for gradient checkpointing, the cost of decoding instead of a fixed
number of workers.
"""

import math
from typing import Any

from harken.autoconfig.batches import Batches
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan import Decision, rounded
from harken.autoconfig.plan_inputs import PlanSettings, PrecisionName
from harken.core import InputError
from harken.core.units import DEFAULT_SAMPLE_RATE_HZ
from harken.data.cache import SMALL_DATASET_BYTES, default_cache_bytes

FP16_FROM_BYTES = 8 * 10**9
STREAM_FROM_BYTES = 50 * 10**9
LARGE_MODEL_PARAMETERS = 100_000_000
SAME_SPEED_SHARE = 0.02
"""Times that differ by less are called equal: predictions are not better than that."""

DECODE_S_PER_AUDIO_S = 0.0015
"""CPU seconds of one core for a second of audio. Measured on one core of a cloud machine: MP3 at 48 kHz decoded and
resampled 1.25 ms, log-mel 0.18 ms; FLAC at 16 kHz takes 0.37 ms with both."""

_DECODE_HEADROOM = 2.0  # for augmentation, and so that training never waits
_UPDATES_BETWEEN_EVALUATIONS = 1000  # at most
_LOGS_PER_EVALUATION = 4


def decide(name: str, value: Any, rule: str, **inputs: Any) -> Decision:
    """A decision, its floats rounded as the plan's file holds them."""
    return Decision(name=name, value=rounded(value), rule=rule, inputs=rounded(inputs))


def given(name: str, value: Any) -> Decision:
    """A value that the settings hold and no rule changes."""
    return decide(name, value, "As the settings say.")


def budget_bytes(memory_bytes: int, safety_margin: float) -> Decision:
    """Device memory that the run may take."""
    return decide(
        "budget_bytes",
        int(memory_bytes * safety_margin),
        "The memory of the device times the safety margin; the rest is left to the system and to fragmentation.",
        memory_bytes=memory_bytes,
        safety_margin=safety_margin,
    )


def choose_precision(hardware: HardwareProfile, asked: str) -> PrecisionName:
    """The number format. Raises InputError for one that the device does not have."""
    if asked in ("bf16", "fp16") and asked not in hardware.flops:
        raise InputError(
            f"precision is {asked}, which {hardware.name} does not have.",
            hint=f"Use auto, or one of {', '.join(sorted(hardware.flops))}.",
        )
    if asked == "fp16" and hardware.device == "cpu":
        raise InputError("precision is fp16, but the device is a CPU.", hint="Use bf16 or fp32 there.")
    if asked == "fp32" or (asked == "auto" and hardware.device == "cpu"):
        return "fp32"
    if asked == "bf16" or (asked == "auto" and hardware.bf16):
        return "bf16"
    fp16 = asked == "fp16" or ("fp16" in hardware.flops and hardware.memory_bytes >= FP16_FROM_BYTES)
    return "fp16" if fp16 else "fp32"


def mixed_precision(hardware: HardwareProfile, asked: str) -> list[Decision]:
    """`fp16` and `bf16`."""
    chosen = choose_precision(hardware, asked)
    rule = (
        "As the settings say."
        if asked != "auto"
        else "fp32 on a CPU, where few are faster otherwise."
        if hardware.device == "cpu"
        else "bf16 where the GPU has it, else fp16 from 8 GB on, else fp32."
    )
    inputs = {
        "asked": asked,
        "device": hardware.device,
        "has_bf16": hardware.bf16,
        "memory_bytes": hardware.memory_bytes,
    }
    return [decide(name, chosen == name, rule, **inputs) for name in ("fp16", "bf16")]


def dataloader_num_workers(cores: int, audio_s_per_s: float, asked: int | None) -> Decision:
    """Threads that keep decoding ahead of training."""
    if asked is not None:
        return decide("dataloader_num_workers", asked, "As the settings say.")
    needed = max(1, math.ceil(audio_s_per_s * DECODE_S_PER_AUDIO_S * _DECODE_HEADROOM))
    return decide(
        "dataloader_num_workers",
        min(needed, cores - 1),
        "As many as decode twice as fast as the run trains, and one core less than there are: workers are threads, "
        "so the main memory does not bound them.",
        audio_s_per_s=audio_s_per_s,
        decode_s_per_audio_s=DECODE_S_PER_AUDIO_S,
        cores=cores,
    )


def use_streaming(total_bytes: int | None, total_s: float) -> Decision:
    """Whether the audio is read as a stream instead of being copied to the machine first."""
    estimated = 2 * round(total_s * DEFAULT_SAMPLE_RATE_HZ) if total_bytes is None else total_bytes
    return decide(
        "use_streaming",
        estimated > STREAM_FROM_BYTES,
        "Data sets above 50 GB are streamed."
        + (" Their size is not known: taken as 16 bits at 16 kHz." if total_bytes is None else ""),
        total_bytes=estimated,
        stream_from_bytes=STREAM_FROM_BYTES,
    )


def cache_audio(total_s: float, ram_bytes: int | None) -> Decision:
    """Whether decoded audio is kept in main memory."""
    decoded = 4 * round(total_s * DEFAULT_SAMPLE_RATE_HZ)
    bound = default_cache_bytes(
        total_s,
        sample_rate_hz=DEFAULT_SAMPLE_RATE_HZ,
        available_bytes=2 * SMALL_DATASET_BYTES if ram_bytes is None else ram_bytes,
    )
    return decide(
        "cache_audio",
        bound == decoded,
        "Decoded audio below 10 GB is kept where it takes at most half of the main memory"
        + (
            "; how much there is is not known, and the run bounds the cache by what is free."
            if ram_bytes is None
            else "."
        ),
        decoded_bytes=decoded,
        small_bytes=SMALL_DATASET_BYTES,
        ram_bytes=ram_bytes,
    )


def schedule(updates: int) -> list[Decision]:
    """`eval_steps`, `save_steps` and `logging_steps`, in updates."""
    evaluations = math.ceil(updates / _UPDATES_BETWEEN_EVALUATIONS)
    every = math.ceil(updates / evaluations)
    return [
        decide(
            "eval_steps",
            every,
            "Once an epoch, and in larger data sets so often that no more than 1000 updates lie between.",
            updates_per_epoch=updates,
            evaluations_per_epoch=evaluations,
        ),
        decide("save_steps", every, "A checkpoint at every evaluation.", eval_steps=every),
        decide(
            "logging_steps",
            max(1, every // _LOGS_PER_EVALUATION),
            "Four times between evaluations, at least after every update.",
            eval_steps=every,
        ),
    ]


def time_and_cost(made: Batches, settings: PlanSettings) -> list[Decision]:
    """`epoch_s`, `training_s` and `cost`."""
    training_s = made.epoch_s * settings.num_epochs
    price = settings.price_per_hour
    return [
        decide(
            "epoch_s",
            made.epoch_s,
            "Counted operations at the stated utilisation of the peak rate, for every batch and update of an epoch; "
            "validation comes on top.",
            utilisation=settings.utilisation,
            batches_per_epoch=made.steps,
            updates_per_epoch=made.updates,
            audio_s_per_s=1 / made.seconds_per_audio_s,
        ),
        decide(
            "training_s",
            training_s,
            "An epoch times their number.",
            epoch_s=made.epoch_s,
            num_epochs=settings.num_epochs,
        ),
        decide(
            "cost",
            None if price is None else training_s / 3600 * price,
            "No price is given." if price is None else "Hours of training times the price of an hour.",
            training_s=training_s,
            price_per_hour=price,
        ),
    ]
