"""How long a person waits for `harken --help`: CPU time of the whole process, beside an empty Python."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import interleaved

NAME = "cli"
LIMIT_S = 0.3
ROUNDS = 9

COMMAND = Path(sys.executable).with_name("harken")


def run() -> dict[str, Any]:
    contenders = {
        "harken --help": [str(COMMAND), "--help"],
        "import harken": [sys.executable, "-c", "import harken"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    times = interleaved({name: _start(command) for name, command in contenders.items()}, ROUNDS)
    ours = times["harken --help"]
    return {
        "name": NAME,
        "title": "Starting the command line",
        "target": f"`harken --help` uses at most {LIMIT_S} s of CPU time",
        "met": ours.median_cpu_s <= LIMIT_S,
        "figures": {
            name: {
                "value": time.median_cpu_s,
                "unit": "s CPU",
                "median": time.median_cpu_s,
                "spread": [min(time.cpu_s), max(time.cpu_s)],
                "cpu_s": time.median_cpu_s,
                "wall_s": time.median_wall_s,
            }
            for name, time in times.items()
            if name != "python -c pass"
        },
        "rivals": {"python -c pass": times["python -c pass"].as_json()},
    }


def _start(command: list[str]) -> Any:
    def call() -> None:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    return call
