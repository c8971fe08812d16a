"""Real training steps at the shapes of a plan, and the memory they take: one configuration in one process.

Buckets whose size memory decides are visited in the order that suits an allocator least: short and long ones in turn,
and the same back. Every update gathers two batches where the plan accumulates, so that gradients are there while
activations are.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.dry_runs import Setup, losses, real_model, step_shape
from harken.autoconfig.dataset import DatasetProfile, profile_dataset
from harken.autoconfig.hardware import HardwareProfile, find_hardware
from harken.autoconfig.model import PlannedModel
from harken.autoconfig.plan import BucketPlanRow, Plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan
from harken.core import InputError, RunFailed
from harken.data.batch import Batch
from harken.models.family import AcousticModel
from harken.training.memory import free_memory
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig
from harken.training.update import BucketBatch, Updater

UTTERANCES = 50_000
CHARACTERS_PER_S = 12.0
SPEECH = {"short": (2.0, 0.5, 12.0), "mixed": (5.0, 0.604, 25.0), "long": (14.0, 0.4, 30.0)}
"""Median, spread and longest of log-normal durations, seconds."""
_SHORTEST_S = 0.5
_SHORTER = 0.9  # of the longest row: the length of the others


def measure(
    setup: dict[str, Any], speech: str, device: str, memory_gib: float | None = None, buckets: int = 30
) -> dict[str, Any] | None:
    """Plan, verify, step: what was predicted and what was taken. None where the model does not fit.

    `memory_gib` stands in for the memory of the device. Of a CPU only the course of things can be seen, no bytes.
    """
    chosen = Setup(**setup)
    started = time.perf_counter()
    planned, hardware = chosen.planned(same_layers=True), hardware_of(device, memory_gib)
    try:
        plan = saturating_plan(chosen, planned, hardware, spoken(speech), buckets=buckets)
    except InputError:  # not even one utterance fits, or the device lacks the precision
        return None
    plan_s = time.perf_counter() - started
    steps = RealSteps(chosen, planned, plan, device)
    started = time.perf_counter()
    verified = [steps.update(place) for place in reversed(range(len(plan.buckets)))]
    verify_s = time.perf_counter() - started
    order = adversarial_order([place for place, row in enumerate(plan.buckets) if row.saturated])
    visited = [steps.update(place) for place in order]
    return {
        "device_bytes": hardware.memory_bytes,
        "budget_bytes": plan.budget_bytes,
        "context_bytes": steps.context_bytes,
        "plan_s": plan_s,
        "verify_s": verify_s,
        "buckets": len(plan.buckets),
        "accumulate": plan.gradient_accumulation_steps,
        "verified": verified,
        "visited": visited,
    }


def hardware_of(device: str, memory_gib: float | None) -> HardwareProfile:
    """This machine's GPU or CPU, or one with less memory."""
    found = find_hardware("auto" if device == "cuda" else "cpu")
    return found if memory_gib is None else replace(found, memory_bytes=int(memory_gib * 2**30))


def spoken(speech: str, *, utterances: int = UTTERANCES) -> DatasetProfile:
    """Utterances of one of the distributions of `SPEECH`, texts as long as speech makes them."""
    median_s, spread, longest_s = SPEECH[speech]
    draws = np.random.default_rng(0).lognormal(np.log(median_s), spread, utterances).clip(_SHORTEST_S, longest_s)
    draws[0] = longest_s
    words = "a planned run of training does not stop in its third night for want of memory " * 5
    return profile_dataset(
        [
            {
                "id": str(number),
                "audio": f"{number}.wav",
                "duration_s": duration_s,
                "text": words[: max(1, round(CHARACTERS_PER_S * duration_s))].strip(),
            }
            for number, duration_s in enumerate(draws.round(3).tolist())
        ]
    )


def saturating_plan(
    setup: Setup, planned: PlannedModel, hardware: HardwareProfile, dataset: DatasetProfile, *, buckets: int
) -> Plan:
    """A plan whose updates are so large that memory decides the size of every batch."""
    settings = PlanSettings(
        target_audio_s=dataset.total_s / 2,
        max_batch_size=dataset.utterances,
        precision=setup.precision,
        gradient_checkpointing=setup.checkpointing,
        buckets=buckets,
    )
    laws = planned.laws(hardware, utilisation=settings.utilisation)
    return make_plan(hardware, dataset, planned.profile, laws, settings)


