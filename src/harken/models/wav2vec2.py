"""Wav2Vec2, HuBERT and WavLM with a CTC output, on transformers' classes.

Baevski et al. 2020, "wav2vec 2.0"; Hsu et al. 2021, "HuBERT"; Chen et al. 2022, "WavLM". State dictionary and
config.json carry transformers' names, so that a saved folder loads with `AutoModelForCTC.from_pretrained`.

Padding never reaches an utterance's scores. Models with layer norm in their feature encoder (large, lv60k, XLS-R) use
the attention mask as transformers does. Base models normalise every channel of the first convolution over time
(`feat_extract_norm: group`), and transformers lets padding take part in that mean; here each utterance is normalised
over its own frames, which is what the model gives for the utterance alone.

Shapes: B batch, S samples, T output frames, D width, V vocab.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Strict, Tokenizer
from harken.core.files import write_json
from harken.models.convolution import encode_samples, encode_samples_in_graph
from harken.models.dropout import use_fast_dropout
from harken.models.family import CtcModel, ModelFamily
from harken.models.frontend import frame_mask
from harken.models.kernels import kernel_device
from harken.models.pretrained import (
    PretrainedParts,
    config_settings,
    load_network,
    make_config,
    new_network,
    read_config,
)
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer
from harken.text.vocabulary import VOCABULARY_FILE, read_json_object

FAMILY_NAME = "wav2vec2-ctc"
AUTO_CLASS = "AutoModelForCTC"
SAMPLE_RATE_HZ = 16_000
PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"  # the only one transformers 5 writes for a processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Wav2Vec2Settings(Strict):
    """`config` is the content of a config.json of transformers (`model_type` wav2vec2, hubert or wavlm)."""

    config: dict[str, Any] = field(default_factory=lambda: {"model_type": "wav2vec2"})
    freeze_feature_encoder: bool = False  # the convolutions keep their pretrained weights
    mask_time_prob: float = 0.0  # share of frames hidden from the transformer in training; beside our own SpecAugment

    def __post_init__(self) -> None:
        if not 0 <= self.mask_time_prob < 1:
            raise ValueError(f"mask_time_prob is {self.mask_time_prob}; use a share from 0 to below 1")


class Wav2Vec2Ctc(CtcModel):
    """A speech transformer on samples (B, S, 1) with a linear output; id 0 is the blank."""

    head = "lm_head"

    def __init__(self, network: Any, settings: Wav2Vec2Settings) -> None:
        """`network` is a Wav2Vec2ForCTC, HubertForCTC or WavLMForCTC whose parts are taken over."""
        super().__init__()
        self.config = network.config
        _check_config(self.config)
        self.settings = settings
        self.architecture = type(network).__name__
        self.subsampling = prod(self.config.conv_stride)
        # The parts under transformers' names, not the whole: state_dict() is then that of the whole, key for key.
        self._base_name = str(network.base_model_prefix)
        self.blocks = (f"{self._base_name}.encoder.layers",)
        self.front_products = len(self.config.conv_dim)
        self.add_module(self._base_name, network.base_model)
        self.dropout = network.dropout
        self.lm_head = network.lm_head
        use_fast_dropout(self)
        if settings.freeze_feature_encoder:
            self.freeze_feature_encoder()
        if settings.mask_time_prob > 0 and not hasattr(self.base, "masked_spec_embed"):
            raise InputError(
                "mask_time_prob is set, but the model has no embedding for hidden frames.",
                hint="Set config.mask_time_prob above 0 as well, or leave mask_time_prob out.",
            )

    @property
    def base(self) -> Any:
        """The transformers model below the output layer."""
        return self.get_submodule(self._base_name)

    def freeze_feature_encoder(self) -> None:
        """Keep the convolutions as they are."""
        self.base.feature_extractor.requires_grad_(False)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        lengths_B = self.output_frames(frames_B)
        # One receptive field at least: audio shorter than that has no output frame, and must not stop the others.
        waveform_BS = functional.pad(features_BFM[:, :, 0], (0, max(0, self.shortest_samples - features_BFM.shape[1])))
        encoded = self._encode_samples(waveform_BS, frames_B)
        projected = self.base.feature_projection(encoded)
        hidden_BTD = projected[0] if isinstance(projected, tuple) else projected  # HuBERT gives no second value
        if self.training and self.settings.mask_time_prob > 0:
            hidden_BTD = self._hide_frames(hidden_BTD, lengths_B)
        # A row without a frame would be attention over nothing, which is NaN; its scores are of length 0 anyway.
        mask_BT = frame_mask(lengths_B.clamp(min=1), hidden_BTD.shape[1])
        with _without_mask_warning(self.config.model_type):
            hidden_BTD = self.base.encoder(hidden_BTD, attention_mask=mask_BT).last_hidden_state
        scores_BTV: Tensor = self.lm_head(self.dropout(hidden_BTD))
        return scores_BTV.float(), lengths_B

    def output_frames(self, frames_B: Tensor) -> Tensor:
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            frames_B = _convolved(frames_B, kernel, stride)
        return frames_B.clamp(min=0)

    @property
    def shortest_samples(self) -> int:
        """Samples that one output frame sees."""
        samples = 1
        for kernel, stride in reversed(list(zip(self.config.conv_kernel, self.config.conv_stride, strict=True))):
            samples = (samples - 1) * stride + kernel
        return int(samples)

    def _encode_samples(self, waveform_BS: Tensor, samples_B: Tensor) -> Tensor:
        """(B, T, channels) outputs of the convolutions."""
        layers = self.base.feature_extractor.conv_layers
        if torch.onnx.is_in_onnx_export():
            return encode_samples_in_graph(layers, waveform_BS, samples_B)
        # A group norm over each utterance's own frames is cheap in this form only, on whatever device.
        if kernel_device(waveform_BS) == "cpu" or self.config.feat_extract_norm == "group":
            return encode_samples(layers, waveform_BS, samples_B)
        x = waveform_BS[:, None]
        for layer in layers:
            x = layer(x)
        return x.transpose(1, 2)

    def _hide_frames(self, hidden_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """Spans of frames replaced by the model's mask embedding (Baevski et al. 2020, section 3.1 of the paper).

        Each real frame starts a span with the probability that makes the share asked for, spans overlapping.
        """
        span = int(self.config.mask_time_length)
        start_probability = 1 - (1 - self.settings.mask_time_prob) ** (1 / span)
        starts_BT = torch.rand(hidden_BTD.shape[:2], device=hidden_BTD.device) < start_probability
        starts_BT &= frame_mask(lengths_B, hidden_BTD.shape[1])
        padded = functional.pad(starts_BT.float()[:, None], (span - 1, 0))
        hidden_BT = functional.max_pool1d(padded, span, stride=1)[:, 0] > 0
        return torch.where(hidden_BT[:, :, None], self.base.masked_spec_embed.to(hidden_BTD.dtype), hidden_BTD)

    def write_hub_files(self, folder: Path, features: FeatureConfig) -> None:
        """Write config.json and preprocessor_config.json as transformers reads them."""
        settings = config_settings(self.config)
        write_json(folder / "config.json", {**settings, "architectures": [self.architecture], "dtype": "float32"})
        write_json(
            folder / PREPROCESSOR_FILE,
            {
                "feature_extractor_type": "Wav2Vec2FeatureExtractor",
                "feature_size": 1,
                "sampling_rate": features.sample_rate_hz,
                "do_normalize": features.normalize == "mean-scale",
                "padding_side": "right",
                "padding_value": 0.0,
                "return_attention_mask": self.config.feat_extract_norm == "layer",
            },
        )


@contextmanager
def _without_mask_warning(model_type: str) -> Iterator[None]:
    """transformers hands WavLM's attention a mask and a bias of different types, which PyTorch warns of every time."""
    if model_type != "wavlm":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
        yield


