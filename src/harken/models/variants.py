"""Models that are known by name: where their weights are, and the shape that decides their size.

The shapes are built in, so that sizes can be told before anything is downloaded.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harken.core import InputError
from harken.models.adapters import AdapterConfig
from harken.models.adapters.attach import base_modules, find_targets, make_delta
from harken.models.description import read_description
from harken.models.family import AcousticModel, CtcModel, count_parameters, find_family
from harken.models.overview import DESCRIPTION
from harken.models.pretrained import CONFIG_FILE, family_of
from harken.text.vocabulary import read_json_object

WHISPER = "whisper"
WAV2VEC2 = "wav2vec2-ctc"
NEMO = "nemo-conformer-ctc"
MELS_PER_S = 100  # feature frames of models that hear log-mel
SAMPLES_PER_S = 16_000  # and of models that hear the samples
TOKENS_PER_S = 4  # of speech, roughly, for the work of a decoder
_SOME_UNITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model by name.

    `config` is the content of a config.json of transformers where the family has one, else the family's settings.
    `dimensions` are those of a feature frame, 1 for the samples themselves. `hub_id` is None for a model that is not on
    the hub.
    """

    name: str
    hub_id: str | None
    family: str
    config: Mapping[str, Any]
    dimensions: int

    @property
    def settings(self) -> dict[str, Any]:
        """The family's settings, as a recipe holds them."""
        return {"config": dict(self.config)} if "model_type" in self.config else dict(self.config)

    def build(self, vocab_size: int) -> AcousticModel:
        """The model without weights, on PyTorch's meta device. Whisper has a vocabulary of its own, whatever is given.

        Raises InputError for a configuration the family refuses, MissingPart without transformers where it needs that.
        """
        family = find_family(self.family)
        settings = family.parse(self.settings, source=self.name)
        units = self.config.get("vocab_size", vocab_size) if family.pretrained_only else vocab_size
        with torch.device("meta"):
            model = family.build(settings, self.dimensions, units)
        return model.to("meta")  # transformers makes a tensor or two where the context does not reach


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSize:
    """Numbers of weights. Those of a CTC output layer are left out: the vocabulary decides them.

    `trained` are those that full fine-tuning changes, `lora` those of a LoRA adapter with its default settings, None
    where the model has no place for one. `uses_per_s` is how often weights are used for a second of speech, summed over
    all of them.
    """

    parameters: int
    trained: int
    lora: int | None
    uses_per_s: float


def size_of(variant: Variant) -> VariantSize:
    """Sizes counted on the model's own modules. Raises what `Variant.build` raises."""
    model = variant.build(_SOME_UNITS)
    head = count_parameters(model.get_submodule(model.head)) if isinstance(model, CtcModel) else 0
    parameters = count_parameters(model) - head
    trained = count_parameters(model, trainable_only=True) - head
    return VariantSize(
        parameters=parameters,
        trained=trained,
        lora=_lora_size(model),
        uses_per_s=_uses_per_s(model, parameters, SAMPLES_PER_S if variant.dimensions == 1 else MELS_PER_S),
    )


def _lora_size(model: AcousticModel) -> int | None:
    adapter, modules = AdapterConfig(), base_modules(model)
    try:
        targets = find_targets(model, adapter)
    except InputError:  # no Linear layer in repeated blocks
        return None
    return sum(count_parameters(make_delta(modules[name], name, adapter)) for name in targets)


def _uses_per_s(model: AcousticModel, parameters: int, frames_per_s: int) -> float:
    """Every weight at each output frame, or an encoder's at each of its positions and a decoder's at each token."""
    if isinstance(model, CtcModel):
        return parameters * frames_per_s / model.subsampling
    from harken.models.whisper import SUBSAMPLING

    encoder = count_parameters(model.get_submodule("model.encoder"))
    return encoder * frames_per_s / SUBSAMPLING + (parameters - encoder) * TOKENS_PER_S


