"""A small world to plan in: laws of memory and speed that can be computed by hand, and profiles made of lists."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from harken.autoconfig.dataset import DatasetProfile, LongUtterance
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan import Plan
from harken.autoconfig.plan_inputs import PlanSettings
from harken.autoconfig.planner import make_plan

MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Law:
    """The larger of two phases, each affine in the batch: the end of the forward pass, and the optimiser's step.

    Bytes: forward = states + [gradients if accumulated] + B (per_row + per_s T + per_s2 T² + per_token L),
    optimiser = states + gradients + step. Validation takes a quarter of the activations.
    """

    states: int = 1000 * MB
    gradients: int = 200 * MB
    step: int = 100 * MB
    per_row: int = 1 * MB
    per_s: int = 20 * MB
    per_s2: int = 1 * MB
    per_token: int = 0

    def activations(self, batch: int, duration_s: float, tokens: int) -> int:
        row = self.per_row + self.per_s * duration_s + self.per_s2 * duration_s**2 + self.per_token * tokens
        return int(np.ceil(batch * row))

    def peak_bytes(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> int:
        return sum(self.by_kind(batch=batch, duration_s=duration_s, tokens=tokens, accumulated=accumulated).values())

    def by_kind(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> Mapping[str, int]:
        forward = self.activations(batch, duration_s, tokens) + (self.gradients if accumulated else 0)
        if forward < self.gradients + self.step:
            kinds = {"gradients": self.gradients, "activations": 0, "workspace": self.step}
        else:
            gradients = self.gradients if accumulated else 0
            kinds = {"gradients": gradients, "activations": forward - gradients, "workspace": 0}
        return {"parameters": self.states // 4, "optimizer": self.states - self.states // 4, **kinds}

    def largest_batch(
        self, budget_bytes: int, *, duration_s: float, tokens: int, accumulated: bool, at_most: int
    ) -> int:
        fitting = 0
        for batch in range(1, at_most + 1):  # slow and obvious
            peak = self.peak_bytes(batch=batch, duration_s=duration_s, tokens=tokens, accumulated=accumulated)
            if peak <= budget_bytes:
                fitting = batch
        return fitting

    def evaluation_bytes(self, *, batch: int, duration_s: float, tokens: int) -> int:
        return self.states + self.activations(batch, duration_s, tokens) // 4


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds: a fixed cost of each step, and one for each padded second of audio."""

    fixed_s: float = 0.1
    per_audio_s: float = 0.01
    optimizer_s: float = 0.05

    def step_s(self, *, batch: int, duration_s: float, tokens: int) -> float:
        return self.fixed_s + self.per_audio_s * batch * duration_s

    def update_s(self) -> float:
        return self.optimizer_s


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the planner reads of a model's profile."""

    name: str = "a-model"
    family: str = "wav2vec2-ctc"
    parameters: int = 90_000_000
    trained: int = 90_000_000
    frozen: int = 0
    way: str = "full"
    window_s: float | None = None
    longest_tokens: int | None = None
    prompt_tokens: int = 0
    tokens_per_character: float = 1.0
    sha256: str = "5eed"

    def tokens(self, characters: int) -> int:
        count = math.ceil(characters * self.tokens_per_character) + self.prompt_tokens
        return max(1, count if self.longest_tokens is None else min(count, self.longest_tokens))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything a plan is made from. `precisions` are what the planner asked the laws for."""

    law: Law = field(default_factory=Law)
    pace: Pace = field(default_factory=Pace)
    model: Shape = field(default_factory=Shape)
    checkpointed: Callable[[Law, Pace], tuple[Law, Pace]] | None = None
    memory_bytes: int = 4000 * MB
    device: str = "cuda"
    flops: Mapping[str, float] = field(default_factory=lambda: {"fp32": 1e13, "fp16": 1e14, "bf16": 1e14})
    cores: int = 8
    ram_bytes: int | None = 64 * 10**9
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def models(self, precision: str, checkpointing: bool) -> tuple[Law, Pace]:
        self.asked.append((precision, checkpointing))
        if not checkpointing:
            return self.law, self.pace
        return self.checkpointed(self.law, self.pace) if self.checkpointed else quarter(self.law, self.pace)

    def hardware(self) -> HardwareProfile:
        return HardwareProfile(
            name="a card",
            device=self.device,  # type: ignore[arg-type]
            memory_bytes=self.memory_bytes,
            compute_capability=(8, 0),
            flops=self.flops,
            bandwidth=1e12,
            cores=self.cores,
            ram_bytes=self.ram_bytes,
            disk_free_bytes=None,
            source="catalogue",
        )

    def plan(self, durations_s: Sequence[float], **settings: Any) -> Plan:
        return self.plan_for(dataset_of(durations_s), **settings)

    def plan_for(self, dataset: DatasetProfile, **settings: Any) -> Plan:
        return make_plan(self.hardware(), dataset, self.model, self.models, PlanSettings(**settings))  # type: ignore[arg-type]


def quarter(law: Law, pace: Pace) -> tuple[Law, Pace]:
    """What checkpointing does: a quarter of the activations, a third more time."""
    kept = {name: getattr(law, name) // 4 for name in ("per_row", "per_s", "per_s2", "per_token")}
    return replace(law, **kept), replace(pace, per_audio_s=pace.per_audio_s * 4 / 3)


def dataset_of(durations_s: Sequence[float], **changes: Any) -> DatasetProfile:
    """A data set of these durations, whose texts have ten characters for each second."""
    durations = np.array(durations_s, dtype=np.float32)
    by_length = sorted(range(len(durations)), key=lambda index: -durations[index])
    values: dict[str, Any] = {
        "source": "train.jsonl",
        "utterances": len(durations),
        "durations_s": durations,
        "characters": np.ceil(durations * 10).astype(np.int32),
        "exact": True,
        "total_s": float(durations.astype(np.float64).sum()),
        "total_s_error": 0.0,
        "total_bytes": None,
        "sample_rate_hz": 16_000,
        "longest": tuple(LongUtterance(id=f"utt-{i}", duration_s=float(durations[i])) for i in by_length[:5]),
        "missing_durations": 0,
        "sha256": hashlib.sha256(durations.tobytes()).hexdigest(),
    }
    return DatasetProfile(**{**values, **changes})


def log_normal(count: int, seed: int = 0) -> list[float]:
    """Durations like those of read speech: mean 6 s, 95th percentile 13.5 s."""
    draws = np.random.default_rng(seed).lognormal(np.log(6) - 0.606**2 / 2, 0.606, count)
    return draws.clip(0.3, 30.0).tolist()  # type: ignore[no-any-return]


class Planning:
    """What the tests of this room make plans with."""

    MB = MB
    Law, Pace, Shape, World = Law, Pace, Shape, World
    dataset_of, log_normal = staticmethod(dataset_of), staticmethod(log_normal)


@pytest.fixture(scope="session")
def planning() -> Planning:
    """Laws, profiles and durations to plan with."""
    return Planning()
