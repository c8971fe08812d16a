"""Engines by name: what runs a model folder."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart, Recognizer, load_plugin, plugin_names
from harken.inference.config import EngineConfig
from harken.inference.exported import CTRANSLATE2, ONNX, read_record, weights_identity
from harken.inference.onnx_engine import MODEL_FILES
from harken.inference.onnx_session import runs_on_cpu
from harken.inference.whisper.onnx_backend import ENCODER_FILES

GROUP = "harken.engines"
# Kind of export to engine and the files it can run, the faster first.
_EXPORTS = {
    CTRANSLATE2: ("ctranslate2", {"model.bin"}),
    ONNX: ("onnx", {*MODEL_FILES.values(), *ENCODER_FILES.values()}),
}
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

logger = logging.getLogger(__name__)


def load(
    model_folder: str | Path, *, engine: str = "auto", config: EngineConfig | None = None, **options: Any
) -> Recognizer:
    """A recognizer for a model folder: `harken.load("runs/x/model").transcribe("talk.wav").text`.

    `engine` auto is the fastest that the folder has an export for and that is installed, else torch; see
    `choose_engine`. Further `options` go to engines of other packages. Raises MissingPart for an absent folder, engine,
    export or package, InputError for a damaged folder and for an export that is older than its weights.
    """
    folder, config = Path(model_folder), config or EngineConfig()
    name = choose_engine(folder, config) if engine == "auto" else engine
    factory = _factory(name)
    if not callable(factory):
        raise InputError(f"The plugin {name!r} of {GROUP} cannot be called.")
    recognizer = factory(folder, config=config, **options)
    if not isinstance(recognizer, Recognizer):
        raise InputError(f"The engine {name!r} gave {type(recognizer).__name__}, which is not a Recognizer.")
    return recognizer


def _factory(name: str) -> object:
    """The engine called `name`. MissingPart tells how a model runs where PyTorch is not installed."""
    try:
        return load_plugin(GROUP, name)
    except ModuleNotFoundError as err:
        if err.name != "torch":
            raise
        raise MissingPart(
            f"The engine {name} needs PyTorch, which is not installed.",
            hint="Install it with: pip install 'harken[train]'. Or export the model where it is, with "
            "harken export MODEL --to onnx, which runs without it.",
        ) from err


def choose_engine(folder: Path, config: EngineConfig) -> str:
    """The engine `auto` stands for: ctranslate2 or onnx on a CPU where that export is there and fits the weights.

    Exports of another precision than the one asked for are passed over, those that are older than the weights with a
    warning. On a GPU torch runs, unless ONNX Runtime
    has CUDA.
    """
    if (folder / CTRANSLATE2).is_dir() or (folder / ONNX).is_dir():
        on_gpu = config.device.startswith("cuda") or (config.device == "auto" and _NVIDIA_DRIVER.exists())
        for kind, (engine, models) in _EXPORTS.items():
            record = read_record(folder, kind)
            if (
                record is None
                or models.isdisjoint(record.files)
                or find_spec("onnxruntime" if kind == ONNX else kind) is None
            ):
                continue
            precisions = {str(record.files[name].get("precision")) for name in models & record.files.keys()}
            if config.precision != "auto" and config.precision not in precisions:
                continue
            if weights_identity(folder) not in (None, record.identity):
                logger.warning("%s/%s is older than its weights and is not used; run harken export again", folder, kind)
            elif not on_gpu or kind == CTRANSLATE2 or not runs_on_cpu("auto"):
                return engine
    return "torch"


def engine_names() -> list[str]:
    """Names of the installed engines."""
    return plugin_names(GROUP)
