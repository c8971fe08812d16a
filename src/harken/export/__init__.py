"""Floor 4: model folders for other runtimes, each export checked against its original on real audio."""

from harken.core.lazy import lazy_names

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
__getattr__ = lazy_names(__name__, _HOMES)
