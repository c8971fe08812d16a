"""The peak that is followed on fake tensors is what PyTorch's profiler sees of a real step on this CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harken.autoconfig.dry_run import DryStep, StepConfig, Target
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.training.recipe import OptimizerConfig

WITHIN = {"fp32": 0.005, "bf16": 0.045}  # oneDNN's products of bf16 matrices need a little room that is not followed
LENGTHS = {"conformer": 12.0, "nemo": 10.0, "nemo-fast": 8.0, "recurrent": 8.0}
CASES = [
    ("whisper", "full", "fp32", False), ("whisper", "lora", "bf16", True),
    ("wav2vec2", "full", "fp32", True), ("wav2vec2", "frozen-encoder", "bf16", False),
    ("wav2vec2-large", "full", "bf16", False), ("wavlm", "full", "fp32", False), ("wavlm", "lora", "bf16", True),
    ("conformer", "full", "bf16", False), ("conformer", "frozen-encoder", "fp32", True),
    ("nemo", "full", "fp32", False), ("nemo", "lora", "fp32", True), ("nemo-fast", "full", "bf16", True),
]  # fmt: skip


def agree(tiny: Any, name: str, way: str, precision: str, checkpointed: bool, within: float) -> None:
    shape = tiny.shape(name, batch=3, duration_s=LENGTHS.get(name, 2.5), tokens=20)
    step = tiny.dry(name, way=way, precision=precision, checkpointed=checkpointed)
    real = tiny.real_peak(name, shape, way=way, precision=precision, checkpointed=checkpointed)
    assert step.trace(shape).peak() == pytest.approx(real, rel=within)


@pytest.mark.parametrize(("name", "way", "precision", "checkpointed"), CASES)
def test_the_peak_of_a_real_step(tiny: Any, name: str, way: str, precision: str, checkpointed: bool) -> None:
    agree(tiny, name, way, precision, checkpointed, WITHIN[precision])


@pytest.mark.parametrize(("precision", "checkpointed"), [("fp32", False), ("bf16", True)])
def test_the_peak_of_recurrent_layers(tiny: Any, precision: str, checkpointed: bool) -> None:
    agree(tiny, "recurrent", "full", precision, checkpointed, 0.06)


def conformer() -> ConformerCtc:
    with torch.device("meta"):
        return ConformerCtc(ConformerSettings(width=32, layers=2, heads=2), 80, 30)


def weights_of(kind: str, **options: Any) -> tuple[Any, ConformerCtc]:
    model = conformer()
    config = StepConfig(target=Target(device="cpu"), optimizer=OptimizerConfig(name=kind, **options))
    return DryStep(model, 80, config).weights(), model


def test_adamw_keeps_two_numbers_for_each_weight() -> None:
    weights, model = weights_of("adamw")
    numbers, tensors = sum(p.numel() for p in model.parameters()), len(list(model.parameters()))
    assert weights.parameters == weights.gradients == 4 * numbers
    assert weights.optimizer == pytest.approx(2 * 4 * numbers + 4 * tensors, abs=0)  # and a step counter each
    assert weights.buffers == sum(b.numel() * b.element_size() for b in model.buffers())


def test_adafactor_keeps_rows_and_columns() -> None:
    weights, model = weights_of("adafactor")
    factored = sum(4 * (p.numel() // p.shape[-1] + p.numel() // p.shape[-2]) for p in model.parameters() if p.dim() > 1)
    others = sum(4 * p.numel() for p in model.parameters() if p.dim() < 2)
    counters = 4 * len(list(model.parameters()))
    assert weights.optimizer == pytest.approx(factored + others + counters, rel=0.02)
    assert weights.optimizer < 0.2 * weights_of("adamw")[0].optimizer


def test_frozen_weights_have_no_gradients_and_no_states() -> None:
    model = conformer()
    model.get_submodule("layers").requires_grad_(False)
    weights = DryStep(model, 80, StepConfig(target=Target(device="cpu"))).weights()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert weights.gradients == 4 * trained
    assert weights.parameters == 4 * sum(p.numel() for p in model.parameters())


class Tied(nn.Module):
    """Two names for one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 8, device="meta")
        self.other = nn.Linear(8, 8, device="meta")
        self.other.weight = self.one.weight


def test_shared_weights_are_counted_once() -> None:
    step = DryStep(Tied(), 1, StepConfig(target=Target(device="cpu")))  # type: ignore[arg-type]
    assert step.weights().parameters == 4 * (8 * 8 + 8 + 8)


def test_nothing_but_gradients_is_left(tiny: Any) -> None:
    step = tiny.dry("conformer")
    trace = step.trace(tiny.shape("conformer", batch=2, duration_s=2.0, tokens=5))
    assert trace.live_at_end() == step.weights().gradients
    assert 0 < trace.marks["forward"] < trace.marks["backward"] == len(trace.order)


def test_the_same_step_again_is_the_same_trace(tiny: Any) -> None:
    shape = tiny.shape("wavlm", batch=2, duration_s=1.0, tokens=5)
    step = tiny.dry("wavlm", checkpointed=True)
    traces = [step.trace(shape), step.trace(shape), tiny.dry("wavlm", checkpointed=True).trace(shape)]
    for trace in traces[1:]:
        assert np.array_equal(trace.sizes, traces[0].sizes)
        assert np.array_equal(trace.order, traces[0].order)
        assert np.array_equal(trace.work, traces[0].work)


def test_evaluation_keeps_nothing_for_a_backward_pass(tiny: Any) -> None:
    for name in ("whisper", "nemo", "recurrent"):
        shape = tiny.shape(name, batch=3, duration_s=8.0, tokens=20)
        step = tiny.dry(name)
        evaluation = step.evaluation(shape)
        assert evaluation.live_at_end() == 0
        assert evaluation.peak() < 0.7 * step.trace(shape).peak()
