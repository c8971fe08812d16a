"""The example with the Trainer of transformers: its steps by themselves, and the script as it is started."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("datasets")

from examples import hf_trainer_planned as example

ROOT = Path(__file__).resolve().parents[2]


def test_batches_are_padded_and_labels_leave_the_padding_out() -> None:
    rows = example.make_dataset(utterances=3)
    batch = example.pad([rows[number] for number in range(3)])
    lengths = [len(row) for row in rows["input_values"]]
    assert batch["input_values"].shape == (3, max(lengths))
    assert [int((row != -100).sum()) for row in batch["labels"]] == [length // 4_000 for length in lengths]
    assert [len(text) for text in rows["text"]] == [length // 4_000 for length in lengths]


def test_the_script_trains_with_what_it_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "UPDATES", 1)
    monkeypatch.setattr(sys, "argv", ["hf_trainer_planned.py", "--out", str(tmp_path)])
    example.main()
    printed = capsys.readouterr().out
    plan = json.loads((tmp_path / "training_config.json").read_text(encoding="utf-8"))
    for row in plan["buckets"]:
        assert f"{row['batch_size']} up to {row['upper_edge_s']:g} s" in printed
    assert "predicted at the peak: " in printed
    assert "measured in 1 updates: " in printed
    assert "'train_loss'" in printed


def test_the_script_as_it_was_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "UPDATES", 1)
    monkeypatch.setattr(sys, "argv", ["hf_trainer_planned.py", "--before", "--out", str(tmp_path)])
    example.main()
    assert "took " in capsys.readouterr().out
