"""A real `harken serve` under load: throughput, overhead, lag, memory over 10,000 requests, sockets.

    python -m benchmarks.run serving
    python -m benchmarks.bench_serving --smoke    # a tiny model, few requests: does it run?

The model is a Conformer of random weights, exported to ONNX; audio is noise. Results are not cached, so that every
request is work. Clients are threads of this process on the same cores. A run with HARKEN_SERVING_MODELS=FOLDER keeps
the model there for the next one.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clips import write_clips
from benchmarks.inference_figures import missed
from benchmarks.inference_models import MEDIUM, SMALL, TINY, make_conformer
from benchmarks.run import table
from benchmarks.serving_endurance import idle_stream, many_requests, silent_socket
from benchmarks.serving_limits import event_loop, full_queue, starts
from benchmarks.serving_load import alone, curve, overhead, throughput
from benchmarks.serving_server import PLAIN, running
from harken.inference.config import EngineConfig
from harken.inference.engines import load as open_engine
from harken.models.conformer import ConformerSettings
from harken.serving.served.facts import served_settings
from harken.serving.served.settings import ServedModel

NAME = "serving"
THREADS = 2
TITLE = "harken serve with a Conformer of 4 layers in ONNX Runtime, two cores"
TARGET = (
    "8 files of 5 to 30 s at once at least 1.3 times as fast as one at a time, fp32 texts equal; at most 5 % CPU "
    "beyond the bare engine for one file (a Conformer of 12 million parameters); p99 of the event loop's lag below "
    "20 ms with 8 uploads and 20 streams; "
    "a refusal within 50 ms, no admitted request fails; below 1 MiB of growth in 10,000 requests (the hour's "
    "equivalent), flat over 30 min of silence, below 2 MiB for an idle stream; ready within 3 s"
)
SECONDS = (5, 8, 12, 15, 18, 22, 26, 30)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    model: ConformerSettings = SMALL
    usual: ConformerSettings = MEDIUM
    rounds: int = 7
    times: int = 20
    starts: int = 3
    load_s: float = 12.0
    requests: int = 10_000
    idle_sockets: int = 40
    idle_s: float = 3.0
    silence_min: float = 30.0
    at_once: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    per_point: int = 80


SMOKE = Size(
    model=TINY, usual=SMALL, rounds=1, times=2, starts=1, load_s=2.0, requests=120, idle_sockets=4, idle_s=0.2,
    silence_min=4.0, at_once=(1, 4), per_point=8,
)  # fmt: skip


def run(size: Size | None = None) -> dict[str, Any]:
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="harken-serving-") as made:
        folder = Path(made)
        model = make_conformer(_kept(folder), size.model)
        loads = [round(os.getloadavg()[0], 2)]
        figures: dict[str, Any] = {}
        for part in (_files, _limits, _memory):
            figures |= part(model, folder, size)
            loads.append(round(os.getloadavg()[0], 2))
    beyond = missed(figures)
    note = "Growth in 10,000 requests is the slope of memory over requests (Theil-Sen) after the first quarter of them."
    return {
        "name": NAME, "title": TITLE, "target": TARGET, "met": not beyond,
        "note": f"{note} Missed: {'; '.join(beyond)}." if beyond else note,
        "figures": figures, "rivals": {}, "load_averages": loads,
    }  # fmt: skip


def _files(model: Path, folder: Path, size: Size) -> dict[str, Any]:
    files = [Path(clip.audio) for clip in write_clips(folder / "files", SECONDS)]
    ten, long = (Path(clip.audio) for clip in write_clips(folder / "lone", (10, 300)))
    figures: dict[str, Any] = {}
    for precision in ("fp32", "int8"):
        served = ServedModel(path=model, engine="onnx", settings=EngineConfig(precision=precision))
        engine = open_engine(model, engine="onnx", config=served_settings(served))
        with running(model, _with(model, {"precision": precision})) as server:
            found = throughput(server, engine, files, size.rounds, needed=precision == "fp32")
            figures |= {f"{precision}: {name}": figure for name, figure in found.items()}
            if precision == "int8":
                figures |= overhead(server, engine, ten, "4 layers, 10 s", times=size.times, rounds=size.rounds)
                figures |= overhead(server, engine, long, "4 layers, 5 min", times=3, rounds=size.rounds)
                figures |= curve(server, ten, size.at_once, size.per_point)
    figures |= _overhead_of_small(ten, long, folder, size)
    for threads in (1, 2):
        with running(model, _with(model, {"threads": threads})) as server:
            figures[f"a lone file of 10 s, {threads} engine threads"] = alone(server, ten, size.per_point)
    return figures


def _overhead_of_small(ten: Path, long: Path, folder: Path, size: Size) -> dict[str, Any]:
    """Of a model that is called small: the shape of NeMo's Conformer-CTC of that name."""
    model = make_conformer(_kept(folder), size.usual)
    served = ServedModel(path=model, engine="onnx", settings=EngineConfig(precision="int8"))
    engine = open_engine(model, engine="onnx", config=served_settings(served))
    with running(model, _with(model, {"precision": "int8"})) as server:
        lone = overhead(server, engine, ten, "12 M, 10 s", times=size.times, rounds=size.rounds, at_most=5)
        return lone | overhead(server, engine, long, "12 M, 5 min", times=3, rounds=size.rounds, at_most=5)


def _limits(model: Path, folder: Path, size: Size) -> dict[str, Any]:
    files = [Path(clip.audio) for clip in write_clips(folder / "files", SECONDS)]
    with running(model) as server:
        figures = event_loop(server, files, size.load_s)
    with running(model, {"queue": {"max_requests": 2}}) as server:
        figures |= full_queue(server, files[0], size.per_point)
    return figures | starts(model, size.starts)


def _memory(model: Path, folder: Path, size: Size) -> dict[str, Any]:
    short = [Path(clip.audio) for clip in write_clips(folder / "short", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])]
    with running(model, {"live": {"streams": 64}}) as server:
        figures = many_requests(server, short, size.requests)
    with running(model) as server:
        figures |= idle_stream(server, size.idle_sockets, size.idle_s)
    with running(model) as server:
        return figures | silent_socket(server, size.silence_min)


def _kept(folder: Path) -> Path:
    return Path(os.environ.get("HARKEN_SERVING_MODELS", folder))


def _with(model: Path, engine: Mapping[str, Any]) -> dict[str, Any]:
    return {**PLAIN, "models": {"models": [{"path": str(model), "engine": "onnx", "settings": dict(engine)}]}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_serving", description=TITLE)
    parser.add_argument("--smoke", action="store_true", help="a tiny model and few requests")
    chosen = parser.parse_args()
    print(table(run(SMOKE if chosen.smoke else None)))


if __name__ == "__main__":
    main()
