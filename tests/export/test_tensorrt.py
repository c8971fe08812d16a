"""TensorRT: the command and the calls, with a stand-in for the library that is not here."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harken.core import MissingPart, RunFailed
from harken.export.tensorrt import TensorRtConfig, build_engine, engine_shapes, trtexec_command, write_script

SHAPES = engine_shapes(TensorRtConfig(usual_batch=4, largest_batch=16), dimensions=80, hop_s=0.01)


def test_shapes_are_ranges_of_batch_and_time() -> None:
    assert SHAPES == {
        "features": ((1, 50, 80), (4, 1000, 80), (16, 3000, 80)),
        "frames": ((1,), (4,), (16,)),
    }


def test_the_command_names_every_shape() -> None:
    assert trtexec_command("model.onnx", "model.plan", SHAPES, fp16=True) == [
        "trtexec", "--onnx=model.onnx", "--saveEngine=model.plan",
        "--minShapes=features:1x50x80,frames:1", "--optShapes=features:4x1000x80,frames:4",
        "--maxShapes=features:16x3000x80,frames:16", "--fp16",
    ]  # fmt: skip


def test_the_script_runs_the_command_in_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    folder.mkdir()
    script = write_script(folder, "model.onnx", SHAPES, fp16=False)
    tool = tmp_path / "bin/trtexec"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\npwd\nfor word; do echo "$word"; done\n')
    tool.chmod(0o755)
    done = subprocess.run(
        [str(script)], env={"PATH": f"{tool.parent}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        str(folder), *trtexec_command("model.onnx", "model.plan", SHAPES, fp16=False)[1:]
    ]  # fmt: skip


def test_without_tensorrt_the_script_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingPart, match=r"TensorRT is not installed.*build_tensorrt\.sh"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", SHAPES, fp16=True)
    assert list(tmp_path.iterdir()) == []


class FakeTensorRt:
    """The calls of TensorRT 10's Python API that building takes, noted down."""

    def __init__(self, *, readable: bool = True, plan: bytes | None = b"plan") -> None:
        self.calls: list[Any] = []
        self.module: Any = ModuleType("tensorrt")
        self.module.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})
        self.module.BuilderFlag = SimpleNamespace(FP16="fp16")
        profile = SimpleNamespace(set_shape=lambda *shape: self.calls.append(shape))
        config = SimpleNamespace(
            set_flag=self.calls.append, add_optimization_profile=lambda item: self.calls.append("profile")
        )
        self.module.Builder = lambda logger: SimpleNamespace(
            create_network=lambda flags: "network",
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, settings: plan,
        )
        self.module.OnnxParser = lambda network, logger: SimpleNamespace(
            parse_from_file=lambda path: readable, num_errors=1, get_error=lambda place: "no such operator"
        )


def test_an_engine_is_built_for_the_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", SHAPES, fp16=True)
    assert (tmp_path / "model.plan").read_bytes() == b"plan"
    assert fake.calls == ["fp16", ("features", *SHAPES["features"]), ("frames", *SHAPES["frames"]), "profile"]


@pytest.mark.parametrize(
    ("fake", "message"),
    [(FakeTensorRt(readable=False), "no such operator"), (FakeTensorRt(plan=None), "built no engine")],
)
def test_a_refusal_of_the_library_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeTensorRt, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    with pytest.raises(RunFailed, match=message):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", SHAPES, fp16=False)
    assert not (tmp_path / "model.plan").exists()


@pytest.mark.parametrize("changes", [{"shortest_s": 0.0}, {"usual_s": 40.0}, {"usual_batch": 64}])
def test_ranges_that_do_not_rise_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use"):
        TensorRtConfig(**changes)
