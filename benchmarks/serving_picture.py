"""Latency against concurrency of `bench_serving` as a picture.

python -m benchmarks.serving_picture
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.harness import ROOT

RESULT = ROOT / "benchmarks" / "results" / "serving.json"
PICTURE = ROOT / "docs" / "images" / "serving.png"
INK, BLUE, ROSE = "#1f2933", "#2f6db3", "#c8553d"
_POINT = re.compile(r"latency p(?P<place>\d+), (?P<clients>\d+) at once")


def points(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """(clients, milliseconds) by percentile, in the order of clients."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, figure in figures.items():
        if match := _POINT.fullmatch(name):
            found.setdefault(match["place"], []).append((int(match["clients"]), 1000 * figure["value"]))
    return {place: sorted(pairs) for place, pairs in found.items()}


def draw(result: Path = RESULT, picture: Path = PICTURE) -> None:
    curves = points(json.loads(result.read_text(encoding="utf-8"))["figures"])
    figure = Figure(figsize=(9, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, label, color in (("50", "median", BLUE), ("95", "95th percentile", ROSE)):
        clients, milliseconds = zip(*curves[place], strict=True)
        axes.plot(clients, milliseconds, color=color, linewidth=1.8, marker="o", markersize=4, label=label)
    axes.set_xticks([clients for clients, _ in curves["50"]])
    axes.set_xlabel("clients that send a file of 10 s each, one after the other", color=INK)
    axes.set_ylabel("time to the transcript, ms", color=INK)
    axes.set_ylim(0, 1.15 * max(milliseconds for _, milliseconds in curves["95"]))
    axes.legend(loc="upper left", frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("harken serve: a small Conformer in ONNX Runtime, two cores shared with the clients", color=INK)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    draw()
