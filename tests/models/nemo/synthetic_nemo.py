"""Small .nemo files with NeMo's names, made without NeMo. tools/check_nemo.py --record shows the same files to NeMo."""

import base64
import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

GOLDEN = Path(__file__).with_name("golden.json")
TOKENIZER_TEXTS = [
    "zero one two three four five six seven eight nine",
    "one nine uh seven seven five three",
    "ноль один два три ещё пять",
]
LABELS = [" ", "e", "n", "o", "z"]
WIDTH, MELS, HEADS = 8, 20, 2
MODULES = "nemo.collections.asr.modules"
CONFORMER = {
    "target": "nemo.collections.asr.models.ctc_models.EncDecCTCModel",
    "nemo_version": "3.0.0",
    "sample_rate": 16000,
    "labels": LABELS,
    "preprocessor": {
        "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
        "sample_rate": "${sample_rate}", "normalize": "per_feature", "window_size": 0.025,
        "window_stride": 0.01, "window": "hann", "features": MELS, "n_fft": 512, "log": True, "frame_splicing": 1,
        "dither": 1e-5, "pad_to": 16, "pad_value": 0.0,
    },
    "encoder": {
        "_target_": f"{MODULES}.ConformerEncoder",
        "feat_in": MELS, "feat_out": -1, "n_layers": 2, "d_model": WIDTH, "subsampling": "striding",
        "subsampling_factor": 4, "subsampling_conv_channels": -1, "ff_expansion_factor": 2,
        "self_attention_model": "rel_pos", "n_heads": HEADS, "att_context_size": [-1, -1], "xscaling": True,
        "untie_biases": True, "pos_emb_max_len": 500, "conv_kernel_size": 5, "dropout": 0.1, "dropout_emb": 0.0,
        "dropout_att": 0.1,
    },
    "decoder": {
        "_target_": f"{MODULES}.ConvASRDecoder", "feat_in": WIDTH, "num_classes": len(LABELS), "vocabulary": LABELS,
    },
}  # fmt: skip
FAST = {
    "subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 4, "untie_biases": False,
    "conv_norm_type": "layer_norm", "xscaling": False, "use_bias": False,
}  # fmt: skip
MODELS = {"conformer": None, "fastconformer": "unigram"}  # name, and the tokenizer; none is characters


def make_config(model: str, tokenizers: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(CONFORMER))
    kind = MODELS[model]
    if kind is None:
        return config
    del config["labels"]
    config["target"] = "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE"
    config["encoder"] |= FAST
    pieces = tokenizers[kind]["pieces"]
    config["decoder"] |= {"num_classes": len(pieces), "vocabulary": pieces}
    names = {"model_path": "tokenizer.model", "vocab_path": "vocab.txt", "spe_tokenizer_vocab": "tokenizer.vocab"}
    config["tokenizer"] = {"dir": "tokens", "type": "bpe"} | {key: f"nemo:ab12_{name}" for key, name in names.items()}
    return config


def make_files(model: str, tokenizers: dict[str, Any]) -> dict[str, bytes]:
    kind = MODELS[model]
    if kind is None:
        return {}
    pieces = tokenizers[kind]["pieces"]
    return {
        "ab12_tokenizer.model": base64.b64decode(tokenizers[kind]["model"]),
        "ab12_vocab.txt": "\n".join(pieces).encode(),
        "ab12_tokenizer.vocab": "".join(f"{piece}\t0\n" for piece in pieces).encode(),
    }


