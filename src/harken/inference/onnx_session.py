"""ONNX Runtime sessions: which device runs a graph, with how many threads, in how much memory.

Settings that differ from ONNX Runtime's own, for audio of any length on machines that do other work too:

- threads do not spin while they wait. Spinning makes one request alone a little faster and costs the CPU time of all
  others.
- no memory patterns. They are kept for every combination of input sizes, and a batch of audio is a new one each time.
"""

import re
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.machine import usable_cores

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_DEVICE = re.compile(r"(?P<kind>cpu|cuda|tensorrt)(:(?P<index>\d{1,3}))?")


def open_session(model: Path | bytes, *, device: str = "auto", threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a file, or of its bytes.

    `device` is auto (the first CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:N, tensorrt or tensorrt:N;
    `threads` those of the CPU inside one operator, None for one per core this process may use.

    Raises InputError for an unknown device and a file that is no graph, MissingPart for a device that is not there.
    """
    import onnxruntime

    providers = session_providers(device)
    what = "the graph" if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), session_options(threads=threads), providers=providers
        )
    except Exception as err:  # onnxruntime's errors share no base class
        reason = " ".join(str(err).split())[:300]
        raise InputError(f"ONNX Runtime cannot load {what}: {reason}.", hint="Run harken export again.") from err
    wanted = providers[0][0]
    if session.get_providers()[0] != wanted:  # it falls back to the CPU with a line in a log
        raise MissingPart(
            f"device is {device!r}, but ONNX Runtime could not start {wanted}.",
            hint="Check the driver and the CUDA libraries onnxruntime-gpu asks for, or use cpu.",
        )
    return session


def session_options(*, threads: int | None = None) -> Any:
    """`onnxruntime.SessionOptions` as this module's text says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or usable_cores()  # its own default counts cores a container may not use
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def session_providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """Execution providers for a device, the wanted one first. Raises as `open_session` does."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    found = _DEVICE.fullmatch(device)
    if found is None or (found["kind"] == "cpu" and found["index"]):
        raise InputError(f"device is {device!r}.", hint="Use auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N.")
    wanted = _PROVIDERS[found["kind"]]
    if wanted not in available:
        raise MissingPart(
            f"device is {device!r}, but this ONNX Runtime has no {wanted}.",
            hint="Replace onnxruntime by onnxruntime-gpu on a machine with an NVIDIA GPU, or use cpu.",
        )
    options = {} if found["kind"] == "cpu" else {"device_id": int(found["index"] or 0)}
    chosen = [(wanted, options)]
    if found["kind"] == "tensorrt":  # runs what TensorRT has no operator for
        chosen.append((_PROVIDERS["cuda"], options))
    return chosen if found["kind"] == "cpu" else [*chosen, (_PROVIDERS["cpu"], {})]


def runs_on_cpu(device: str) -> bool:
    """Whether a device setting means the CPU on this machine. Raises as `open_session` does."""
    return session_providers(device)[0][0] == _PROVIDERS["cpu"]
