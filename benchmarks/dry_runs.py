"""What the benchmarks of the memory predictor share: training configurations, and the law that is fitted to each."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harken.autoconfig.dry_run import DryStep, StepConfig, StepShape, Target
from harken.autoconfig.frames import Frames
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.memory import StepModel
from harken.autoconfig.model import PlannedModel, TrainedParts, Way, planned_model
from harken.autoconfig.plan_inputs import PrecisionName
from harken.models.checkpointing import checkpoint_layers
from harken.models.family import AcousticModel, CtcModel
from harken.models.variants import NEMO, WAV2VEC2, Variant, find_variant
from harken.training.objective import ctc_step, seq2seq_step
from harken.training.precision import Precision

UTILISATION = 0.4  # asked for by the laws of speed, which do not count here
TINY = {
    variant.name: variant
    for variant in (
        Variant(
            name="tiny-wav2vec2",
            hub_id=None,
            family=WAV2VEC2,
            dimensions=1,
            config={
                **find_variant("facebook/wav2vec2-base").config,
                "hidden_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 96,
                "conv_dim": (16,) * 7,
            },
        ),
        Variant(
            name="tiny-conformer",
            hub_id=None,
            family=NEMO,
            dimensions=80,
            config={"width": 32, "layers": 2, "heads": 4, "subsampling_channels": 32},
        ),
    )
}
"""For tests, and to see that a benchmark runs."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A model, what of it is trained, and how."""

    model: str
    way: Way
    precision: PrecisionName
    checkpointing: bool

    @property
    def how(self) -> str:
        """All but the model, in words."""
        return ", ".join([self.way, self.precision, *(["checkpointing"] if self.checkpointing else [])])

    def __str__(self) -> str:
        return f"{self.model}, {self.how}"

    def planned(self, *, same_layers: bool = False) -> PlannedModel:
        """The model as a plan sees it. `same_layers`: none is left out by chance, as a real step would do."""
        variant = TINY.get(self.model) or find_variant(self.model)
        if same_layers and variant.family == WAV2VEC2:
            variant = replace(variant, config={**variant.config, "layerdrop": 0.0})
        return planned_model(variant, parts=TrainedParts(way=self.way))

    def law(self, planned: PlannedModel, hardware: HardwareProfile) -> StepModel:
        """What a plan asks for memory."""
        law, _ = planned.laws(hardware, utilisation=UTILISATION)(self.precision, self.checkpointing)
        assert isinstance(law, StepModel)
        return law

    def dry_step(self, planned: PlannedModel, hardware: HardwareProfile) -> DryStep:
        """Steps of the model on fake tensors."""
        model = planned.build()
        if self.checkpointing:
            checkpoint_layers(model)
        target = Target(device=hardware.device, capability=hardware.compute_capability)
        return DryStep(model, planned.variant.dimensions, StepConfig(target=target, precision=self.precision))


def real_model(planned: PlannedModel, *, checkpointing: bool, device: str = "cpu") -> AcousticModel:
    """The planned model with small random weights, in training mode."""
    model = planned.build().to_empty(device=device).train()
    if checkpointing:
        checkpoint_layers(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
        for buffer in model.buffers():
            buffer.zero_()
    return model


def losses(model: AcousticModel, inputs: tuple[Tensor, Tensor, Tensor, Tensor], precision: Precision) -> Tensor:
    """(batch,) of features, their lengths, labels and theirs, as training computes them."""
    if isinstance(model, CtcModel):
        return ctc_step(model, *inputs, precision, smoothing=0.0)
    features, _, labels, lengths = inputs
    return seq2seq_step(model, features, labels, lengths, precision, start=0, smoothing=0.0)


def predicted_peak(law: StepModel, *, batch: int, duration_s: float, tokens: int) -> int:
    """Most bytes that a step has allocated at a time by the law, without what stays between steps, the context, and
    what an allocator rounds up."""
    return round(float(law.step_bytes(batch=batch, duration_s=duration_s, tokens=tokens)))


def step_shape(frames: Frames, *, batch: int, duration_s: float, tokens: int) -> StepShape:
    """What training would feed to the model."""
    count = frames.window or math.ceil(duration_s * frames.per_s)
    return StepShape(batch=batch, frames=count, tokens=tokens)


def error_percent(predicted: float, true: float) -> float:
    """Above 0 where too much is predicted."""
    return 100 * (predicted - true) / true
