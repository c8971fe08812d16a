"""NeMo's names and shapes of weights, and ours."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harken.audio.feature_config import FeatureConfig, NemoConfig
from harken.audio.mel import slaney_filters
from harken.core import InputError
from harken.models.nemo.config import HYBRID_CLASSES, NemoDescription
from harken.models.nemo.settings import NemoConformerSettings

_LAYER = {
    "norm_feed_forward1": "feed_forward_in.norm",
    "feed_forward1.linear1": "feed_forward_in.up",
    "feed_forward1.linear2": "feed_forward_in.down",
    "norm_self_att": "attention.norm",
    "self_attn.linear_q": "attention.query",
    "self_attn.linear_k": "attention.key",
    "self_attn.linear_v": "attention.value",
    "self_attn.linear_pos": "attention.positions",
    "self_attn.linear_out": "attention.project_out",
    "norm_conv": "convolution.norm",
    "conv.pointwise_conv1": "convolution.gate",
    "conv.depthwise_conv": "convolution.depthwise",
    "conv.pointwise_conv2": "convolution.project_out",
    "norm_feed_forward2": "feed_forward_out.norm",
    "feed_forward2.linear1": "feed_forward_out.up",
    "feed_forward2.linear2": "feed_forward_out.down",
    "norm_out": "norm",
}
_BATCH_NORM = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_variance"}
_BIASES = {"self_attn.pos_bias_u": "content", "self_attn.pos_bias_v": "position"}
_NAME = re.compile(r"encoder\.layers\.(?P<layer>\d+)\.(?P<rest>.+)")

# Recomputed from the settings, or statistics that nothing reads.
_RECOMPUTED = re.compile(r"preprocessor\.|loss\.|encoder\.pos_enc\.pe$|.*\.num_batches_tracked$")
_TRANSDUCER = re.compile(r"decoder\.|joint\.")


def convert_state(
    state: Mapping[str, Tensor], description: NemoDescription, expected: Mapping[str, Tensor], *, source: str
) -> dict[str, Tensor]:
    """NeMo's weights under our names, in float32, with the blank's row of the output first.

    `expected` is the state of a model of these settings: its names and shapes. Raises InputError that names what is
    absent, left over or of another shape, by NeMo's names.
    """
    hybrid = description.class_name in HYBRID_CLASSES
    names = {key: _our_name(key, description) for key in state}
    unknown = [
        key for key, name in names.items()
        if name not in expected and not _RECOMPUTED.match(key) and not (hybrid and _TRANSDUCER.match(key))
    ]  # fmt: skip
    if unknown:
        raise _misfit(source, f"{len(unknown)} tensors of parts the import does not know, first {unknown[0]!r}")
    converted = {name: _converted(key, state[key], description) for key, name in names.items() if name in expected}
    absent = sorted(expected.keys() - converted.keys())
    if absent:
        raise _misfit(source, f"no tensor for {len(absent)} of {len(expected)} weights, first {absent[0]!r}")
    for key, name in names.items():
        if name in expected and converted[name].shape != expected[name].shape:
            raise _misfit(
                source, f"{key!r} of shape {tuple(state[key].shape)} where the configuration means "
                f"{tuple(expected[name].shape)}"
            )  # fmt: skip
    return converted


def _misfit(source: str, what: str) -> InputError:
    return InputError(
        f"{source}: the weights do not fit the configuration: {what}.",
        hint="Copy the file again; a model with adapters or changed modules has to be merged or exported by NeMo.",
    )


def _our_name(key: str, description: NemoDescription) -> str:
    """Our name of NeMo's `key`, or "" where we have none."""
    settings = description.settings
    found = _NAME.fullmatch(key)
    if found:
        return _layer_name(found["layer"], found["rest"], settings)
    if key.startswith(f"{description.head}.decoder_layers.0."):
        return f"output.{key.rpartition('.')[2]}"
    stem, _, field = key.rpartition(".")
    if stem == "encoder.pre_encode.out":
        return f"front_end.output.{field}"
    place = stem.removeprefix("encoder.pre_encode.conv.")
    return f"{_subsampling_name(int(place), settings)}.{field}" if place.isdecimal() else ""


