"""Which export of a folder a stream runs, and when it runs torch instead."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from harken.core import MissingPart
from harken.inference.config import EngineConfig
from harken.inference.exported import weights_identity
from harken.inference.streaming import build
from harken.inference.streaming.build import stream_parts
from harken.inference.torch_engine import TorchCtcScorer


def write_record(folder: Path, *names: str, weights: str | None = None) -> None:
    found = weights_identity(folder)
    assert found is not None
    (folder / "onnx").mkdir(exist_ok=True)
    files = {name: {"sha256": "0", "precision": "fp32", "parity": {}} for name in names}
    record = {"weights_sha256": weights or found.weights_sha256, "versions": {}, "files": files}
    (folder / "onnx/export.json").write_text(json.dumps(record))


def runs_torch(folder: Path, config: EngineConfig | None = None) -> bool:
    found = stream_parts(folder, config=config)
    return found.network is None and isinstance(getattr(found.recognizer, "scorer", None), TorchCtcScorer)


def test_a_streaming_export_alone_is_passed_over(folder: Path) -> None:
    write_record(folder, "streaming.onnx")
    assert runs_torch(folder)
    with pytest.raises(MissingPart, match=r"streaming\.onnx does not exist"):
        stream_parts(folder, engine="onnx")


def test_an_outdated_export_is_passed_over_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_record(folder, "streaming.onnx", "model.onnx", weights="1" * 64)
    with caplog.at_level(logging.WARNING):
        assert runs_torch(folder)
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/onnx is older than its weights and is not used; run harken export again"
    ]


def test_exports_that_fit_are_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, recognizer = SimpleNamespace(), SimpleNamespace()
    monkeypatch.setattr(build, "open_network", lambda *_, **__: network)
    monkeypatch.setattr(build, "load", lambda *_, engine, config: (recognizer, engine))
    write_record(folder, "streaming.onnx", "model.onnx")
    found = stream_parts(folder)
    assert found.network is network
    assert found.recognizer == (recognizer, "onnx")
    other = stream_parts(folder, config=EngineConfig(precision="int8"))  # not exported
    assert other.network is None
    assert other.recognizer == (recognizer, "torch")
