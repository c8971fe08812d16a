"""Model folders of real shapes with random weights, exported, and the audio for the benchmark of inference.

A folder that is there already is taken as it is.
"""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench_training import WAV2VEC2_BASE, WHISPER_TINY
from benchmarks.clips import LETTERS, SAMPLE_RATE_HZ, durations_s, write_clips
from harken.audio.decode import decode_audio
from harken.audio.feature_config import KaldiConfig
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Waveform
from harken.core.files import sha256_file
from harken.export import export_model
from harken.export.clips import read_clips
from harken.export.ctranslate2 import export_ctranslate2
from harken.export.graph import add_metadata
from harken.export.parity import ParityLimits
from harken.export.quantize import quantize_dynamic, quantize_static
from harken.export.record import add_to_record, identity_of
from harken.inference.exported import CTRANSLATE2, ONNX, RECORD
from harken.inference.onnx_engine import MODEL_FILES
from harken.inference.onnx_session import open_session
from harken.models.conformer import ConformerSettings
from harken.models.family import CtcModel, find_family
from harken.models.folder import describe, load_model, save_model
from harken.models.pretrained import PretrainedParts, load_pretrained
from harken.testing import random_wav2vec2, random_whisper
from harken.testing.random_models import BYTE_UNITS
from harken.text.tokenize import CharTokenizer

MEDIUM = ConformerSettings(width=176, layers=16)  # 12 million parameters
SMALL = ConformerSettings(width=144, layers=4)
TINY = ConformerSettings(width=16, layers=1, heads=2)  # of a smoke run
STATIC = "static.int8.onnx"  # beside the model folder: it holds one file of a precision
# Kaldi's features as WeNet and sherpa-onnx compute them: a frame each hop, 7.6 kHz the highest.
FEATURES = FeatureConfig(kind="kaldi", dimensions=80, kaldi=KaldiConfig(snip_edges=False, high_hz=7_600.0))
SHARPNESS = 15.0  # of the output layer, times; else all units are nearly alike and rounding chooses
_SMALL_WAV2VEC2 = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "conv_dim": (16,) * 7}
_SMALL_WHISPER = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                  "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
END_OF_TEXT = 50_257  # where OpenAI's multilingual vocabulary ends and its special tokens begin
_TIMES = 1_501
_CALIBRATION = 4  # clips


def write_audio(folder: Path, count: int) -> list[Path]:
    """`count` clips of log-normal duration."""
    return [Path(clip.audio) for clip in write_clips(folder, durations_s(count))]


def read_audio(paths: list[Path]) -> list[Waveform]:
    return [decode_audio(path, sample_rate_hz=SAMPLE_RATE_HZ) for path in paths]


def make_wav2vec2(root: Path, *, smoke: bool = False) -> tuple[Path, Path]:
    """(transformers' folder, model folder) of wav2vec2-base, exported to ONNX in fp32 and int8."""
    pretrained, folder = root / "wav2vec2-pretrained", root / "wav2vec2"
    if (folder / STATIC).is_file():
        return pretrained, folder
    pretrained.mkdir(parents=True, exist_ok=True)
    network = random_wav2vec2(pretrained, letters=LETTERS, **(WAV2VEC2_BASE | (_SMALL_WAV2VEC2 if smoke else {})))
    with torch.no_grad():
        network.lm_head.weight.mul_(SHARPNESS)
    network.save_pretrained(pretrained)
    _save(folder, load_pretrained(pretrained))
    _export_onnx(folder)
    return pretrained, folder


def make_conformer(root: Path, settings: ConformerSettings) -> Path:
    """A model folder of a Conformer on Kaldi features over letters, exported to ONNX in fp32 and int8."""
    folder = root / f"conformer-{settings.width}"
    if (folder / STATIC).is_file():
        return folder
    family, tokenizer = find_family("conformer-ctc"), CharTokenizer(["<pad>", " ", *LETTERS])
    torch.manual_seed(0)
    model = family.build(settings, FEATURES.dimensions, tokenizer.vocab_size)
    assert isinstance(model, CtcModel)
    with torch.no_grad():
        model.get_submodule(model.head).weight.mul_(SHARPNESS)
    parts = PretrainedParts(
        family="conformer-ctc", model=model.eval(), settings=settings, features=FEATURES, tokenizer=tokenizer
    )
    _save(folder, parts)
    _export_onnx(folder)
    return folder