def _layer_name(layer: str, rest: str, settings: NemoConformerSettings) -> str:
    if rest in _BIASES:
        owner = f"layers.{layer}.attention.biases" if settings.untie_biases else "shared_biases"
        return f"{owner}.{_BIASES[rest]}"
    stem, _, field = rest.rpartition(".")
    if stem == "conv.batch_norm":  # NeMo's name for whichever normalisation there is
        if settings.convolution_norm == "layer_norm":
            return f"layers.{layer}.convolution.layer_norm.{field}"
        return f"layers.{layer}.convolution.batch_norm.{_BATCH_NORM[field]}" if field in _BATCH_NORM else ""
    return f"layers.{layer}.{_LAYER[stem]}.{field}" if stem in _LAYER else ""


def _subsampling_name(place: int, settings: NemoConformerSettings) -> str:
    """The convolution at a place of NeMo's sequence: convolution, ReLU, then (depthwise, pointwise, ReLU) each time;
    or (convolution, ReLU) each time."""
    if settings.subsampling == "striding":
        return f"front_end.strided.{place // 2}" if place % 2 == 0 else ""
    if place == 0:
        return "front_end.strided.0"
    block, inside = divmod(place - 2, 3)
    if place < 2 or inside == 2:
        return ""
    return f"front_end.strided.{block + 1}" if inside == 0 else f"front_end.pointwise.{block}"


def _converted(key: str, tensor: Tensor, description: NemoDescription) -> Tensor:
    tensor = tensor.to(torch.float32)
    if key.startswith(f"{description.head}.decoder_layers.0."):
        tensor = torch.cat([tensor[-1:], tensor[:-1]])
    # Convolutions over one frame are linear layers here.
    if ("pointwise_conv" in key or "decoder_layers" in key) and tensor.dim() == 3 and tensor.shape[2] == 1:
        tensor = tensor[:, :, 0]
    return tensor.contiguous()


def check_layers(state: Mapping[str, Any], description: NemoDescription, *, source: str) -> None:
    """Refuse another number of layers than the configuration says, before a model of that many is made."""
    found = len({match["layer"] for match in map(_NAME.fullmatch, state) if match})
    if found != description.settings.layers:
        raise _misfit(source, f"{found} layers where encoder.n_layers is {description.settings.layers}")


def check_equal_biases(state: Mapping[str, Any], description: NemoDescription, *, source: str) -> None:
    """Tied biases are saved once for each layer; refuse a file where they are not the same after all."""
    if description.settings.untie_biases:
        return
    for field in _BIASES:
        copies = [tensor for key, tensor in state.items() if key.startswith("encoder.layers.") and key.endswith(field)]
        if any(not torch.equal(copy, copies[0]) for copy in copies):
            raise _misfit(source, f"untie_biases is false, but the layers differ in {field}")


def check_filters(state: Mapping[str, Any], features: FeatureConfig, *, source: str) -> None:
    """NeMo reads the mel filters from the file; refuse one whose filters are not those its configuration means."""
    stored = state.get("preprocessor.featurizer.fb")
    if stored is None:
        return
    nemo = features.nemo or NemoConfig()
    rate = features.sample_rate_hz
    fits = stored.dim() == 3 and stored.shape[:2] == (1, features.dimensions)
    if fits:
        filters_BM = slaney_filters(
            mels=features.dimensions,
            fft_samples=2 * (stored.shape[2] - 1),
            sample_rate_hz=rate,
            low_hz=nemo.low_hz,
            high_hz=nemo.high_hz or rate / 2,
        )
        fits = torch.allclose(stored[0].float(), torch.from_numpy(filters_BM.T.copy()), rtol=1e-3, atol=1e-6)
    if not fits:
        raise _misfit(source, "its mel filters are not those of its preprocessor")