def find_variant(name: str, *, family: str | None = None, prefix: str = "") -> Variant:
    """The variant called `name` or `prefix + name`, or with that hub id; of one family only where one is given.

    Raises InputError that names the near ones.
    """
    candidates = variants_of(family)
    for variant in candidates:
        if name in (variant.name, variant.name.removeprefix(prefix), variant.hub_id):
            return variant
    near = difflib.get_close_matches(name, [variant.name.removeprefix(prefix) for variant in candidates], n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "harken models variants lists them."
    raise InputError(f"No {family or 'model'} is known as {name!r}.", hint=hint)


def variants_of(family: str | None) -> list[Variant]:
    """The known variants of a family; all of them without one."""
    return [variant for variant in VARIANTS if family in (None, variant.family)]


def variant_of(folder: Path) -> Variant:
    """The shape of a model in a local folder: one of Harken's, or one with a config.json of transformers.

    Raises MissingPart for a folder without either, InputError for a kind of model that Harken does not read.
    """
    if (folder / DESCRIPTION).is_file():
        description = read_description(folder)
        settings = description.settings
        return Variant(
            name=str(folder),
            hub_id=None,
            family=description.family,
            config=settings.get("config", settings),
            dimensions=int(description.features["dimensions"]),
        )
    family = family_of(folder)
    config = read_json_object(folder / CONFIG_FILE)
    dimensions = int(config.get("num_mel_bins", 80)) if family == WHISPER else 1
    return Variant(name=str(folder), hub_id=None, family=family, config=config, dimensions=dimensions)


def _whisper(
    hub_id: str,
    *,
    width: int,
    heads: int,
    encoder_layers: int,
    decoder_layers: int,
    mels: int = 80,
    vocab_size: int = 51_865,
) -> Variant:
    """Radford et al. 2022, table 1; the distilled ones: Gandhi et al. 2023."""
    return Variant(
        name=hub_id.partition("/")[2],
        hub_id=hub_id,
        family=WHISPER,
        dimensions=mels,
        config={
            "model_type": "whisper",
            "vocab_size": vocab_size,
            "num_mel_bins": mels,
            "d_model": width,
            "encoder_layers": encoder_layers,
            "decoder_layers": decoder_layers,
            "encoder_attention_heads": heads,
            "decoder_attention_heads": heads,
            "encoder_ffn_dim": 4 * width,
            "decoder_ffn_dim": 4 * width,
            "max_source_positions": 1500,
            "max_target_positions": 448,
        },
    )


def _wav2vec2(hub_id: str, *, width: int, layers: int, heads: int, stable: bool, conv_bias: bool = False) -> Variant:
    """`stable` models have layer norm in their convolutions and before each block, others group norm and after it.

    Baevski et al. 2020; XLS-R: Babu et al. 2021; HuBERT: Hsu et al. 2021; WavLM: Chen et al. 2022.
    """
    name = hub_id.partition("/")[2]
    return Variant(
        name=name,
        hub_id=hub_id,
        family=WAV2VEC2,
        dimensions=1,
        config={
            "model_type": name.partition("-")[0],
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
            "feat_extract_norm": "layer" if stable else "group",
            "do_stable_layer_norm": stable,
            "conv_bias": conv_bias,
        },
    )


def _nemo(name: str, *, width: int, layers: int, heads: int, fast: bool = False, on_hub: bool = True) -> Variant:
    """NeMo's examples/asr/conf: conformer/conformer_ctc_bpe.yaml and fastconformer/fast-conformer_ctc_bpe.yaml."""
    return Variant(
        name=name,
        hub_id=f"nvidia/{name}" if on_hub else None,
        family=NEMO,
        dimensions=80,
        config={
            "width": width,
            "layers": layers,
            "heads": heads,
            "kernel": 9 if fast else 31,
            "subsampling": "dw_striding" if fast else "striding",
            "subsampling_factor": 8 if fast else 4,
            "subsampling_channels": 256 if fast else width,
        },
    )


_ENGLISH = 51_864  # units of English-only Whispers
_LARGE_V3 = 51_866  # one language more

_TINY = {"width": 384, "heads": 6, "encoder_layers": 4, "decoder_layers": 4}
_BASE = {"width": 512, "heads": 8, "encoder_layers": 6, "decoder_layers": 6}
_SMALL = {"width": 768, "heads": 12, "encoder_layers": 12, "decoder_layers": 12}
_MEDIUM = {"width": 1024, "heads": 16, "encoder_layers": 24, "decoder_layers": 24}
_LARGE = {"width": 1280, "heads": 20, "encoder_layers": 32, "decoder_layers": 32}
_V3 = {"mels": 128, "vocab_size": _LARGE_V3}

VARIANTS = (
    _whisper("openai/whisper-tiny", **_TINY),
    _whisper("openai/whisper-tiny.en", **_TINY, vocab_size=_ENGLISH),
    _whisper("openai/whisper-base", **_BASE),
    _whisper("openai/whisper-base.en", **_BASE, vocab_size=_ENGLISH),
    _whisper("openai/whisper-small", **_SMALL),
    _whisper("openai/whisper-small.en", **_SMALL, vocab_size=_ENGLISH),
    _whisper("openai/whisper-medium", **_MEDIUM),
    _whisper("openai/whisper-medium.en", **_MEDIUM, vocab_size=_ENGLISH),
    _whisper("openai/whisper-large-v2", **_LARGE),
    _whisper("openai/whisper-large-v3", **_LARGE, **_V3),
    _whisper("openai/whisper-large-v3-turbo", **{**_LARGE, "decoder_layers": 4}, **_V3),
    _whisper("distil-whisper/distil-small.en", **{**_SMALL, "decoder_layers": 4}, vocab_size=_ENGLISH),
    _whisper("distil-whisper/distil-medium.en", **{**_MEDIUM, "decoder_layers": 2}, vocab_size=_ENGLISH),
    _whisper("distil-whisper/distil-large-v2", **{**_LARGE, "decoder_layers": 2}),
    _whisper("distil-whisper/distil-large-v3", **{**_LARGE, "decoder_layers": 2}, **_V3),
    _wav2vec2("facebook/wav2vec2-base", width=768, layers=12, heads=12, stable=False),
    _wav2vec2("facebook/wav2vec2-large", width=1024, layers=24, heads=16, stable=False),
    _wav2vec2("facebook/wav2vec2-large-lv60", width=1024, layers=24, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/wav2vec2-large-xlsr-53", width=1024, layers=24, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/wav2vec2-xls-r-300m", width=1024, layers=24, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/wav2vec2-xls-r-1b", width=1280, layers=48, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/wav2vec2-xls-r-2b", width=1920, layers=48, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/hubert-base-ls960", width=768, layers=12, heads=12, stable=False),
    _wav2vec2("facebook/hubert-large-ll60k", width=1024, layers=24, heads=16, stable=True, conv_bias=True),
    _wav2vec2("facebook/hubert-xlarge-ll60k", width=1280, layers=48, heads=16, stable=True, conv_bias=True),
    _wav2vec2("microsoft/wavlm-base", width=768, layers=12, heads=12, stable=False),
    _wav2vec2("microsoft/wavlm-base-plus", width=768, layers=12, heads=12, stable=False),
    _wav2vec2("microsoft/wavlm-large", width=1024, layers=24, heads=16, stable=True),
    _nemo("stt_en_conformer_ctc_small", width=176, layers=16, heads=4),
    _nemo("stt_hi_conformer_ctc_medium", width=256, layers=18, heads=4, on_hub=False),  # in NVIDIA's NGC catalogue
    _nemo("stt_en_conformer_ctc_large", width=512, layers=18, heads=8),
    _nemo("stt_en_fastconformer_ctc_large", width=512, layers=18, heads=8, fast=True),
)
