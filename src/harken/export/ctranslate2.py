"""A Whisper for CTranslate2: ctranslate2/ in the model folder, which faster-whisper reads as well."""

import json
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.core.files import sha256_file, write_json
from harken.export.clips import Clip, duration_s
from harken.export.parity import LIMITS, ParityLimits, check_parity
from harken.export.record import add_to_record, check_unchanged, identity_of
from harken.export.whisper_parity import heard_by_whisper, measure_whisper_parity, whisper_references
from harken.inference.ctranslate2_engine import MODEL_FILE
from harken.inference.exported import CTRANSLATE2
from harken.inference.whisper.ctranslate2_backend import CTranslate2Backend, load_library
from harken.inference.whisper.special import alignment_heads
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.models.folder import LoadedModel, load_model, write_weights
from harken.models.pretrained import quiet_transformers
from harken.models.whisper import WhisperSeq2Seq
from harken.text.whisper_tokenizer import WhisperTokenizer

QUANTIZATIONS = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""CTranslate2's names of our precisions. int8 is that of the weights; activations are quantised as they come."""
_COPIED = ("tokenizer.json", "preprocessor_config.json")  # faster-whisper looks for them beside the model


def export_ctranslate2(
    folder: Path, *, precision: str, clips: Sequence[Clip], limits: ParityLimits | None = None
) -> dict[str, Any]:
    """Write ctranslate2/ into the model folder of a Whisper, checked on `clips`; returns its entry of export.json.

    Active LoRA adapters are merged. An export that is there already is replaced once the new one has passed. Raises
    InputError for a model that is no Whisper or a precision not in `QUANTIZATIONS`, MissingPart without the package,
    RunFailed with the figures where the export does not write what the original writes; then nothing has changed.
    """
    if precision not in QUANTIZATIONS:
        raise InputError(f"precision is {precision!r}.", hint=f"Use one of {', '.join(QUANTIZATIONS)}.")
    load_library()
    loaded, identity = load_model(folder), identity_of(folder)
    if not isinstance(loaded.model, WhisperSeq2Seq) or not isinstance(loaded.tokenizer, WhisperTokenizer):
        raise InputError(
            f"{folder} is of the family {loaded.description.family}; CTranslate2 runs Whisper only.",
            hint="Export it with --to onnx.",
        )
    limits = limits or LIMITS[precision]
    with _temporary(folder) as new:
        with _plain_folder(loaded) as source:
            _convert(source, new, QUANTIZATIONS[precision])
        _complete(new, loaded)
        for name in _COPIED:
            shutil.copyfile(folder / name, new / name)
        entry = {
            "sha256": sha256_file(new / MODEL_FILE),
            "precision": precision,
            "window_frames": loaded.model.window_frames,
            "longest_tokens": loaded.model.longest_tokens,
            "parity": _check(new, loaded, clips, limits, name=f"{CTRANSLATE2} ({precision})"),
        }
        check_unchanged(folder, identity)
        shutil.rmtree(folder / CTRANSLATE2, ignore_errors=True)
        new.rename(folder / CTRANSLATE2)
    add_to_record(folder, CTRANSLATE2, {MODEL_FILE: entry}, identity=identity)
    return entry


def _convert(source: Path, target: Path, quantization: str) -> None:
    converters: Any = import_module("ctranslate2.converters")
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library about itself
        converters.TransformersConverter(str(source)).convert(str(target), quantization=quantization)


def _complete(target: Path, loaded: LoadedModel) -> None:
    """Say in the converted files what the converter leaves out where generation_config.json is silent."""
    model, tokenizer = loaded.model, loaded.tokenizer
    assert isinstance(model, WhisperSeq2Seq)
    assert isinstance(tokenizer, WhisperTokenizer)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["lang_ids"] = sorted(tokenizer.languages.values())
    config["alignment_heads"] = alignment_heads(
        model.settings.generation, layers=model.config.decoder_layers, heads=model.config.decoder_attention_heads
    )
    write_json(target / "config.json", config)
    path = target / "vocabulary.json"
    units = json.loads(path.read_text(encoding="utf-8"))
    if tokenizer.multilingual and "" not in units:
        # By an empty unit, which OpenAI's multilingual vocabulary has and its English one has not, CTranslate2 tells
        # whether a model knows languages. It reads the names of special tokens only, so any other may be lost.
        units[next(place for place, unit in enumerate(units) if not unit.startswith("<|"))] = ""
        write_json(path, units)


def _check(
    target: Path, loaded: LoadedModel, clips: Sequence[Clip], limits: ParityLimits, *, name: str
) -> dict[str, Any]:
    model, tokenizer = loaded.model, loaded.tokenizer
    assert isinstance(model, WhisperSeq2Seq)
    assert isinstance(tokenizer, WhisperTokenizer)
    cut, heard = heard_by_whisper(loaded, model.window_frames, clips)
    references = whisper_references(
        TorchWhisperBackend(model, tokenizer), tokenizer, heard, language=model.language, task=model.task
    )
    exported = CTranslate2Backend(
        target,
        tokenizer,
        window_frames=model.window_frames,
        longest_tokens=model.longest_tokens,
        device="cpu",
    )
    parity = measure_whisper_parity(
        exported,
        tokenizer,
        references,
        audio_s=duration_s(cut, sample_rate_hz=loaded.features.sample_rate_hz),
        normalizer=loaded.description.normalizer,
    )
    check_parity(parity, limits, name=name)
    return parity.record(limits)


@contextmanager
def _plain_folder(loaded: LoadedModel) -> Iterator[Path]:
    """A folder whose weights are all of the model: its own, or one beside it with the active adapters merged."""
    active = loaded.description.active_adapters
    if not active:
        yield loaded.folder
        return
    from harken.models.adapters import merge_adapter

    assert isinstance(loaded.model, WhisperSeq2Seq)
    for name in active:
        merge_adapter(loaded.model, name)
    with _temporary(loaded.folder) as plain:
        plain.mkdir()
        loaded.tokenizer.save(plain)
        loaded.model.write_hub_files(plain, loaded.features)
        write_weights(plain / "model.safetensors", loaded.model)
        yield plain


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A name in `folder` that nothing has; what is written there and not renamed vanishes."""
    path = folder / f".{CTRANSLATE2}.{secrets.token_hex(4)}.tmp"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
