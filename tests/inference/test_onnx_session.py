"""Sessions: devices that are there, and those that are not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from harken.core import InputError, MissingPart
from harken.core.machine import usable_cores
from harken.inference.onnx_session import open_session, runs_on_cpu, session_options, session_providers


def test_threads_do_not_spin_and_sizes_are_not_remembered() -> None:
    options = session_options(threads=3)
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_mem_pattern is False
    assert session_options().intra_op_num_threads == usable_cores()


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", ["CPUExecutionProvider"], [("CPUExecutionProvider", {})]),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], [("CPUExecutionProvider", {})]),
        (
            "auto",
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            [("CUDAExecutionProvider", {"device_id": 0}), ("CPUExecutionProvider", {})],
        ),
        (
            "cuda:1",
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            [("CUDAExecutionProvider", {"device_id": 1}), ("CPUExecutionProvider", {})],
        ),
        (
            "tensorrt",
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            [("TensorrtExecutionProvider", {"device_id": 0}), ("CUDAExecutionProvider", {"device_id": 0}),
             ("CPUExecutionProvider", {})],
        ),
    ],
)  # fmt: skip
def test_devices_become_providers(
    monkeypatch: pytest.MonkeyPatch, device: str, available: list[str], expected: list[Any]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert session_providers(device) == expected
    assert runs_on_cpu(device) == (expected[0][0] == "CPUExecutionProvider")


def test_a_gpu_that_is_not_there_is_missing() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(MissingPart, match=r"no CUDAExecutionProvider.*onnxruntime-gpu"):
        session_providers("cuda:0")


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:", "", "CUDA"])
def test_devices_are_spelled_as_they_are(device: str) -> None:
    with pytest.raises(InputError, match="Use auto, cpu, cuda"):
        session_providers(device)


def test_a_gpu_that_does_not_start_is_no_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda *arguments, **more: SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"]),
    )
    with pytest.raises(MissingPart, match="could not start CUDAExecutionProvider"):
        open_session(b"graph", device="cuda")


def test_what_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"cannot load .*model\.onnx"):
        open_session(tmp_path / "model.onnx", device="cpu")
