"""A Triton model repository: samples in, text out.

<name>_features   Python backend: Harken's features
<name>_ctc        ONNX Runtime backend: the exported model, with dynamic batching
<name>_text       Python backend: greedy text
<name>            ensemble of the three
"""

import json
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from harken.audio.features import FeatureConfig
from harken.core import Strict, Tokenizer, dump_settings
from harken.core.files import write_text

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonConfig(Strict):
    name: str = "harken"
    device: Literal["cpu", "cuda"] = "cpu"  # where the ONNX Runtime backend runs
    instances: int = 1  # copies of each model that run at the same time
    max_batch: int = 32
    preferred_batches: tuple[int, ...] = (8, 16, 32)
    queue_us: int = 5_000  # how long a request may wait for others, microseconds
    pad_to_s: float = 1.0  # features are padded to multiples of this, so that requests share shapes

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"name is {self.name!r}; use letters, digits, _ and -")
        if self.instances < 1 or self.max_batch < 1:
            raise ValueError(f"instances is {self.instances}, max_batch {self.max_batch}; use 1 or more")
        if self.queue_us < 0:
            raise ValueError(f"queue_us is {self.queue_us}; use microseconds, 0 or more")
        if self.pad_to_s <= 0:
            raise ValueError(f"pad_to_s is {self.pad_to_s}; use seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """One input or output of a model in config.pbtxt, its batch axis left out."""

    name: str
    type: str
    dims: tuple[int, ...]
    scalar: bool = False  # the graph has no axis here but that of the batch

    def text(self) -> str:
        reshape = " reshape: { shape: [ ] }" if self.scalar else ""
        dims = ", ".join(map(str, self.dims))
        return f"  {{ name: {_quoted(self.name)} data_type: {self.type} dims: [ {dims} ]{reshape} }}"


def write_repository(
    folder: Path,
    *,
    model: Path,
    features: FeatureConfig,
    hop_s: float,
    tokenizer: Tokenizer,
    config: TritonConfig | None = None,
) -> list[Path]:
    """Write the repository of an exported CTC model (an ONNX file) into `folder`, and return what was written."""
    config = config or TritonConfig()
    audio = (_Tensor(name="audio", type="TYPE_FP32", dims=(-1,)), _Tensor(name="samples", type="TYPE_INT64", dims=(1,)))
    heard = (
        _Tensor(name="features", type="TYPE_FP32", dims=(-1, features.dimensions)),
        _Tensor(name="frames", type="TYPE_INT64", dims=(1,)),
    )
    scored = (
        _Tensor(name="log_probs", type="TYPE_FP32", dims=(-1, tokenizer.vocab_size)),
        _Tensor(name="output_frames", type="TYPE_INT64", dims=(1,)),
    )
    said = (_Tensor(name="text", type="TYPE_STRING", dims=(1,)),)
    parameters = {
        "features": json.dumps(dump_settings(features), sort_keys=True),
        "pad_to_multiple": str(max(1, round(config.pad_to_s / hop_s))),
    }
    parts = {
        f"{config.name}_features": _python_model(audio, heard, config, parameters),
        f"{config.name}_ctc": _onnx_model(heard, scored, config),
        f"{config.name}_text": _python_model(scored, said, config, {}),
        config.name: _ensemble(audio, said, config),
    }
    for name, lines in parts.items():
        (folder / name / VERSION).mkdir(parents=True, exist_ok=True)
        head = [f"name: {_quoted(name)}", f"max_batch_size: {config.max_batch}"]
        write_text(folder / name / "config.pbtxt", "\n".join([*head, *lines]) + "\n")
    shutil.copyfile(model, folder / f"{config.name}_ctc" / VERSION / "model.onnx")
    for part in ("features", "text"):
        source = files("harken.export").joinpath(f"triton_{part}.py").read_text(encoding="utf-8")
        write_text(folder / f"{config.name}_{part}" / VERSION / "model.py", source)
    tokenizer.save(folder / f"{config.name}_text" / VERSION)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _python_model(
    inputs: tuple[_Tensor, ...], outputs: tuple[_Tensor, ...], config: TritonConfig, parameters: dict[str, str]
) -> list[str]:
    return [
        'backend: "python"',
        *_tensors("input", inputs),
        *_tensors("output", outputs),
        *(
            f"parameters {{ key: {_quoted(key)} value: {{ string_value: {_quoted(value)} }} }}"
            for key, value in parameters.items()
        ),
        f"instance_group [ {{ count: {config.instances} kind: KIND_CPU }} ]",
    ]


def _onnx_model(inputs: tuple[_Tensor, ...], outputs: tuple[_Tensor, ...], config: TritonConfig) -> list[str]:
    def as_in_graph(tensors: tuple[_Tensor, ...]) -> list[_Tensor]:
        return [_Tensor(name=item.name, type=item.type, dims=item.dims, scalar=item.dims == (1,)) for item in tensors]

    preferred = [size for size in config.preferred_batches if size <= config.max_batch]
    kind = "KIND_GPU" if config.device == "cuda" else "KIND_CPU"
    return [
        'backend: "onnxruntime"',
        'default_model_filename: "model.onnx"',
        *_tensors("input", as_in_graph(inputs)),
        *_tensors("output", as_in_graph(outputs)),
        f"instance_group [ {{ count: {config.instances} kind: {kind} }} ]",
        "dynamic_batching {",
        f"  preferred_batch_size: [ {', '.join(map(str, preferred or [config.max_batch]))} ]",
        f"  max_queue_delay_microseconds: {config.queue_us}",
        "}",
    ]


def _ensemble(inputs: tuple[_Tensor, ...], outputs: tuple[_Tensor, ...], config: TritonConfig) -> list[str]:
    steps = [
        ("features", ("audio", "samples"), ("features", "frames")),
        ("ctc", ("features", "frames"), ("log_probs", "output_frames")),
        ("text", ("log_probs", "output_frames"), ("text",)),
    ]
    lines = ['platform: "ensemble"', *_tensors("input", inputs), *_tensors("output", outputs), "ensemble_scheduling {"]
    for part, taken, given in steps:
        maps = [
            *(f"    input_map {{ key: {_quoted(name)} value: {_quoted(name)} }}" for name in taken),
            *(f"    output_map {{ key: {_quoted(name)} value: {_quoted(name)} }}" for name in given),
        ]
        lines += [
            "  step {",
            f"    model_name: {_quoted(f'{config.name}_{part}')}",
            "    model_version: -1",
            *maps,
            "  }",
        ]
    return [*lines, "}"]


def _tensors(kind: str, tensors: Any) -> list[str]:
    return [f"{kind} [", ",\n".join(tensor.text() for tensor in tensors), "]"]


def _quoted(text: str) -> str:
    """A string of protobuf's text format; JSON's escapes are among its own."""
    return json.dumps(text)
