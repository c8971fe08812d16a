"""The model a plan is for: its size, what of it is trained, and the laws of its memory and speed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from harken.autoconfig.dry_run import KERNEL_GENERATIONS, DryStep, StepConfig, StepShape, Target, Trace, WeightBytes
from harken.autoconfig.frames import Frames
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.memory import FollowedSteps, StepModel, follow
from harken.autoconfig.plan_inputs import Models
from harken.models.adapters import AdapterConfig, add_adapter, freeze_base, freeze_modules
from harken.models.checkpointing import checkpoint_layers
from harken.models.family import AcousticModel, CtcModel, Seq2SeqModel, count_parameters
from harken.models.variants import MELS_PER_S, SAMPLES_PER_S, Variant, find_variant, variant_of
from harken.training.recipe import OptimizerConfig

Way = Literal["full", "frozen-encoder", "lora"]
WAYS: tuple[Way, ...] = ("full", "frozen-encoder", "lora")
CTC_UNITS = 64  # of an output layer whose vocabulary is not known yet
TOKENS_PER_CHARACTER = {"ctc": 1.0, "seq2seq": 0.6}  # at most: letters; byte pairs of Cyrillic, the worst common script
PROMPT_TOKENS = 5  # start, language, task, times, end

_ENCODERS = {
    "wav2vec2-ctc": ("*.feature_extractor",),
    "whisper": ("model.encoder",),
    "conformer-ctc": ("front_end",),
    "recurrent-ctc": ("front_end",),
    "nemo-conformer-ctc": ("front_end",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedParts:
    """Which weights a training changes: all, all but the modules named in `freeze`, or those of an adapter.

    `keep` are the modules trained beside an adapter; `new_head` says that a CTC model's output layer is one of them.
    """

    way: Way = "full"
    freeze: tuple[str, ...] = ()
    adapter: AdapterConfig | None = None
    keep: tuple[str, ...] = ()
    new_head: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """A model as far as a plan needs it. Numbers of weights; `window_s` is what every row of a model with a fixed input
    costs, None elsewhere. Labels are counted as `tokens_per_character` of a text and the prompt, up to
    `longest_tokens`. `sha256` names the shape and what of it is trained.
    """

    name: str
    family: str
    way: Way
    parameters: int
    trained: int
    output_units: int
    window_s: float | None
    longest_tokens: int | None
    tokens_per_character: float
    prompt_tokens: int
    sha256: str

    @property
    def frozen(self) -> int:
        return self.parameters - self.trained

    def tokens(self, characters: int) -> int:
        """Labels a text of so many characters may have."""
        count = -(-characters * round(1000 * self.tokens_per_character) // 1000) + self.prompt_tokens
        return max(1, count if self.longest_tokens is None else min(count, self.longest_tokens))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "family": self.family,
            "way": self.way,
            "parameters": self.parameters,
            "trained": self.trained,
            "frozen": self.frozen,
            "output_units": self.output_units,
            "window_s": self.window_s,
            "longest_tokens": self.longest_tokens,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedModel:
    """A model that can be built without weights, as often as it takes.

    `frames` turn seconds into its input; `generation_values` are the numbers its decoder keeps for a row.
    """

    variant: Variant
    parts: TrainedParts
    units: int
    profile: ModelProfile
    frames: Frames
    generation_values: int

    def build(self) -> AcousticModel:
        """The model on the meta device, with what is trained of it chosen."""
        return _build(self.variant, self.parts, self.units)

    def laws(
        self,
        hardware: HardwareProfile,
        *,
        utilisation: float,
        optimizer: OptimizerConfig | None = None,
        label_smoothing: float = 0.0,
        average: bool = False,
    ) -> Models:
        """Memory and speed on `hardware`, followed when a precision is first asked for."""
        following = _following(self, kernels_like(hardware), optimizer or OptimizerConfig(), label_smoothing)

        @cache
        def laws_of(precision: str, checkpointing: bool) -> tuple[StepModel, StepModel]:
            law = StepModel(
                following.steps(precision, checkpointing),
                lambda: following.evaluation(precision),
                following.weights(precision),
                self.frames,
                hardware,
                precision=precision,
                utilisation=utilisation,
                average=average,
                generation_values=self.generation_values,
            )
            return law, law

        return laws_of


class _Following:
    """Steps of one model on one device, each followed once."""

    def __init__(self, model: PlannedModel, target: Target, optimizer: OptimizerConfig, label_smoothing: float) -> None:
        self._model, self._target = model, target
        self._optimizer, self._label_smoothing = optimizer, label_smoothing
        self._dry = cache(self._begin)
        self.steps = cache(self._steps)
        self.evaluation = cache(self._evaluation)
        self._weights: WeightBytes | None = None

    def _steps(self, precision: str, checkpointing: bool) -> FollowedSteps:
        return self._follow(self._dry(precision, checkpointing).trace, check=not checkpointing)

    def weights(self, precision: str) -> WeightBytes:
        """The same for every precision: weights, gradients and states stay float32."""
        if self._weights is None:
            self._weights = self._dry(precision, False).weights()
        return self._weights

    def _evaluation(self, precision: str) -> FollowedSteps:
        return self._follow(self._dry(precision, False).evaluation, check=False)

    def _follow(self, one: Callable[[StepShape], Trace], *, check: bool) -> FollowedSteps:
        return follow(one, self._model.frames, longest_tokens=self._model.profile.longest_tokens, check=check)

    def _begin(self, precision: str, checkpointing: bool) -> DryStep:
        model = self._model.build()
        if checkpointing:
            checkpoint_layers(model)
        config = StepConfig(
            target=self._target,
            precision=precision,
            optimizer=self._optimizer,
            label_smoothing=self._label_smoothing,
        )
        return DryStep(model, self._model.variant.dimensions, config)


@lru_cache(maxsize=8)
def _following(model: PlannedModel, target: Target, optimizer: OptimizerConfig, label_smoothing: float) -> _Following:
    return _Following(model, target, optimizer, label_smoothing)


def kernels_like(hardware: HardwareProfile) -> Target:
    """The target whose steps stand for those of `hardware`: cards of a generation take the same kernels."""
    capability = hardware.compute_capability
    if capability is not None:
        capability = max(one for one in KERNEL_GENERATIONS if one <= capability)
    return Target(device=hardware.device, capability=capability)


def planned_model(
    name: str | Path | Variant,
    *,
    parts: TrainedParts | None = None,
    units: int | None = None,
    tokens_per_character: float | None = None,
) -> PlannedModel:
    """The model of this name (a known shape or its hub id) or in this folder; weights are not needed.

    `units` are those of a CTC model's new vocabulary. Raises InputError for an unknown name and for parts the model
    does not have, MissingPart for a folder without a description.
    """
    variant = name if isinstance(name, Variant) else _find(name)
    parts = parts or TrainedParts()
    if parts.way == "frozen-encoder" and not parts.freeze:
        parts = replace(parts, freeze=_ENCODERS[variant.family])
    if parts.way == "lora" and parts.adapter is None:
        parts = replace(parts, adapter=AdapterConfig())
    units = units or CTC_UNITS
    model = _build(variant, parts, units)
    frames = _frames(model, variant)
    seq2seq = isinstance(model, Seq2SeqModel)
    kind = "seq2seq" if seq2seq else "ctc"
    profile = ModelProfile(
        name=variant.name,
        family=variant.family,
        way=parts.way,
        parameters=count_parameters(model),
        trained=count_parameters(model, trainable_only=True),
        output_units=int(variant.config.get("vocab_size", units)) if seq2seq else units,
        window_s=None if frames.window is None else frames.window / frames.per_s,
        longest_tokens=model.longest_tokens if isinstance(model, Seq2SeqModel) else None,
        tokens_per_character=tokens_per_character or TOKENS_PER_CHARACTER[kind],
        prompt_tokens=PROMPT_TOKENS if seq2seq else 0,
        sha256=_identity(variant, parts, units),
    )
    return PlannedModel(
        variant=variant,
        parts=parts,
        units=units,
        profile=profile,
        frames=frames,
        generation_values=_generation_values(model),
    )


def _find(name: str | Path) -> Variant:
    folder = Path(name).expanduser()
    return variant_of(folder) if folder.is_dir() else find_variant(str(name))


def _build(variant: Variant, parts: TrainedParts, units: int) -> AcousticModel:
    model = variant.build(units)
    if parts.freeze:
        freeze_modules(model, parts.freeze)
    if parts.adapter is not None:
        with torch.device("meta"):
            add_adapter(model, parts.adapter, seed=0)
        head = [model.head] if parts.new_head and isinstance(model, CtcModel) else []
        freeze_base(model, keep=[*head, *parts.keep])
    return model


def _frames(model: AcousticModel, variant: Variant) -> Frames:
    per_s = SAMPLES_PER_S if variant.dimensions == 1 else MELS_PER_S
    if isinstance(model, Seq2SeqModel):
        return Frames(per_s=per_s, subsampling=1, positions=lambda frames: frames, window=model.window_frames)
    ctc = model

    def positions(frames: int) -> int:
        return int(ctc.output_frames(torch.tensor([frames]))[0])

    return Frames(per_s=per_s, subsampling=ctc.subsampling, positions=positions)


def _generation_values(model: AcousticModel) -> int:
    """Keys and values a decoder keeps for a row: of every position it attends to, in every layer."""
    if not isinstance(model, Seq2SeqModel):
        return 0
    config: Any = getattr(model, "config", None)
    positions = int(config.max_source_positions) + model.longest_tokens
    return 2 * int(config.decoder_layers) * positions * int(config.d_model)


def _identity(variant: Variant, parts: TrainedParts, units: int) -> str:
    content: Mapping[str, Any] = {
        "family": variant.family,
        "config": variant.config,
        "dimensions": variant.dimensions,
        "units": units,
        "parts": repr(parts),
        "torch": torch.__version__.partition("+")[0],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
