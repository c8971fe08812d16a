"""The ctranslate2 engine: runs the CTranslate2 export of a Whisper. No torch needed."""

from pathlib import Path
from typing import Any

from harken.audio.features import FeatureExtractor
from harken.core import InputError
from harken.inference.config import EngineConfig, refuse_ctc_settings
from harken.inference.exported import CTRANSLATE2, check_fresh, exported_file
from harken.inference.whisper.ctranslate2_backend import CTranslate2Backend, load_library
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.settings import decoding_settings
from harken.models.description import read_interface
from harken.text.whisper_tokenizer import WhisperTokenizer

FAMILY = "whisper"
MODEL_FILE = "model.bin"


def load_engine(folder: Path, *, config: EngineConfig | None = None) -> WhisperRecognizer:
    """A recognizer for a model folder whose Whisper was exported to CTranslate2.

    Raises MissingPart for what is absent (the
    package, the export, a device), InputError for a model of another family, a damaged folder, and an export that is
    older than its weights or of another precision.
    """
    config = config or EngineConfig()
    refuse_ctc_settings(config)
    load_library()
    interface = read_interface(folder)
    if interface.description.family != FAMILY or not isinstance(interface.tokenizer, WhisperTokenizer):
        raise InputError(
            f"{folder} is of the family {interface.description.family}; CTranslate2 runs Whisper only.",
            hint="Use the engine onnx or torch.",
        )
    record = check_fresh(folder, CTRANSLATE2)
    path = exported_file(folder, CTRANSLATE2, MODEL_FILE, record)
    entry = record.files[MODEL_FILE]
    if config.precision not in ("auto", entry["precision"]):
        raise InputError(
            f"precision is {config.precision}, and the CTranslate2 export in {folder} is {entry['precision']}.",
            hint=f"Use auto, or harken export {folder} --to ctranslate2 with that precision.",
        )
    settings = decoding_settings(config.whisper, config, interface.description.settings.get("generation", {}))
    backend = CTranslate2Backend(
        path.parent,
        interface.tokenizer,
        window_frames=_number(entry, "window_frames", folder),
        longest_tokens=_number(entry, "longest_tokens", folder),
        device=config.device,
        threads=config.threads,
        seed=settings.seed,
    )
    return WhisperRecognizer(
        backend,
        FeatureExtractor(interface.features),
        interface.tokenizer,
        settings,
        longest_s=config.longest_s,
        batch_windows=config.windows_at_once(interface.features.pad_to_s),
    )


def _number(entry: dict[str, Any], name: str, folder: Path) -> int:
    if not isinstance(entry.get(name), int):
        raise InputError(
            f"The CTranslate2 export in {folder} does not say its {name}.", hint="Run harken export again."
        )
    return int(entry[name])
