"""The memory that a plan predicts against real training steps on the CPU, as PyTorch's profiler sees allocations.

Each step runs in a process of its own, on random weights of the real sizes; the first update makes the optimiser's
states, the second one is measured: forward, backward and the optimiser's step.
"""

import statistics
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.dry_runs import Setup, error_percent, losses, predicted_peak, real_model, step_shape
from benchmarks.harness import peak_memory
from harken.autoconfig.hardware import find_hardware
from harken.autoconfig.model import PlannedModel
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig

NAME = "plan_reality"
MOST_ERROR = 5.0  # percent
_SHORTER = 0.9  # of the longest row: the length of the others


@dataclass(frozen=True, kw_only=True)
class Case:
    """A real step: its setup, rows, seconds and labels."""

    setup: Setup
    batch: int
    duration_s: float
    tokens: int

    def __str__(self) -> str:
        return f"{self.setup}, {self.batch} x {self.duration_s:g} s"


def _case(model: str, how: str, batch: int, duration_s: float, tokens: int) -> Case:
    """`how` is the way, the precision and, where it is on, checkpointing."""
    way, precision, *rest = how.split()
    setup = Setup(model=model, way=way, precision=precision, checkpointing=bool(rest))  # type: ignore[arg-type]
    return Case(setup=setup, batch=batch, duration_s=duration_s, tokens=tokens)


CASES = (
    _case("openai/whisper-tiny", "full fp32", 3, 30.0, 60),
    _case("openai/whisper-tiny", "full bf16", 3, 30.0, 200),
    _case("openai/whisper-base", "frozen-encoder fp32", 3, 30.0, 120),
    _case("openai/whisper-base", "lora fp32 checkpointing", 4, 30.0, 80),
    _case("facebook/wav2vec2-base", "full fp32", 3, 8.0, 100),
    _case("facebook/wav2vec2-base", "lora bf16", 4, 6.0, 80),
    _case("facebook/wav2vec2-base", "full fp32 checkpointing", 4, 12.0, 150),
    _case("facebook/wav2vec2-xls-r-300m", "full fp32", 2, 6.0, 60),
    _case("facebook/wav2vec2-xls-r-300m", "frozen-encoder fp32 checkpointing", 2, 10.0, 90),
    _case("stt_en_conformer_ctc_small", "full fp32", 6, 10.0, 120),
    _case("stt_hi_conformer_ctc_medium", "full bf16", 4, 12.0, 150),
    _case("stt_hi_conformer_ctc_medium", "frozen-encoder fp32 checkpointing", 6, 15.0, 200),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Bytes predicted and measured, and what the whole process took of memory."""

    case: Case
    predicted: int
    true: int
    process: int

    @property
    def error(self) -> float:
        return error_percent(self.predicted, self.true)


def run() -> dict[str, Any]:
    return summary([measure(place) for place in range(len(CASES))])


def measure(place: int) -> Outcome:
    """One case, predicted here and run in a process of its own."""
    case = CASES[place]
    use = peak_memory("benchmarks.bench_plan_reality:real_peak", place)
    outcome = Outcome(case=case, predicted=predict(case), true=int(use.result), process=use.peak_bytes)
    print(f"{case}: {outcome.predicted:,} for {outcome.true:,} bytes, {outcome.error:+.2f} %", flush=True)
    return outcome


def predict(case: Case) -> int:
    """Most bytes an update has allocated at a time, by the law for a CPU."""
    planned, hardware = case.setup.planned(same_layers=True), find_hardware("cpu")
    weights = case.setup.dry_step(planned, hardware).weights()
    law = case.setup.law(planned, hardware)
    peak = predicted_peak(law, batch=case.batch, duration_s=case.duration_s, tokens=case.tokens)
    return max(peak, weights.gradients + weights.optimizer_workspace)


def real_peak(place: int) -> int:
    """Most bytes that one update allocates at a time, beside weights and the optimiser's states."""
    torch.manual_seed(0)
    case = CASES[place]
    planned = case.setup.planned(same_layers=True)
    model = real_model(planned, checkpointing=case.setup.checkpointing)
    optimizer = build_optimizer(model, OptimizerConfig())
    precision = Precision(name=case.setup.precision, device=torch.device("cpu"))

    def update() -> None:
        total = losses(model, _inputs(case, planned), precision).sum()
        total.div(case.batch * case.tokens).backward()  # type: ignore[no-untyped-call]
        del total
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    update()
    with profile(profile_memory=True, activities=[ProfilerActivity.CPU]) as profiler:
        update()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


def _inputs(case: Case, planned: PlannedModel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape = step_shape(planned.frames, batch=case.batch, duration_s=case.duration_s, tokens=case.tokens)
    lengths = torch.full((case.batch,), int(_SHORTER * shape.frames))
    lengths[0] = shape.frames
    labels = torch.ones(case.batch, case.tokens, dtype=torch.long)
    features = torch.randn(case.batch, shape.frames, planned.variant.dimensions)
    return features, lengths, labels, torch.full((case.batch,), case.tokens)


def summary(found: list[Outcome]) -> dict[str, Any]:
    """The result as the docs show it."""
    worst = max(found, key=lambda one: abs(one.error))
    errors = [one.error for one in found]
    return {
        "name": NAME,
        "title": "Predicted memory against real steps on the CPU",
        "target": f"every error within {MOST_ERROR:g} %",
        "met": abs(worst.error) <= MOST_ERROR,
        "note": "Most bytes allocated at a time by an update, weights and the optimiser's states apart, on random "
        f"weights of the real sizes. The worst: {worst.error:+.2f} % for {worst.case}.",
        "figures": {
            "error": {
                "value": statistics.median(map(abs, errors)),
                "unit": "% median, sign left out",
                "spread": [min(errors), max(errors)],
            },
            "updates": {"value": len(found), "unit": ""},
        },
        "rivals": {},
        "cases": [
            {**asdict(one.case), "predicted": one.predicted, "true": one.true, "process": one.process} for one in found
        ],
        "table": {
            "columns": ["Model", "Trained", "Rows", "Seconds", "Labels", "Predicted, MiB", "Measured, MiB", "Error, %"],
            "rows": [_row(one) for one in found],
        },
    }


def _row(one: Outcome) -> list[Any]:
    case, mebibyte = one.case, 2**20
    numbers = [f"{size / mebibyte:,.1f}" for size in (one.predicted, one.true)]
    return [case.setup.model, case.setup.how, case.batch, case.duration_s, case.tokens, *numbers, f"{one.error:+.2f}"]
