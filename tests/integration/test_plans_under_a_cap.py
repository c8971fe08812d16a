"""`plan: auto` under an artificial cap on the bytes of live tensors, which raises what a GPU raises.

A few of the sixty runs of the benchmark plan_cap: random model, data and cap.
"""

from pathlib import Path

import pytest
from benchmarks.memory_cap import run_one

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [2, 3, 5, 7])
def test_a_planned_run_stays_within_its_memory(seed: int, tmp_path: Path) -> None:
    outcome = run_one(seed, tmp_path / "run")
    assert outcome.finished
    assert outcome.out_of_memory == 0
    assert outcome.planned_bytes <= 0.85 * outcome.cap_bytes
    assert outcome.planned_bytes < outcome.peak_bytes * 1.1
    assert outcome.peak_bytes <= outcome.cap_bytes
