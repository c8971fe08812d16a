"""Some utterances of a data set: those that a recipe would draw."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.autoconfig.dataset import profile_dataset
from harken.autoconfig.dataset_subset import draw_subset
from harken.core import InputError
from harken.training.preparation import read_subset
from harken.training.recipe import DataConfig


def test_they_are_those_that_a_recipe_draws(tmp_path: Path) -> None:
    manifest = tmp_path / "train.jsonl"
    rows = [
        {"id": f"u{n}", "audio": f"{n}.wav", "duration_s": 1.0 + n / 64, "text": "a" * (1 + n % 9)} for n in range(90)
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = DataConfig(train=str(manifest), validation=str(manifest))
    drawn, _ = read_subset(str(manifest), samples=20, config=config, seed=7)
    subset = draw_subset(profile_dataset(manifest), 20, seed=7)
    assert subset.durations_s.tolist() == [item.duration_s for item in drawn]
    assert subset.characters.tolist() == [len(item.text or "") for item in drawn]
    assert subset.total_s == pytest.approx(sum(item.duration_s for item in drawn))
    assert (subset.utterances, subset.exact, subset.source) == (20, True, f"20 of 90 in {manifest}")
    assert {item.id for item in subset.longest} <= {item.id for item in drawn}


def test_a_part_keeps_what_is_known_of_the_whole_in_proportion(planning: Any) -> None:
    whole = planning.dataset_of([2.0] * 100, utterances=1000, exact=False, total_s=2000.0, total_s_error=50.0,
                                total_bytes=10_000, missing_durations=900)  # fmt: skip
    part = draw_subset(whole, 500, seed=0)
    assert (part.utterances, part.total_s, part.total_s_error) == (500, 1000.0, 25.0)
    assert (part.total_bytes, part.missing_durations, part.exact) == (5000, 450, False)
    assert np.array_equal(part.durations_s, whole.durations_s)  # of 100 known ones 500 cannot be drawn


def test_the_whole_is_itself_and_parts_have_names_of_their_own(planning: Any) -> None:
    whole = planning.dataset_of(planning.log_normal(100))
    assert draw_subset(whole, 100, seed=0) is whole
    parts = [draw_subset(whole, count, seed=seed) for count, seed in ((10, 0), (10, 1), (11, 0))]
    assert len({whole.sha256, *(part.sha256 for part in parts)}) == 4
    assert draw_subset(whole, 10, seed=0).sha256 == parts[0].sha256
    with pytest.raises(InputError, match="0 utterances are to be trained on"):
        draw_subset(whole, 0, seed=0)
