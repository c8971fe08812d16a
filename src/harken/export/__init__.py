"""Floor 4: model folders for other runtimes, each export checked against its original on real audio."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Clip": "clips",
    "ExportConfig": "targets",
    "LIMITS": "parity",
    "Parity": "parity",
    "ParityLimits": "parity",
    "TARGETS": "targets",
    "TargetResult": "targets",
    "TensorRtConfig": "tensorrt",
    "TritonConfig": "triton",
    "export_ctc": "ctc_onnx",
    "export_model": "run",
    "measure_parity": "parity",
    "token_lines": "tokens",
    "write_repository": "triton",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.export' has no attribute {name!r}")
