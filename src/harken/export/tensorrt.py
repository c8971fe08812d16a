"""TensorRT engines of exported graphs: built where TensorRT is, and a script for where it is not.

An engine runs on the kind of GPU it was built on, with the TensorRT version that built it. Sizes are ranges: batch and
time from the least to the most, tuned for those in between.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.core import MissingPart, RunFailed, Strict
from harken.core.files import replacing, write_text
from harken.inference.onnx_engine import FEATURES, FRAMES

ENGINE, SCRIPT = "model.plan", "build_tensorrt.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtConfig(Strict):
    shortest_s: float = 0.5
    usual_s: float = 10.0
    longest_s: float = 30.0
    usual_batch: int = 8
    largest_batch: int = 32
    fp16: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s <= self.usual_s <= self.longest_s:
            raise ValueError(
                f"shortest_s, usual_s and longest_s are {self.shortest_s}, {self.usual_s}, {self.longest_s}; use "
                "seconds that rise"
            )
        if not 1 <= self.usual_batch <= self.largest_batch:
            raise ValueError(f"usual_batch is {self.usual_batch}; use 1 to largest_batch ({self.largest_batch})")


Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""By input: its smallest, usual and largest shape."""


def engine_shapes(config: TensorRtConfig, *, dimensions: int, hop_s: float) -> Shapes:
    """Ranges of both inputs for features of `dimensions`, a frame every `hop_s` seconds."""
    batches = (1, config.usual_batch, config.largest_batch)
    frames = [max(1, round(seconds / hop_s)) for seconds in (config.shortest_s, config.usual_s, config.longest_s)]
    features = tuple((batch, count, dimensions) for batch, count in zip(batches, frames, strict=True))
    least, usual, most = batches
    return {FEATURES: (features[0], features[1], features[2]), FRAMES: ((least,), (usual,), (most,))}


def trtexec_command(model: str, engine: str, shapes: Shapes, *, fp16: bool) -> list[str]:
    """The command of TensorRT's own tool that builds the same engine."""
    options = []
    for place, option in enumerate(("minShapes", "optShapes", "maxShapes")):
        sizes = ",".join(f"{name}:{'x'.join(map(str, shape[place]))}" for name, shape in shapes.items())
        options.append(f"--{option}={sizes}")
    return ["trtexec", f"--onnx={model}", f"--saveEngine={engine}", *options, *(["--fp16"] if fp16 else [])]


def write_script(folder: Path, model: str, shapes: Shapes, *, fp16: bool) -> Path:
    """Write the script that builds the engine of `folder / model` beside it, on a machine that has TensorRT."""
    command = shlex.join(trtexec_command(model, ENGINE, shapes, fp16=fp16))
    path = folder / SCRIPT
    write_text(
        path,
        "#!/bin/sh\n# Run on the machine, and GPU, that will serve the model.\n"
        f'cd "$(dirname "$0")" || exit 1\nexec {command}\n',
    )
    path.chmod(0o755)
    return path


def build_engine(model: Path, engine: Path, shapes: Shapes, *, fp16: bool) -> None:
    """Build the engine of an ONNX file. Raises MissingPart without TensorRT, RunFailed where it refuses the graph."""
    try:
        import tensorrt  # type: ignore[import-not-found]
    except ImportError as err:
        raise MissingPart(
            "TensorRT is not installed, so no engine was built.",
            hint=f"Run {model.parent / SCRIPT} where it is (it needs trtexec), or: pip install tensorrt.",
        ) from err
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        reasons = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors))
        raise RunFailed(f"TensorRT cannot read {model}: {reasons[:500]}.", hint="Update TensorRT to 10 or later.")
    settings: Any = builder.create_builder_config()
    if fp16:
        settings.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in shapes.items():
        profile.set_shape(name, least, usual, most)
    settings.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, settings)
    if built is None:
        raise RunFailed(f"TensorRT built no engine of {model}.", hint="Its log above says why.")
    with replacing(engine) as file:
        file.write(memoryview(built))