def adversarial_order(places: Sequence[int]) -> list[int]:
    """Shortest, longest, second shortest, and so on; then the same back."""
    ascending = sorted(places)
    there = [ascending[turn // 2] if turn % 2 == 0 else ascending[-1 - turn // 2] for turn in range(len(ascending))]
    return there + there[::-1]


class RealSteps:
    """A model in training at the shapes of a plan's buckets."""

    def __init__(self, setup: Setup, planned: PlannedModel, plan: Plan, device: str) -> None:
        torch.manual_seed(0)
        self._plan, self._planned, self._device = plan, planned, torch.device(device)
        self.context_bytes = self._context()
        self._model = real_model(planned, checkpointing=setup.checkpointing, device=device)
        self._updates = 0
        precision = Precision(name=setup.precision, device=self._device)
        self._updater = Updater(
            model=self._model,
            objective=_Objective(self._model, precision),  # type: ignore[arg-type]
            optimizer=build_optimizer(self._model, OptimizerConfig(learning_rate=1e-6)),
            precision=precision,
            seed=0,
            oom_retries=0,
            on_event=lambda *_, **__: None,
        )

    def update(self, place: int) -> dict[str, Any]:
        """One update of full batches of a bucket: its predicted and measured peak, and whether memory ran out."""
        row = self._plan.buckets[place]
        batch = full_batch(row, self._planned)
        item = BucketBatch(bucket=place, batch=batch)
        gathered = min(2, self._plan.gradient_accumulation_steps)
        self._forget_peaks()
        started, ran_out = time.perf_counter(), False
        self._updates += 1
        try:
            self._updater.run(self._updates, [item] * gathered)
        except RunFailed:
            ran_out = True
            free_memory(self._device)
        return {
            "bucket": place,
            "upper_edge_s": row.upper_edge_s,
            "batch": row.batch_size,
            "tokens": row.tokens,
            "saturated": row.saturated,
            "predicted_bytes": row.peak_bytes,
            "out_of_memory": ran_out,
            "seconds": time.perf_counter() - started,
            **self._taken(),
        }

    def _context(self) -> int:
        """What the process takes of the device outside of PyTorch's allocator, once kernels have run."""
        if self._device.type != "cuda":
            return 0
        some = torch.ones(256, 256, device=self._device)
        torch.mm(some, some)
        torch.cuda.synchronize(self._device)
        free, total = torch.cuda.mem_get_info(self._device)
        return int(total - free - torch.cuda.memory_reserved(self._device))

    def _forget_peaks(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)

    def _taken(self) -> dict[str, int | None]:
        if self._device.type != "cuda":
            return {"allocated_bytes": None, "reserved_bytes": None}
        torch.cuda.synchronize(self._device)
        return {
            "allocated_bytes": torch.cuda.max_memory_allocated(self._device),
            "reserved_bytes": torch.cuda.max_memory_reserved(self._device),
        }


def full_batch(row: BucketPlanRow, planned: PlannedModel) -> Batch:
    """Noise as long as the bucket allows, as many rows as the plan says, with the longest labels."""
    shape = step_shape(planned.frames, batch=row.batch_size, duration_s=row.upper_edge_s, tokens=row.tokens)
    noise = np.random.default_rng(0).normal(0, 1, 100_003).astype(np.float32)
    frames = np.full(shape.batch, max(1, int(_SHORTER * shape.frames)), dtype=np.int64)
    frames[0] = shape.frames
    return Batch(
        ids=tuple(map(str, range(shape.batch))),
        features_BFM=np.resize(noise, (shape.batch, shape.frames, planned.variant.dimensions)),
        frames_B=frames,
        labels_BT=np.ones((shape.batch, shape.tokens), dtype=np.int64),
        label_lengths_B=np.full(shape.batch, shape.tokens, dtype=np.int64),
        duration_s=shape.batch * row.upper_edge_s,
        padded_s=0.0,
    )


class _Objective:
    def __init__(self, model: AcousticModel, precision: Precision) -> None:
        self._model, self.precision = model, precision

    def losses(self, *inputs: Tensor) -> Tensor:
        features, frames, labels, lengths = inputs
        return losses(self._model, (features, frames, labels, lengths), self.precision)