def make_whisper(root: Path, *, smoke: bool = False) -> Path:
    """A model folder of Whisper-tiny with a vocabulary laid out as OpenAI's, exported to CTranslate2.

    It never ends a text by itself, so that every window has as many tokens as are asked for.
    """
    pretrained, folder = root / "whisper-pretrained", root / "whisper"
    if (folder / CTRANSLATE2 / RECORD).is_file():
        return folder
    pretrained.mkdir(parents=True, exist_ok=True)
    tokens = _special_tokens()
    end, start = tokens["<|endoftext|>"], tokens["<|startoftranscript|>"]
    special = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    sizes = WHISPER_TINY | (_SMALL_WHISPER if smoke else {})
    network = random_whisper(pretrained, generation={"suppress_tokens": [end]}, **sizes, **special)
    settings = {**network.generation_config.to_dict(), **special}
    settings["lang_to_id"] = {name: tokens[name] for name in list(tokens)[2:101]}
    settings["task_to_id"] = {name: tokens[f"<|{name}|>"] for name in ("transcribe", "translate")}
    settings["no_timestamps_token_id"] = tokens["<|notimestamps|>"]
    units = [*BYTE_UNITS, *("".join(pair) for pair in product(BYTE_UNITS, BYTE_UNITS))][:END_OF_TEXT]
    for name, content in (
        ("generation_config.json", settings),
        ("vocab.json", {unit: id_ for id_, unit in enumerate(units)}),
        ("added_tokens.json", tokens),
    ):
        (pretrained / name).write_text(json.dumps(content), encoding="utf-8")
    _save(folder, load_pretrained(pretrained))
    clips = read_clips(write_audio(root / "check", 1), sample_rate_hz=SAMPLE_RATE_HZ)
    # Texts are not compared: to random weights many units are all but equally likely.
    export_ctranslate2(folder, precision="fp32", clips=clips, limits=ParityLimits(log_prob=1e-2))
    return folder


def _special_tokens() -> dict[str, int]:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    names = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in list(LANGUAGES)[:99]), "<|translate|>",
        "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
        *(f"<|{0.02 * step:.2f}|>" for step in range(_TIMES)),
    ]  # fmt: skip
    return {name: END_OF_TEXT + place for place, name in enumerate(names)}


def _save(folder: Path, parts: PretrainedParts) -> None:
    description = describe(
        parts.model, family=parts.family, settings=parts.settings, features=parts.features, tokenizer=parts.tokenizer,
        normalizer="basic", languages=["en"],
    )  # fmt: skip
    save_model(folder, model=parts.model, description=description, tokenizer=parts.tokenizer)


def _export_onnx(folder: Path) -> None:
    """model.onnx and tokens.txt as `harken export` makes them; int8 without its check, which random weights fail."""
    paths = write_audio(folder.parent / "check", 2 + _CALIBRATION)
    list(export_model(folder, ["onnx", "tokens"], files=paths[:2]))
    source, target = (folder / ONNX / MODEL_FILES[precision] for precision in ("fp32", "int8"))
    loaded = load_model(folder)
    assert isinstance(loaded.model, CtcModel)
    front = loaded.model.front_products
    quantize_dynamic(source, target, front=front)
    add_metadata(target, dict(open_session(source, device="cpu").get_modelmeta().custom_metadata_map))
    entry: Mapping[str, Any] = {
        "sha256": sha256_file(target), "precision": "int8", "parity": None, "quantization": {"method": "dynamic"},
    }  # fmt: skip
    add_to_record(folder, ONNX, {target.name: dict(entry)}, identity=identity_of(folder))
    extractor = FeatureExtractor(loaded.features)
    calibration = [extractor(waveform) for waveform in read_audio(paths[2:])]
    quantize_static(source, folder / STATIC, calibration, front=front)
