"""What is asked of model folders: the settings a served engine runs with, and what a folder at fault is told as."""

from pathlib import Path
from typing import Any

import pytest

from harken.core import MissingPart, Transcript
from harken.core.machine import usable_cores
from harken.inference.config import EngineConfig
from harken.serving.served import facts
from harken.serving.served.facts import asked, load_served, served_settings
from harken.serving.served.settings import ServedModel


def test_a_small_ctc_model_in_onnx_has_passes_of_one_thread(tiny_model: Path) -> None:
    found = served_settings(ServedModel(path=tiny_model, engine="onnx", settings=EngineConfig(context_s=3.0)))
    assert found == EngineConfig(context_s=3.0, threads=1, parallel=min(8, usable_cores()))


@pytest.mark.parametrize("settings", [EngineConfig(threads=2), EngineConfig(parallel=3)])
def test_what_is_set_stays(tiny_model: Path, settings: EngineConfig) -> None:
    assert served_settings(ServedModel(path=tiny_model, engine="onnx", settings=settings)) == settings


def test_other_engines_and_large_models_are_left_alone(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_settings(ServedModel(path=tiny_model)) == EngineConfig()  # torch: there is no export
    monkeypatch.setattr(facts, "_ONE_THREAD_BYTES", 10)
    assert served_settings(ServedModel(path=tiny_model, engine="onnx")) == EngineConfig()


def test_a_folder_that_cannot_be_read_is_a_missing_part(tmp_path: Path) -> None:
    def read(_: ServedModel) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(MissingPart, match=r"The model digits is not available: Permission denied\."):
        asked(read, ServedModel(path=tmp_path, name="digits"))


class Listener:
    """A recognizer that notes what it hears."""

    sample_rate_hz = 8_000

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def transcribe(self, audio: Any) -> Transcript:
        self.heard.append(audio)
        return Transcript(text="", duration_s=1.0)


@pytest.mark.parametrize("warm_up", [True, False])
def test_a_second_of_noise_comes_before_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_up: bool
) -> None:
    listener = Listener()
    monkeypatch.setattr(facts, "load", lambda *_, **__: listener)
    monkeypatch.setattr(facts, "served_settings", lambda _: EngineConfig())
    assert load_served(ServedModel(path=tmp_path, warm_up=warm_up)) is listener
    assert [(len(audio), audio.dtype.name, bool(audio.any())) for audio in listener.heard] == [
        (8_000, "float32", True)
    ] * warm_up


def test_a_model_that_breaks_on_it_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    monkeypatch.setattr(listener, "transcribe", lambda _: 1 / 0)
    monkeypatch.setattr(facts, "load", lambda *_, **__: listener)
    monkeypatch.setattr(facts, "served_settings", lambda _: EngineConfig())
    with pytest.raises(MissingPart, match=r"The model digits cannot be loaded \(ZeroDivisionError: division by zero\)"):
        load_served(ServedModel(path=tmp_path, name="digits"))
