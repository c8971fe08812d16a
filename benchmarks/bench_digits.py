"""Connected digits from FSDD, start to end: WER on the training speakers, and on each speaker left out in turn.

    python -m benchmarks.run digits

Needs the Free Spoken Digit Dataset in the folder that HARKEN_FSDD names, or in ../shared/data/fsdd. Each training runs
with one thread; CPU time is of the training alone. `python -m benchmarks.bench_digits NAME key=value` trains one recipe
on one division ("seen" or a speaker) and prints the result.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.digit_sets import digit_sets, train_recipe
from benchmarks.harness import ROOT
from harken.cli.demo import DEMO_RECIPE
from harken.cli.scoring import Scoring, evaluate_model

NAME = "digits"
TARGET = (
    "seen speakers: WER at most 2 % in 120 s of CPU (Conformer: 3 % in 180 s); left-out speakers: mean WER at most 20 %"
)
AT_ONCE = 2
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
SEEN = {
    "words": DEMO_RECIPE,
    "characters": ROOT / "recipes" / "digits-characters.yaml",
    "bpe": ROOT / "recipes" / "digits-bpe.yaml",
    "conformer": ROOT / "recipes" / "digits-conformer.yaml",
}


def run_one(recipe: Path, left_out: str | None, folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train one recipe on one division in `folder`; WER on its test set and the CPU time of the training."""
    sets = digit_sets(folder, left_out)
    outcome = train_recipe(recipe, sets, folder / "run", overrides)
    report = evaluate_model(outcome.model_folder, Scoring(manifest=sets["test"])).summary
    return {
        "wer": report["wer"]["value"],
        "low": report["wer"]["low"],
        "high": report["wer"]["high"],
        "words": report["words"],
        "updates": outcome.state.update,
        "cpu_s": round(outcome.cpu_s, 1),
        "wall_s": round(outcome.wall_s, 1),
        "data_wait_share": round(outcome.data_wait_share, 4),
    }


def run() -> dict[str, Any]:
    """Every recipe on its own speakers, and the demo's recipe on each speaker left out."""
    with ThreadPoolExecutor(AT_ONCE) as pool:  # CPU time is what counts, and each training has one thread
        seen_jobs = {name: pool.submit(_in_process, "seen", recipe) for name, recipe in SEEN.items()}
        unseen_jobs = {speaker: pool.submit(_in_process, speaker, DEMO_RECIPE) for speaker in SPEAKERS}
        seen = {name: job.result() for name, job in seen_jobs.items()}
        unseen = {speaker: job.result() for speaker, job in unseen_jobs.items()}
    figures: dict[str, Any] = {f"{name}, seen speakers": _figure(result) for name, result in seen.items()}
    figures |= {f"{speaker} left out": _figure(result) for speaker, result in unseen.items()}
    mean = sum(result["wer"] for result in unseen.values()) / len(unseen)
    figures["mean of left-out speakers"] = {"value": round(100 * mean, 2), "unit": "% WER"}
    met = (
        mean <= 0.20
        and all(
            figures[f"{name}, seen speakers"]["value"] <= (3 if name == "conformer" else 2)
            for name in ("words", "conformer")
        )
        and figures["words, seen speakers"]["cpu_s"] <= 120
        and figures["conformer, seen speakers"]["cpu_s"] <= 180
    )
    return {"name": NAME, "figures": figures, "target": TARGET, "met": met, "rivals": {}}


def _figure(result: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: result[key] for key in ("words", "updates", "cpu_s", "wall_s", "data_wait_share")}
    spread = [round(100 * result[key], 2) for key in ("low", "high")]
    return {"value": round(100 * result["wer"], 2), "unit": "% WER", "spread": spread, **shown}


def _in_process(name: str, recipe: Path) -> dict[str, Any]:
    """One division in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_digits", name, str(recipe)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _isolated(recipe: Path, left_out: str | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="harken-digits-") as folder:
        return run_one(recipe, left_out, Path(folder), overrides)


def main(arguments: Sequence[str]) -> None:
    """`NAME [RECIPE.yaml] [key=value ...]`: one division, printed as JSON."""
    name, *rest = arguments
    recipe = Path(rest.pop(0)) if rest and rest[0].endswith(".yaml") else DEMO_RECIPE
    print(
        json.dumps({"division": name, "overrides": rest, **_isolated(recipe, None if name == "seen" else name, rest)})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