def make_state(config: dict[str, Any], *, head: str = "decoder") -> dict[str, Tensor]:
    """Weights that only depend on their names, under NeMo's names and in its shapes."""
    encoder = config["encoder"]
    depthwise = encoder["subsampling"] == "dw_striding"
    channels = WIDTH if encoder["subsampling_conv_channels"] == -1 else encoder["subsampling_conv_channels"]
    bias = encoder.get("use_bias", True)
    halvings = encoder["subsampling_factor"].bit_length() - 1
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int, with_bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if with_bias:
            shapes[f"{name}.bias"] = shape[:1]

    layer("encoder.pre_encode.out", WIDTH, channels * -(-MELS // 2**halvings))
    layer("encoder.pre_encode.conv.0", channels, 1, 3, 3)
    for i in range(1, halvings):
        if depthwise:
            layer(f"encoder.pre_encode.conv.{3 * i - 1}", channels, 1, 3, 3)
            layer(f"encoder.pre_encode.conv.{3 * i}", channels, channels, 1, 1)
        else:
            layer(f"encoder.pre_encode.conv.{2 * i}", channels, channels, 3, 3)
    inner = WIDTH * encoder["ff_expansion_factor"]
    for i in range(encoder["n_layers"]):
        at = f"encoder.layers.{i}"
        for name in ("feed_forward1", "self_att", "conv", "feed_forward2"):
            layer(f"{at}.norm_{name}", WIDTH)
        layer(f"{at}.norm_out", WIDTH)
        for name in ("feed_forward1", "feed_forward2"):
            layer(f"{at}.{name}.linear1", inner, WIDTH, with_bias=bias)
            layer(f"{at}.{name}.linear2", WIDTH, inner, with_bias=bias)
        for name in "qkv":
            layer(f"{at}.self_attn.linear_{name}", WIDTH, WIDTH, with_bias=bias)
        layer(f"{at}.self_attn.linear_out", WIDTH, WIDTH, with_bias=bias)
        layer(f"{at}.self_attn.linear_pos", WIDTH, WIDTH, with_bias=False)
        shapes[f"{at}.self_attn.pos_bias_u"] = shapes[f"{at}.self_attn.pos_bias_v"] = (HEADS, WIDTH // HEADS)
        layer(f"{at}.conv.pointwise_conv1", 2 * WIDTH, WIDTH, 1, with_bias=bias)
        layer(f"{at}.conv.depthwise_conv", WIDTH, 1, encoder["conv_kernel_size"], with_bias=bias)
        layer(f"{at}.conv.pointwise_conv2", WIDTH, WIDTH, 1, with_bias=bias)
        layer(f"{at}.conv.batch_norm", WIDTH)
        if encoder.get("conv_norm_type", "batch_norm") == "batch_norm":
            shapes[f"{at}.conv.batch_norm.running_mean"] = shapes[f"{at}.conv.batch_norm.running_var"] = (WIDTH,)
    layer(f"{head}.decoder_layers.0", len(config["decoder"]["vocabulary"]) + 1, WIDTH, 1)
    state = {name: _values(name, shape, tied=not encoder["untie_biases"]) for name, shape in shapes.items()}
    for i in range(encoder["n_layers"] if "encoder.layers.0.conv.batch_norm.running_var" in state else 0):
        state[f"encoder.layers.{i}.conv.batch_norm.num_batches_tracked"] = torch.tensor(3)
    state["preprocessor.featurizer.window"] = torch.hann_window(400, periodic=False)
    state["preprocessor.featurizer.fb"] = _mel_filters()
    return state


def _mel_filters() -> Tensor:
    """NeMo loads the filters from the file, so they have to be right; (1, mels, frequencies)."""
    from harken.audio.mel import slaney_filters

    filters_BM = slaney_filters(mels=MELS, fft_samples=512, sample_rate_hz=16_000, low_hz=0.0, high_hz=8_000.0)
    return torch.from_numpy(filters_BM.T.copy())[None]


def _values(name: str, shape: tuple[int, ...], *, tied: bool) -> Tensor:
    if tied and "pos_bias" in name:
        name = name.rpartition(".")[2]
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count) * 0.37 + zlib.crc32(name.removeprefix("ctc_").encode()) % 1000)
    is_scale = name.endswith("running_var") or ((".norm_" in name or "batch_norm" in name) and name.endswith("weight"))
    return torch.from_numpy((1 + 0.3 * wave if is_scale else 0.4 * wave).astype(np.float32).reshape(shape))


def write_nemo(path: Path, config: Any, state: Any, files: dict[str, bytes] | None = None, *, mode: str = "w") -> Path:
    """A tar as NeMo's save_to makes it."""
    weights = io.BytesIO()
    torch.save(state, weights)
    members = {"model_config.yaml": yaml.safe_dump(config, allow_unicode=True).encode(), **(files or {})}
    with tarfile.open(path, mode) as tar:
        for name, data in {**members, "model_weights.ckpt": weights.getvalue()}.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_model(folder: Path, model: str, tokenizers: dict[str, Any]) -> Path:
    config = make_config(model, tokenizers)
    return write_nemo(folder / f"{model}.nemo", config, make_state(config), make_files(model, tokenizers))


def waveforms() -> list[np.ndarray]:
    """Two signals of a few harmonics, 0.43 and 0.25 s: sums of sines, so that they are the same everywhere."""
    signals = []
    for samples, pitch_hz in ((6880, 140), (4001, 210)):
        time_s = np.arange(samples) / 16_000
        sweep = sum(np.sin(2 * np.pi * k * (pitch_hz + 60 * time_s) * time_s) / k for k in range(1, 12))
        hiss = np.sin(1e4 * time_s**2) + np.sin(3e5 * time_s**3)
        signals.append((0.1 * sweep + 0.03 * hiss).astype(np.float32))
    return signals
