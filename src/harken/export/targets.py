"""What can be exported, the settings of it, and what one gets back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harken.core import InputError, Strict
from harken.export.parity import Parity
from harken.export.tensorrt import TensorRtConfig
from harken.export.triton import TritonConfig

PRECISIONS = {"onnx": "fp32", "onnx-int8": "int8", "onnx-fp16": "fp16"}
CTC_TARGETS = (*PRECISIONS, "onnx-streaming", "tokens", "triton", "tensorrt")
CTRANSLATE2_TARGETS = {"ctranslate2": "fp32", "ctranslate2-int8": "int8", "ctranslate2-fp16": "fp16"}
WHISPER_TARGETS = {"onnx": "fp32", "onnx-int8": "int8", **CTRANSLATE2_TARGETS}
TARGETS = (*CTC_TARGETS, *CTRANSLATE2_TARGETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(Strict):
    clips: int = 16  # utterances of the manifest the exports are checked on; int8 is calibrated on as many others
    triton: TritonConfig = field(default_factory=TritonConfig)
    tensorrt: TensorRtConfig = field(default_factory=TensorRtConfig)

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ValueError(f"clips is {self.clips}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """What became of one target. `parity` is None for what holds no arithmetic of its own; `note` is for people."""

    target: str
    path: Path
    size_bytes: int
    parity: Parity | None = None
    note: str = ""


def default_targets(family: str) -> tuple[str, ...]:
    """What a model of this family is exported to where nobody says."""
    return ("ctranslate2",) if family == "whisper" else ("onnx", "onnx-int8", "tokens")


def check_targets(targets: Sequence[str]) -> None:
    """Raise InputError for no target, one that is not known, or one named twice."""
    unknown = [target for target in targets if target not in TARGETS]
    if unknown or not targets:
        what = f"{unknown[0]!r} is not a target" if unknown else "There is no target"
        raise InputError(f"{what}.", hint=f"Use {', '.join(TARGETS)}.")
    if len(set(targets)) < len(targets):
        raise InputError(f"A target is named twice in {', '.join(targets)}.", hint="Name each once.")
