"""What is known of a served model without loading it, and the loading itself. All of it blocks."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harken.core import HarkenError, MissingPart, Recognizer, dump_settings
from harken.core.machine import usable_cores
from harken.inference.config import EngineConfig
from harken.inference.engines import choose_engine, load
from harken.inference.exported import CTRANSLATE2, ONNX, read_record, weights_identity
from harken.inference.routes import RoutedModel, RoutesConfig, read_routes
from harken.inference.routing import LanguageRouter
from harken.models.description import ModelDescription, read_description
from harken.models.overview import DESCRIPTION, WEIGHTS, evaluations_of, main_evaluation
from harken.serving.served.settings import ServedModel

_Answer = TypeVar("_Answer")
_WHISPER = "whisper"
_OVERHEAD = 1.2  # of a model in memory, beside its weights
_ONE_THREAD_BYTES = 64 << 20  # weights of a model whose forward pass does not gain from a second thread
_MOST_PARALLEL = 8  # passes, each in memory of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What folders say. `memory_bytes` is an estimate from the sizes of files, `wer` the fraction of the last
    evaluation, None where there is none.
    """

    family: str
    sample_rate_hz: int
    languages: tuple[str, ...]
    created_s: int
    can_translate: bool
    can_stream: bool
    memory_bytes: int
    wer: float | None


def read_facts(model: ServedModel) -> ModelFacts:
    """Raises MissingPart and InputError for a folder or routes that are absent or damaged."""
    if model.is_routes:
        return _facts_of_routes(model.path)
    description = read_description(model.path)
    evaluation = main_evaluation(evaluations_of(description.metrics))
    return ModelFacts(
        family=description.family,
        sample_rate_hz=description.sample_rate_hz,
        languages=tuple(description.languages),
        created_s=int((model.path / DESCRIPTION).stat().st_mtime),
        can_translate=_can_translate(description),
        can_stream=True,
        memory_bytes=_memory_bytes(model.path, model.engine, model.settings),
        wer=None if evaluation is None else evaluation.wer,
    )


def _facts_of_routes(path: Path) -> ModelFacts:
    config = read_routes(path)
    models = _models_of(config)
    sizes = sorted((_memory_bytes(each.model, each.engine, each.settings) for each in models), reverse=True)
    return ModelFacts(
        family="routes",
        sample_rate_hz=max(read_description(each.model).sample_rate_hz for each in models),
        languages=tuple(config.routes),
        created_s=int(path.stat().st_mtime),
        can_translate=False,
        can_stream=False,
        memory_bytes=sum(sizes[: config.most_loaded + 1]),
        wer=None,
    )


def _models_of(config: RoutesConfig) -> list[RoutedModel]:
    found = [*config.routes.values(), config.default, config.detector]
    return [model for model in found if model is not None]


def _can_translate(description: ModelDescription) -> bool:
    generation = description.settings.get("generation", {})
    return description.family == _WHISPER and bool(generation.get("is_multilingual", True))


def _memory_bytes(folder: Path, engine: str, settings: EngineConfig) -> int:
    name = choose_engine(folder, settings) if engine == "auto" else engine
    files: Iterable[Path] = [folder / WEIGHTS]
    if name == ONNX:
        files = (folder / ONNX).glob("*.onnx*")
    elif name == CTRANSLATE2:
        files = (folder / CTRANSLATE2).glob("*.bin")
    sizes = [path.stat().st_size for path in files if path.is_file()]
    return int(_OVERHEAD * sum(sizes))


def identity_of(model: ServedModel) -> str:
    """Equal for models that give equal transcripts: of their weights, exports, engines and settings, and of Harken."""
    if model.is_routes:
        config = read_routes(model.path)
        parts = [_identity(each.model, each.engine, each.settings) for each in _models_of(config)]
        found: Any = [dump_settings(config), parts]
    else:
        found = _identity(model.path, model.engine, model.settings)
    return hashlib.sha256(json.dumps([version("harken"), found], sort_keys=True).encode()).hexdigest()


def _identity(folder: Path, engine: str, settings: EngineConfig) -> Any:
    name = choose_engine(folder, settings) if engine == "auto" else engine
    weights = weights_identity(folder)
    record = read_record(folder, name) if name in (ONNX, CTRANSLATE2) else None
    read = [path for path in (settings.ctc.lm, settings.ctc.hotwords) if path is not None]
    return [
        name,
        None if weights is None else asdict(weights),
        {} if record is None else {file: entry.get("sha256") for file, entry in record.files.items()},
        dump_settings(settings),
        [[path, Path(path).stat().st_mtime_ns] for path in read if Path(path).is_file()],
    ]


def served_settings(model: ServedModel) -> EngineConfig:
    """The settings of a model's engine. Where they leave the threads open, a small CTC model in ONNX Runtime has
    passes of one thread beside each other: many requests then share the cores, and one alone is not slower.
    """
    settings = model.settings
    name = choose_engine(model.path, settings) if model.engine == "auto" else model.engine
    chosen = settings.threads is not None or settings.parallel is not None
    weights = model.path / WEIGHTS
    if chosen or name != ONNX or not weights.is_file() or weights.stat().st_size > _ONE_THREAD_BYTES:
        return settings
    if read_description(model.path).family == _WHISPER:
        return settings
    return replace(settings, threads=1, parallel=min(usable_cores(), _MOST_PARALLEL))


def load_served(model: ServedModel) -> Recognizer:
    """The recognizer. Raises MissingPart whatever is wrong: to whoever asks for the model, it is not there."""
    try:
        recognizer = _loaded(model)
        if model.warm_up:
            noise = np.random.default_rng(0).normal(0, 0.01, recognizer.sample_rate_hz)
            recognizer.transcribe(noise.astype(np.float32))
        return recognizer
    except HarkenError as err:
        raise unavailable(model.shown_name, err) from err
    except MemoryError as err:
        raise MissingPart(
            f"The model {model.shown_name} does not fit into memory.", hint="Serve fewer or smaller ones."
        ) from err
    except Exception as err:  # engines and their libraries may raise anything while they load
        raise MissingPart(f"The model {model.shown_name} cannot be loaded ({type(err).__name__}: {err}).") from err


def _loaded(model: ServedModel) -> Recognizer:
    if model.is_routes:
        return LanguageRouter.load(model.path)
    return load(model.path, engine=model.engine, config=served_settings(model))


def asked(read: Callable[[ServedModel], _Answer], model: ServedModel) -> _Answer:
    """What `read` says of a model. Raises MissingPart for what is wrong with its folder."""
    try:
        return read(model)
    except HarkenError as err:
        raise unavailable(model.shown_name, err) from err
    except OSError as err:
        raise MissingPart(f"The model {model.shown_name} is not available: {err.strerror}.") from err


def unavailable(name: str, error: HarkenError) -> MissingPart:
    """What a request for a model is told when its folder is at fault."""
    return MissingPart(f"The model {name} is not available: {error.message}", hint=error.hint)
