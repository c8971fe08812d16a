"""What a run folder says about its stages."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError
from harken.core.tables import text_table
from harken.tracking.run import RunFolder
from harken.training.stage_results import StageResult, results_in, stage_results, stage_rows


def end_of(
    stage: str | None, step: int, wer: float, languages: Mapping[str, float], f1: float | None
) -> dict[str, Any]:
    return {"step": step, "stage": stage, "wer": wer, "languages": dict(languages), "switch_f1": f1}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that was killed after its first stage and resumed from before its end."""
    with RunFolder.create(tmp_path / "run", name="staged", kind="training", settings={}) as run:
        run.log_event("before-stages", **end_of(None, 0, 1.25, {"mixed": 1.5, "uz": 1.0}, None))
        run.log_event("stage-ended", **end_of("clean", 20, 0.9, {"mixed": 0.9, "uz": 0.9}, 0.1))
        run.resumed(10)
        run.log_event("stage-ended", **end_of("clean", 20, 0.5, {"mixed": 0.625, "uz": 0.25}, 0.4375))
        run.log_event("checkpoint", step=20, folder="step-000020")
        run.log_event("stage-ended", **end_of("mixed", 40, 0.125, {"mixed": 0.1666, "uz": 0.0}, 1.0))
    return tmp_path / "run"


def test_the_table_is_what_the_run_folder_says(run_folder: Path) -> None:
    results = stage_results(run_folder)
    assert [(result.name, result.step) for result in results] == [("before training", 0), ("clean", 20), ("mixed", 40)]
    assert text_table(stage_rows(results)).splitlines() == [
        "                 WER mixed   WER uz      WER  switch F1",
        "before training    150.0 %  100.0 %  125.0 %          -",
        "after clean         62.5 %   25.0 %   50.0 %      0.438",
        "after mixed         16.7 %    0.0 %   12.5 %      1.000",
    ]


def stage_event(kind: str, step: int, *, stage: str | None = None) -> dict[str, Any]:
    return {"event": kind, **end_of(stage, step, 0.5, {}, None)}


@pytest.mark.parametrize(("resumed_from", "names"), [(0, ["before training"]), (4, ["before training", "clean"])])
def test_what_a_resumed_run_will_train_again_does_not_count(resumed_from: int, names: list[str]) -> None:
    events = [
        stage_event("before-stages", 0),
        stage_event("stage-ended", 4, stage="clean"),
        stage_event("stage-ended", 9, stage="noisy"),
        {"event": "resumed", "step": resumed_from},
    ]
    assert [result.name for result in results_in(events)] == names


def test_a_run_begun_again_has_one_beginning() -> None:
    events = [stage_event("before-stages", 0), {"event": "resumed", "step": 0}, stage_event("before-stages", 0)]
    assert results_in(events) == [StageResult(name="before training", step=0, wer=0.5, languages={}, switch_f1=None)]


def test_without_stages_there_are_no_results() -> None:
    assert results_in([{"event": "checkpoint", "step": 4}]) == []


def test_a_language_that_one_result_lacks_is_a_dash() -> None:
    first = StageResult(name="before training", step=0, wer=1.0, languages={"uz": 1.0}, switch_f1=None)
    second = StageResult(name="clean", step=4, wer=0.5, languages={"ru": 0.5}, switch_f1=None)
    assert stage_rows([first, second]) == [
        ("", "WER ru", "WER uz", "WER", "switch F1"),
        ("before training", "-", "100.0 %", "100.0 %", "-"),
        ("after clean", "50.0 %", "-", "50.0 %", "-"),
    ]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no run\.json"):
        stage_results(tmp_path)


def test_stages_are_read_without_torch() -> None:
    code = "import sys, harken.training.stage_results; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
