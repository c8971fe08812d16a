"""The hour of `bench_streaming` as a picture: CPU time of each minute, and memory after it.

python -m benchmarks.stream_picture
"""

import json

from matplotlib.figure import Figure

from benchmarks.harness import ROOT

RESULT = ROOT / "benchmarks" / "results" / "streaming.json"
PICTURE = ROOT / "docs" / "images" / "streaming.png"
INK, BLUE, ROSE, GREY = "#1f2933", "#2f6db3", "#c8553d", "#9aa5b1"


def draw() -> None:
    figures = json.loads(RESULT.read_text(encoding="utf-8"))["figures"]
    cpu_s = figures["CPU per audio-second"]["minutes"]
    fresh_s = figures["CPU per audio-second, streams of a minute"]["minutes"]
    memory_mib = figures["RSS growth after the first minute"]["minutes"]
    minutes = range(1, len(cpu_s) + 1)
    figure = Figure(figsize=(9, 4.8), dpi=130, layout="constrained")
    cost, memory = figure.subplots(2, 1, sharex=True)
    for label, values, color in (("streams of a minute, taking turns", fresh_s, GREY), ("this stream", cpu_s, BLUE)):
        cost.plot(minutes, [1000 * seconds for seconds in values], color=color, linewidth=1.6, label=label)
    cost.legend(loc="lower right", frameon=False)
    cost.set_ylabel("CPU, ms per\nsecond of audio", color=INK)
    cost.set_ylim(0, 1.3 * 1000 * max(*cpu_s, *fresh_s))
    memory.plot(minutes, memory_mib, color=ROSE, linewidth=1.6)
    memory.set_ylabel("resident memory,\nMiB", color=INK)
    memory.set_ylim(0, 1.3 * max(memory_mib))
    memory.set_xlabel("minute of the stream", color=INK)
    for axes in (cost, memory):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("One stream of a Conformer for an hour, one thread", color=INK)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    draw()
