"""Engines by name."""

from pathlib import Path

import pytest

import harken
from harken.core import InputError, MissingPart, Waveform
from harken.inference import engines as room
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load


def test_load_gives_the_engine_of_that_name(
    model_folder: Path, recognizer: CtcRecognizer, noises: list[Waveform]
) -> None:
    loaded = load(str(model_folder), config=EngineConfig(device="cpu"))
    assert isinstance(loaded, CtcRecognizer)
    assert loaded.transcribe(noises[1]) == recognizer.transcribe(noises[1])
    assert harken.load(model_folder).sample_rate_hz == 16_000


def test_an_unknown_engine_lists_the_known_ones(model_folder: Path) -> None:
    with pytest.raises(MissingPart, match=r"no harken\.engines called 'tensorflow'\. Installed: .*torch"):
        load(model_folder, engine="tensorflow")


def test_an_absent_folder_and_one_that_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"absent does not exist\. Give the model/ folder"):
        load(tmp_path / "absent")
    with pytest.raises(MissingPart, match="is not a model folder: it has no harken"):
        load(tmp_path)


def test_a_plugin_that_gives_no_recognizer_is_refused(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "load_plugin", lambda group, name: lambda folder: "a string")
    with pytest.raises(InputError, match="'odd' gave str, which is not a Recognizer"):
        load(model_folder, engine="odd")
    monkeypatch.setattr(room, "load_plugin", lambda group, name: "no function")
    with pytest.raises(InputError, match=r"'odd' of harken\.engines cannot be called"):
        load(model_folder, engine="odd")
