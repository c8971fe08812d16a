"""The curriculum of the guide on synthetic Uzbek, Russian and mixed speech, beside two trainings of equal length.

    python -m benchmarks.run curriculum

The two: a last stage without the mixed sentences, and no stages at all. Each training is a process with one thread, and
its CPU time is of the training alone. `python -m benchmarks.bench_curriculum DATA KIND` trains one on the manifests in
DATA.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from examples.code_switched_curriculum import curriculum_recipe, make_corpora

from benchmarks.harness import ROOT, thread_environment, timed
from harken.data.select import SelectConfig
from harken.tracking.run import read_metrics
from harken.training.recipe import Recipe, StageConfig
from harken.training.run import plan_run, train
from harken.training.stage_results import stage_results

NAME = "curriculum"
TITLE = "Curriculum on synthetic Uzbek, Russian and mixed speech"
TARGET = (
    "WER of every language and switch F1 better after each stage, WER at most 10 % at the end, 240 s of CPU with the "
    "synthesis"
)
NOTE = (
    "Validation sentences and voices are not in the training set. Beside the curriculum stand two trainings of as many "
    "updates: the last stage without the mixed sentences, and everything in random order from the start."
)
AT_ONCE = 2
KINDS = ("curriculum", "no mixed", "no stages")


def recipe_of(kind: str, data: Path) -> Recipe:
    """One of KINDS on the manifests in `data`, all with the updates of the curriculum."""
    recipe = curriculum_recipe({name: data / f"{name}.jsonl" for name in ("train", "validation")})
    if kind == "curriculum":
        return recipe
    plan = plan_run(recipe)
    if kind == "no stages":
        return replace(recipe, curriculum=(), training=replace(recipe.training, updates=plan["updates"]))
    *earlier, last = recipe.curriculum
    updates = plan["stages"][-1]["updates"]
    without = StageConfig(name=last.name, updates=updates, select=SelectConfig(languages=("uz", "ru")))
    return replace(recipe, curriculum=(*earlier, without))


def run_one(kind: str, data: Path, folder: Path) -> dict[str, Any]:
    """Train one kind in `folder`: the results of its stages, the last evaluation, and the CPU time."""
    outcome = train(recipe_of(kind, data), folder)
    last = [row for row in read_metrics(folder) if row.get("val_wer") is not None][-1]
    return {
        "stages": [asdict(result) for result in stage_results(folder)],
        "last": {name.removeprefix("val_"): value for name, value in last.items() if name.startswith("val_")},
        "updates": outcome.state.update,
        "cpu_s": round(outcome.cpu_s, 1),
        "wall_s": round(outcome.wall_s, 1),
    }


def run() -> dict[str, Any]:
    """All kinds on one corpus."""
    with tempfile.TemporaryDirectory(prefix="harken-curriculum-") as folder:
        data = Path(folder)
        _, synthesis_cpu_s = timed(lambda: make_corpora(data))
        with ThreadPoolExecutor(AT_ONCE) as pool:  # CPU time is what counts, and each training has one thread
            results = dict(zip(KINDS, pool.map(lambda kind: _in_process(kind, data), KINDS), strict=True))
    stages = results["curriculum"]["stages"]
    figures = _stage_figures(stages)
    for kind in KINDS[1:]:
        figures |= {
            f"{kind}, WER {language}": _percent(results[kind]["last"][f"wer_{language}"])
            for language in stages[-1]["languages"]
        }
        figures[f"{kind}, WER"] = _percent(results[kind]["last"]["wer"])
        figures[f"{kind}, switch F1"] = {"value": round(results[kind]["last"]["switch_f1"], 3)}
    figures |= {
        f"{kind}, training": {"value": result["cpu_s"], "unit": "s CPU", "updates": result["updates"]}
        for kind, result in results.items()
    }
    figures["synthesis"] = {"value": round(synthesis_cpu_s, 1), "unit": "s CPU"}
    took_s = synthesis_cpu_s + results["curriculum"]["cpu_s"]
    met = _improves(stages) and stages[-1]["wer"] <= 0.10 and took_s <= 240
    return {"name": NAME, "title": TITLE, "note": NOTE, "figures": figures, "target": TARGET, "met": met, "rivals": {}}


def _stage_figures(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for stage in stages:
        when = f"after {stage['name']}" if stage["step"] else stage["name"]
        figures |= {f"{when}, WER {language}": _percent(rate) for language, rate in stage["languages"].items()}
        figures[f"{when}, WER"] = _percent(stage["wer"])
        figures[f"{when}, switch F1"] = {"value": round(stage["switch_f1"], 3)}
    return figures


def _percent(rate: float) -> dict[str, Any]:
    return {"value": round(100 * rate, 1), "unit": "%"}


def _improves(stages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every language and the switch points are better after each stage than before it."""
    rows = [[*(-rate for rate in stage["languages"].values()), stage["switch_f1"]] for stage in stages]
    return all(
        after > before for earlier, later in pairwise(rows) for before, after in zip(earlier, later, strict=True)
    )


def _in_process(kind: str, data: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.bench_curriculum", str(data), kind]
    done = subprocess.run(command, cwd=ROOT, env=thread_environment(1), capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: Sequence[str]) -> None:
    """`DATA KIND`: one training, printed as JSON."""
    data, kind = Path(arguments[0]), arguments[1]
    with tempfile.TemporaryDirectory(prefix="harken-curriculum-") as folder:
        print(json.dumps(run_one(kind, data, Path(folder) / "run")))


if __name__ == "__main__":
    main(sys.argv[1:])
