"""Engines by name: what runs a model folder."""

from pathlib import Path
from typing import Any

from harken.core import InputError, Recognizer, load_plugin

GROUP = "harken.engines"


def load(model_folder: str | Path, *, engine: str = "torch", **options: Any) -> Recognizer:
    """A recognizer for a model folder: `harken.load("runs/x/model").transcribe("talk.wav").text`.

    `options` go to the engine (`config=EngineConfig(device="cpu")`). Raises MissingPart for an absent
    folder, engine or package, InputError for a damaged folder.
    """
    factory = load_plugin(GROUP, engine)
    if not callable(factory):
        raise InputError(f"The plugin {engine!r} of {GROUP} cannot be called.")
    recognizer = factory(Path(model_folder), **options)
    if not isinstance(recognizer, Recognizer):
        raise InputError(f"The engine {engine!r} gave {type(recognizer).__name__}, which is not a Recognizer.")
    return recognizer
