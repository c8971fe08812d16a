"""model_config.yaml of a .nemo archive in our terms. What we do not compute exactly as NeMo is refused by name."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harken.audio.feature_config import NemoConfig
from harken.audio.features import FeatureConfig
from harken.core import InputError, parse_settings
from harken.models.nemo.settings import NemoConformerSettings

CTC_CLASSES = ("EncDecCTCModel", "EncDecCTCModelBPE")
HYBRID_CLASSES = ("EncDecHybridRNNTCTCModel", "EncDecHybridRNNTCTCBPEModel")

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_GUARD = 2.0**-24


@dataclass(frozen=True, slots=True, kw_only=True)
class NemoDescription:
    """What the configuration says. `head` is the prefix of the CTC output layer's weights; `labels` are the units by
    NeMo's ids, the blank (which comes last) not among them; `tokenizer` is that block, empty for characters."""

    class_name: str
    version: str
    settings: NemoConformerSettings
    features: FeatureConfig
    head: str
    labels: list[str]
    tokenizer: dict[str, Any]


class Block:
    """One mapping of the configuration; errors name the file and the path of the field."""

    def __init__(self, values: Mapping[str, Any], *, root: Mapping[str, Any], source: str, path: str = "") -> None:
        self.values, self.root, self.source, self.path = values, root, source, path

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name, default)
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return value if found is None else self._referred(found[1], name)

    def number(self, name: str, default: float) -> int | float:
        """A finite number. Raises InputError for anything else."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"{self.source}: {self.path}{name} is {value!r}, not a number.", hint="Copy the file again."
            )
        return value

    def block(self, name: str) -> "Block":
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise InputError(
                f"{self.source}: the configuration has no {self.path}{name}.",
                hint="Conformer-CTC and FastConformer-CTC models can be imported.",
            )
        return Block(value, root=self.root, source=self.source, path=f"{self.path}{name}.")

    def kind(self) -> str:
        """The class of a block, without its module."""
        return str(self.get("_target_") or self.get("cls") or "").rpartition(".")[2]

    def require(self, name: str, default: Any, *allowed: Any) -> None:
        """Refuse a setting unless it is `default` (also when absent) or one of `allowed`."""
        value = self.get(name, default)
        if value != default and value not in allowed:
            raise self.refusal(name, value, default)

    def refusal(self, name: str, value: Any, known: Any) -> InputError:
        return InputError(
            f"{self.source}: {self.path}{name} is {value!r}; the import knows {known!r}.",
            hint="Convert the model with NeMo to that setting, or transcribe with NeMo.",
        )

    def _referred(self, path: str, name: str) -> Any:
        """`${a.b}` names a value from the root, as OmegaConf has it."""
        value: Any = self.root
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise InputError(f"{self.source}: {self.path}{name} refers to {path}, which is not there.")
            value = value[key]
        return value


def read_config(data: Mapping[str, Any], *, source: str) -> NemoDescription:
    """The description of a model. Raises InputError that names the class or field the import does not know."""
    root = Block(data, root=data, source=source)
    class_name = _class_name(root)
    head = root.block("aux_ctc").block("decoder") if class_name in HYBRID_CLASSES else root.block("decoder")
    labels = _labels(head, root)
    tokenizer = root.get("tokenizer")
    return NemoDescription(
        class_name=class_name,
        version=str(root.get("nemo_version") or ""),
        settings=_settings(root.block("encoder")),
        features=_features(root.block("preprocessor")),
        head="ctc_decoder" if class_name in HYBRID_CLASSES else "decoder",
        labels=labels,
        tokenizer=dict(tokenizer) if isinstance(tokenizer, Mapping) else {},
    )


def _class_name(root: Block) -> str:
    name = str(root.get("target") or "").rpartition(".")[2]
    encoder = root.get("encoder")
    encoder_kind = Block(encoder, root=root.root, source=root.source).kind() if isinstance(encoder, Mapping) else ""
    if not name:  # NeMo 1.0 wrote no target; the parts say what it is
        name = "EncDecCTCModelBPE" if isinstance(root.get("tokenizer"), Mapping) else "EncDecCTCModel"
    if name not in CTC_CLASSES + HYBRID_CLASSES:
        raise InputError(
            f"{root.source} is a {name}; the import knows CTC models.",
            hint="Hybrid models with a CTC head can be imported as well; transducers (RNNT, TDT) and others cannot.",
        )
    if encoder_kind != "ConformerEncoder":
        raise InputError(
            f"{root.source}: its encoder is a {encoder_kind or 'thing without _target_'}.",
            hint="Models with a ConformerEncoder (Conformer, FastConformer) can be imported.",
        )
    return name


def _labels(head: Block, root: Block) -> list[str]:
    if head.kind() != "ConvASRDecoder":
        raise head.refusal("_target_", head.kind(), "ConvASRDecoder")
    head.require("add_blank", True)
    labels = head.get("vocabulary") or root.get("labels") or []
    if not isinstance(labels, list):
        raise InputError(
            f"{head.source}: {head.path}vocabulary is {labels!r}, not a list.", hint="Copy the file again."
        )
    return [str(label) for label in labels]


def _settings(encoder: Block) -> NemoConformerSettings:
    width = encoder.get("d_model")
    channels = encoder.get("subsampling_conv_channels", -1)
    attention = encoder.get("self_attention_model", "rel_pos")
    if attention != "rel_pos":
        raise encoder.refusal("self_attention_model", attention, "rel_pos")
    for name, known, *also in (
        ("feat_out", -1, width, None), ("causal_downsampling", False), ("reduction", None, ""),
        ("att_context_size", None, [-1, -1], [[-1, -1]]), ("att_context_style", "regular"),
        ("att_chunk_context_size", None), ("conv_context_style", "regular"), ("conv_dual_mode", False),
    ):  # fmt: skip
        encoder.require(name, known, *also)
    kernel = encoder.get("conv_kernel_size", 31)
    if isinstance(kernel, int):
        encoder.require("conv_context_size", None, [kernel // 2, kernel // 2])
    dropout = encoder.get("dropout", 0.1)
    values = {
        "width": width,
        "layers": encoder.get("n_layers"),
        "heads": encoder.get("n_heads", 4),
        "kernel": kernel,
        "expansion": encoder.get("ff_expansion_factor", 4),
        "subsampling": encoder.get("subsampling", "striding"),
        "subsampling_factor": encoder.get("subsampling_factor", 4),
        "subsampling_channels": width if channels == -1 else channels,
        "convolution_norm": encoder.get("conv_norm_type", "batch_norm"),
        "scale_input": encoder.get("xscaling", True),
        "untie_biases": encoder.get("untie_biases", True),
        "use_bias": encoder.get("use_bias", True),
        "dropout": dropout,
        "dropout_input": encoder.get("dropout_pre_encoder", dropout),  # before NeMo 1.9 there was one for both
        "dropout_positions": encoder.get("dropout_emb", 0.1),
        "dropout_attention": encoder.get("dropout_att", 0.0),
    }
    return parse_settings(NemoConformerSettings, values, source=f"{encoder.source}: {encoder.path.rstrip('.')}")


def _features(preprocessor: Block) -> FeatureConfig:
    """Dither is off: NeMo adds it in training only. `pad_to` adds frames that are masked again, so it says nothing."""
    if preprocessor.kind() != "AudioToMelSpectrogramPreprocessor":
        raise preprocessor.refusal("_target_", preprocessor.kind(), "AudioToMelSpectrogramPreprocessor")
    for name, known, *also in (
        ("window", "hann"), ("log", True), ("log_zero_guard_type", "add"), ("frame_splicing", 1), ("exact_pad", False),
        ("mag_power", 2.0), ("mel_norm", "slaney"),
    ):  # fmt: skip
        preprocessor.require(name, known, *also)
    guard = preprocessor.number("log_zero_guard_value", _GUARD)
    if abs(guard - _GUARD) > 1e-3 * _GUARD:  # 5.96e-8 is how YAML writes it
        raise preprocessor.refusal("log_zero_guard_value", guard, _GUARD)
    rate = preprocessor.number("sample_rate", 16_000)
    window_s = _seconds(preprocessor, "window_size", 0.02, rate)
    least = max(1, int(window_s * rate + 1e-6))
    preprocessor.require("n_fft", None, 2 ** (least - 1).bit_length())
    normalize = preprocessor.get("normalize", "per_feature")
    if normalize not in ("per_feature", None, False, "", "NA"):
        raise preprocessor.refusal("normalize", normalize, "per_feature")
    preemphasis = preprocessor.get("preemph", 0.97)
    values = {
        "kind": "nemo",
        "sample_rate_hz": rate,
        "dimensions": preprocessor.get("features", 64),
        "window_s": window_s,
        "hop_s": _seconds(preprocessor, "window_stride", 0.01, rate),
        "normalize": "per-feature" if normalize == "per_feature" else "none",
        "nemo": NemoConfig(
            preemphasis=0.0 if preemphasis is None else preemphasis,
            low_hz=preprocessor.get("lowfreq") or 0.0,
            high_hz=preprocessor.get("highfreq") or None,
        ),
    }
    return parse_settings(FeatureConfig, values, source=f"{preprocessor.source}: {preprocessor.path.rstrip('.')}")


def _seconds(preprocessor: Block, name: str, default: float, rate: float) -> float:
    """`window_size` in seconds or `n_window_size` in samples; one of them, as NeMo insists."""
    if preprocessor.get(f"n_{name}") and rate:
        return preprocessor.number(f"n_{name}", 0) / rate
    return preprocessor.number(name, default)