def _convolved(length_B: Tensor, kernel: int, stride: int) -> Tensor:
    """Frames of a convolution without padding; 0 or less where there is not enough for one."""
    return torch.div(length_B - kernel, stride, rounding_mode="floor") + 1


def _check_config(config: Any) -> None:
    if getattr(config, "add_adapter", False):
        raise InputError(
            "config.json has add_adapter, convolutions after the transformer.",
            hint="Harken reads CTC models without them.",
        )
    if getattr(config, "adapter_attn_dim", None) is not None:
        raise InputError(
            "config.json has adapter_attn_dim: a model with one adapter per language (MMS).",
            hint="Merge the adapter of your language first, or start from the model without adapters.",
        )


def build(settings: Wav2Vec2Settings, dimensions: int, vocab_size: int) -> Wav2Vec2Ctc:
    """A randomly initialised model; `dimensions` is 1, the samples themselves."""
    if dimensions != 1:
        raise InputError(
            f"The features have {dimensions} dimensions; {FAMILY_NAME} hears the samples themselves.",
            hint="Set features.kind to waveform, features.dimensions to 1.",
        )
    config = make_config(settings.config, {"vocab_size": vocab_size, "pad_token_id": 0}, source="model.settings.config")
    return Wav2Vec2Ctc(new_network(AUTO_CLASS, config), settings)


