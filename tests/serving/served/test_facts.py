"""The settings a served model's engine runs with, where its own leave them open."""

from pathlib import Path

import pytest

from harken.core.machine import usable_cores
from harken.inference.config import EngineConfig
from harken.serving.served import facts
from harken.serving.served.facts import served_settings
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
