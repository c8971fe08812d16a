"""Sixty planned runs, each a random model on random data under a random cap on the bytes of live tensors."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.memory_cap import Outcome, run_one

NAME = "plan_cap"
RUNS = 60
MOST_FAILURES = 2


def run() -> dict[str, Any]:
    outcomes = []
    for seed in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(run_one(seed, Path(folder)))
        print(outcomes[-1], flush=True)
    return summary(outcomes)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The result as the docs show it."""
    clean = sum(one.finished and one.out_of_memory == 0 for one in outcomes)
    lost = sum(not one.finished for one in outcomes)
    used = [one.peak_bytes / one.cap_bytes for one in outcomes]
    errors = [100 * (one.planned_bytes / one.peak_bytes - 1) for one in outcomes]
    kinds: dict[str, list[Outcome]] = {}
    for one in outcomes:
        kinds.setdefault(one.model, []).append(one)
    return {
        "name": NAME,
        "title": "Planned runs under an artificial memory cap",
        "target": f"no out-of-memory in at least {RUNS - MOST_FAILURES} of {RUNS} runs, none lost",
        "met": len(outcomes) == RUNS and clean >= RUNS - MOST_FAILURES and lost == 0,
        "note": "Random models of five families (new, pretrained, with a frozen encoder or a LoRA adapter; AdamW or "
        "Adafactor), random durations and texts, a random cap on the bytes of live tensors that raises what a GPU "
        f"raises; plan: auto with a margin of 0.85. {clean} of {len(outcomes)} runs met no failure, {lost} were lost. "
        "The peak of the whole run, validation, checkpoints and the final report included, is compared with the "
        "planned one.",
        "figures": {
            "without_failure": {"value": clean, "unit": f"of {len(outcomes)} runs"},
            "cap_used": {
                "value": statistics.median(used),
                "unit": "of the cap, median",
                "spread": [min(used), max(used)],
            },
            "error": {"value": statistics.median(errors), "unit": "% median", "spread": [min(errors), max(errors)]},
        },
        "rivals": {},
        "cases": [asdict(one) for one in outcomes],
        "table": {
            "columns": ["Model", "Runs", "Without failure", "Most of the cap used", "Planned against peak, %"],
            "rows": [_row(kind, some) for kind, some in sorted(kinds.items())],
        },
    }


def _row(kind: str, some: Sequence[Outcome]) -> list[Any]:
    errors = [100 * (one.planned_bytes / one.peak_bytes - 1) for one in some]
    clean = sum(one.finished and one.out_of_memory == 0 for one in some)
    most = max(one.peak_bytes / one.cap_bytes for one in some)
    return [kind, len(some), clean, f"{most:.2f}", f"{min(errors):+.1f} to {max(errors):+.1f}"]
