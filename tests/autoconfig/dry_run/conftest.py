"""Tiny models of every family, and what a training step of them really allocates on this CPU."""

from typing import Any

import numpy as np
import pytest
import torch

from harken.autoconfig.dry_run import DryStep, StepConfig, StepShape, Target
from harken.autoconfig.model import TrainedParts, planned_model
from harken.models.adapters import AdapterConfig, add_adapter, freeze_base, freeze_modules
from harken.models.checkpointing import checkpoint_layers
from harken.models.family import AcousticModel, CtcModel, find_family
from harken.models.variants import Variant
from harken.training.objective import ctc_step, seq2seq_step
from harken.training.precision import Precision

pytest.importorskip("transformers", reason="needs the extra `train`")

UNITS = 64
SPEECH = {
    "model_type": "wav2vec2", "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 256, "conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "layerdrop": 0.0, "feat_proj_dropout": 0.0, "mask_time_prob": 0.0,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    "model_type": "whisper", "vocab_size": 500, "num_mel_bins": 80, "d_model": 64, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 256, "max_source_positions": 1500, "max_target_positions": 448, "pad_token_id": 0,
    "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1, "suppress_tokens": None,
    "begin_suppress_tokens": None,
}  # fmt: skip
CONFORMER = {"width": 64, "layers": 2, "heads": 2}
FAST = {"kernel": 9, "subsampling": "dw_striding", "subsampling_factor": 8}
NEMO = {**CONFORMER, "subsampling_channels": 16}
FAMILIES: dict[str, tuple[str, dict[str, Any], int]] = {
    "whisper": ("whisper", WHISPER, 80),
    "wav2vec2": ("wav2vec2-ctc", SPEECH, 1),
    "wav2vec2-large": ("wav2vec2-ctc", {**SPEECH, **LARGE}, 1),
    "wavlm": ("wav2vec2-ctc", {**SPEECH, "model_type": "wavlm"}, 1),
    "conformer": ("conformer-ctc", CONFORMER, 80),
    "nemo": ("nemo-conformer-ctc", NEMO, 80),
    "nemo-fast": ("nemo-conformer-ctc", {**NEMO, **FAST}, 80),
    "recurrent": ("recurrent-ctc", {"width": 64, "layers": 2}, 80),
}
FROZEN = {"whisper": "model.encoder", "wav2vec2-ctc": "*.feature_extractor"}


def variant(name: str) -> Variant:
    family, config, dimensions = FAMILIES[name]
    return Variant(name=name, hub_id=None, family=family, config=config, dimensions=dimensions)


def step_shape(name: str, *, batch: int, duration_s: float, tokens: int) -> StepShape:
    per_s = 16_000 if FAMILIES[name][2] == 1 else 100
    frames = 3000 if name == "whisper" else int(duration_s * per_s)
    return StepShape(batch=batch, frames=frames, tokens=tokens)


def dry_step(
    name: str, *, way: str = "full", precision: str = "fp32", checkpointed: bool = False, target: Target | None = None
) -> DryStep:
    model = planned_model(variant(name), parts=TrainedParts(way=way), units=UNITS).build()  # type: ignore[arg-type]
    if checkpointed:
        checkpoint_layers(model)
    config = StepConfig(target=target or Target(device="cpu"), precision=precision)
    return DryStep(model, FAMILIES[name][2], config)


def real_model(name: str, way: str) -> AcousticModel:
    """With weights, made without anything of autoconfig."""
    of = variant(name)
    family = find_family(of.family)
    torch.manual_seed(0)
    model = family.build(family.parse(of.settings, source=name), of.dimensions, 500 if name == "whisper" else UNITS)
    if way == "frozen-encoder":
        freeze_modules(model, [FROZEN.get(of.family, "front_end")])
    if way == "lora":
        add_adapter(model, AdapterConfig(), seed=0)
        freeze_base(model, keep=[model.head] if isinstance(model, CtcModel) else [])
    return model.train()


def take_step(model: AcousticModel, dimensions: int, shape: StepShape, precision: str) -> None:
    rows, how = shape.batch, Precision(name=precision, device=torch.device("cpu"))
    frames = torch.full((rows,), int(0.9 * shape.frames))
    frames[0] = shape.frames
    features = torch.randn(rows, shape.frames, dimensions)
    labels = torch.ones(rows, shape.tokens, dtype=torch.long)
    lengths = torch.full((rows,), shape.tokens)
    if isinstance(model, CtcModel):
        losses = ctc_step(model, features, frames, labels, lengths, how, smoothing=0.0)
    else:
        losses = seq2seq_step(model, features, labels, lengths, how, start=0, smoothing=0.0)
    (losses.sum() / 10).backward()  # type: ignore[no-untyped-call]


def real_peak(model: AcousticModel, dimensions: int, shape: StepShape, precision: str) -> int:
    """Most bytes allocated at a time, from the profiler's memory events, in a step that is not the first."""
    take_step(model, dimensions, StepShape(batch=2, frames=shape.frames, tokens=2), precision)
    model.zero_grad()
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        take_step(model, dimensions, shape, precision)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    return int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max())


class Tiny:
    """What tests ask of the tiny models."""

    names = tuple(FAMILIES)
    variant = staticmethod(variant)
    shape = staticmethod(step_shape)
    dry = staticmethod(dry_step)

    @staticmethod
    def real_peak(name: str, shape: StepShape, *, way: str, precision: str, checkpointed: bool) -> int:
        model = real_model(name, way)
        if checkpointed:
            checkpoint_layers(model)
        return real_peak(model, FAMILIES[name][2], shape, precision)


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    return Tiny