def load_wav2vec2(
    folder: Path,
    *,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    config_changes: Mapping[str, Any] | None = None,
    freeze_feature_encoder: bool = False,
    mask_time_prob: float = 0.0,
) -> PretrainedParts:
    """A pretrained folder as a CTC model.

    With `tokenizer` the output layer is new, of its size, drawn from `seed`; the folder's own is dropped. Without it
    the folder's vocabulary is kept, its padding token as blank moved to id 0.
    """
    changes = dict(config_changes or {})
    if tokenizer is None and not (folder / VOCABULARY_FILE).is_file():
        raise MissingPart(
            f"{folder} has no vocabulary ({VOCABULARY_FILE}), as a model that was only pretrained.",
            hint="Give a tokenizer trained on your texts.",
        )
    own = HfCtcTokenizer.from_hub(folder) if tokenizer is None else None
    config = read_config(folder, changes)
    _check_config(config)
    if own is not None:
        own = own.fill_up(int(config.vocab_size))
    kept = tokenizer if own is None else own
    assert kept is not None
    if own is None:
        changes |= {"bos_token_id": None, "eos_token_id": None}
        config = read_config(folder, {**changes, "vocab_size": kept.vocab_size})
    may_miss = ("lm_head",) if own is None else ()
    network = load_network(
        AUTO_CLASS, folder, config, seed=seed, may_miss=(*may_miss, f"{config.model_type}.masked_spec_embed")
    )
    if own is None:
        _draw_head(network, seed)
    else:
        _permute_head(network, own.hub_ids)
        network.config.update({key: own.id_of(key.removesuffix("_id")) for key in ("bos_token_id", "eos_token_id")})
    network.config.pad_token_id = 0
    settings = Wav2Vec2Settings(
        config=config_settings(network.config),
        freeze_feature_encoder=freeze_feature_encoder,
        mask_time_prob=mask_time_prob,
    )
    return PretrainedParts(
        family=FAMILY_NAME,
        model=Wav2Vec2Ctc(network, settings).eval(),
        settings=settings,
        features=read_features(folder),
        tokenizer=kept,
    )


def read_features(folder: Path, config_changes: Mapping[str, Any] | None = None) -> FeatureConfig:
    """The samples as the folder's feature extractor prepares them; transformers' defaults where it has no file."""
    data: Mapping[str, Any] = {}
    if (folder / PREPROCESSOR_FILE).is_file():
        data = read_json_object(folder / PREPROCESSOR_FILE)
    elif (folder / PROCESSOR_FILE).is_file():
        data = read_json_object(folder / PROCESSOR_FILE).get("feature_extractor", {})
    return FeatureConfig(
        kind="waveform",
        dimensions=1,
        sample_rate_hz=int(data.get("sampling_rate", SAMPLE_RATE_HZ)),
        normalize="mean-scale" if data.get("do_normalize", True) else "none",
    )


def _draw_head(network: Any, seed: int) -> None:
    """An output layer as transformers initialises it, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    with torch.no_grad():
        network.lm_head.weight.normal_(0.0, network.config.initializer_range, generator=generator)
        network.lm_head.bias.zero_()


def _permute_head(network: Any, hub_ids: tuple[int, ...]) -> None:
    """Rows of the output layer in the order of our ids."""
    order = torch.tensor(hub_ids)
    with torch.no_grad():
        network.lm_head.weight.copy_(network.lm_head.weight[order].clone())
        network.lm_head.bias.copy_(network.lm_head.bias[order].clone())


FAMILY = ModelFamily(name=FAMILY_NAME, settings_type=Wav2Vec2Settings, build=build)
