"""A training step on fake tensors: the loop's own forward pass, loss, backward pass and optimiser, without memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import _engine_run_backward

from harken.autoconfig.dry_run.kernels import Target, TargetKernels
from harken.autoconfig.dry_run.scratch import cpu_scratch
from harken.autoconfig.dry_run.tracker import AllocationTracker, Trace, collected_by_hand
from harken.models.family import AcousticModel, CtcModel
from harken.models.kernels import dry_run_for
from harken.training.objective import ctc_step, seq2seq_step
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig

_SHORTER = 0.9  # length of all rows but the first: rows of one length would need no masks


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """What a micro-batch holds: rows, feature frames of the longest (samples, for models that hear those), labels."""

    batch: int
    frames: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """How a step is taken."""

    target: Target
    precision: str = "fp32"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    label_smoothing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBytes:
    """What stays in memory from step to step, and what the optimiser needs for a moment beside it."""

    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    optimizer_workspace: int


class DryStep:
    """Follows steps of one model. `model` is on the meta device; it is left with fake weights."""

    def __init__(self, model: AcousticModel, dimensions: int, config: StepConfig) -> None:
        self._model = model
        self._dimensions = dimensions
        self._config = config
        self._mode = FakeTensorMode()
        # The kernels' choice is the target's, the tensors are a CPU's: fp16 there is bf16, which is as large.
        name = "fp32" if config.precision == "fp32" else "bf16"
        self._precision = Precision(name=name, device=torch.device("cpu"))
        with self._mode:
            _fill(model)
        model.train()

    def trace(self, shape: StepShape) -> Trace:
        """Forward and backward of one micro-batch whose gradients are the first of an update."""
        with self._following() as tracker, TargetKernels(self._config.target, tracker):
            inputs = self._inputs(shape, tracker)
            losses = self._losses(*inputs)
            total = losses.sum() / max(1, shape.batch * shape.tokens)
            tracker.mark("forward")
            tracker.accumulating = True
            _backward(total)
            del losses, total, inputs
            tracker.mark("backward")
            trace = tracker.trace()
        for parameter in self._model.parameters():
            parameter.grad = None
        return trace

    def evaluation(self, shape: StepShape) -> Trace:
        """Scores of a batch without gradients, an encoder-decoder's under teacher forcing."""
        self._model.eval()
        try:
            with self._following() as tracker, TargetKernels(self._config.target, tracker), torch.no_grad():
                inputs = self._inputs(shape, tracker)
                self._losses(*inputs)
                del inputs
                tracker.mark("forward")
                return tracker.trace()
        finally:
            self._model.train()

    def weights(self) -> WeightBytes:
        """Bytes of weights, gradients and the optimiser's states."""
        trained = [p for p in self._model.parameters() if p.requires_grad]
        with self._following() as tracker:
            for parameter in trained:
                parameter.grad = torch.empty_like(parameter)
            optimizer = build_optimizer(self._model, self._config.optimizer)
            tracker.updating = True
            optimizer.step()
            trace = tracker.trace()
            del optimizer
        for parameter in trained:
            parameter.grad = None
        gradients = sum(_bytes(p) for p in trained)
        states = trace.live_at_end() - gradients
        return WeightBytes(
            parameters=sum(_bytes(p) for p in self._model.parameters()),
            buffers=sum(_bytes(b) for b in self._model.buffers()),
            gradients=gradients,
            optimizer=states,
            optimizer_workspace=trace.peak() - gradients - states,
        )

    @contextmanager
    def _following(self) -> Iterator[AllocationTracker]:
        with dry_run_for(self._config.target.device), collected_by_hand(), self._mode:
            tracker = AllocationTracker(cpu_scratch if self._config.target.device == "cpu" else None)
            tracker.ignore([*self._model.parameters(), *self._model.buffers()])
            with tracker:
                yield tracker

    def _inputs(self, shape: StepShape, tracker: AllocationTracker) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths = np.full(shape.batch, max(1, int(_SHORTER * shape.frames)), dtype=np.int64)
        lengths[0] = shape.frames
        return (
            torch.empty(shape.batch, shape.frames, self._dimensions),
            tracker.know(lengths),
            tracker.know(np.ones((shape.batch, shape.tokens), dtype=np.int64)),
            tracker.know(np.full(shape.batch, shape.tokens, dtype=np.int64)),
        )

    def _losses(self, features: Tensor, frames: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
        smoothing = self._config.label_smoothing
        if isinstance(self._model, CtcModel):
            return ctc_step(self._model, features, frames, labels, label_lengths, self._precision, smoothing=smoothing)
        return seq2seq_step(self._model, features, labels, label_lengths, self._precision, start=0, smoothing=smoothing)


def _backward(total: Tensor) -> None:
    """The engine itself: inside total.backward() no function mode is on, and layers may be run again there."""
    _engine_run_backward(
        (total,), (torch.ones_like(total),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _fill(model: nn.Module) -> None:
    """Fake weights in the place of those on the meta device; weights shared between modules stay shared."""
    made: dict[int, Any] = {}

    def fake(tensor: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = make(torch.empty(tensor.shape, dtype=tensor.dtype))
        filled: Tensor = made[id(tensor)]
        return filled

    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                trained = parameter.requires_grad
                made_of = fake(parameter, lambda t, trained=trained: nn.Parameter(t, requires_grad=trained))  # type: ignore[misc]
                module._parameters[name] = made_of  # type: ignore[assignment]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = fake(buffer, lambda t: t)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
