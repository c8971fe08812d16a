import json
from pathlib import Path

import pytest

from harken.core import InputError
from harken.training.prediction import predicted_peaks


def write_plan(folder: Path, *rows: dict[str, object]) -> None:
    (folder / "plan.json").write_text(json.dumps({"buckets": rows}))


def test_each_bucket_has_the_peak_of_the_plans(tmp_path: Path) -> None:
    write_plan(
        tmp_path,
        {"upper_edge_s": 20.0, "batch_size": 2, "peak_bytes": 900},
        {"upper_edge_s": 5.0, "batch_size": 9, "peak_bytes": 700},
    )
    assert predicted_peaks(tmp_path, [5.0, 20.0]) == {0: 700, 1: 900}
    # Buckets that are not the plan's: the next longer one's, and nothing beyond.
    assert predicted_peaks(tmp_path, [3.0, 5.0004, 7.0, 30.0]) == {0: 700, 1: 700, 2: 900}


def test_a_run_without_a_plan_has_no_predictions(tmp_path: Path) -> None:
    assert predicted_peaks(tmp_path, [5.0]) == {}


def test_another_plan_is_refused(tmp_path: Path) -> None:
    write_plan(tmp_path, {"edge": 5.0})
    with pytest.raises(InputError, match=r"plan.json is no plan: its buckets have no upper_edge_s and peak_bytes"):
        predicted_peaks(tmp_path, [5.0])
