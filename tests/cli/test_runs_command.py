"""`harken runs show` of a run with stages. A run without any is in test_training_commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harken.tracking.run import RunFolder

Harken = Callable[..., Any]


def test_stages_are_shown_as_a_table(harken: Harken, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", name="staged", kind="training", settings={}) as run:
        before, after = {"uz": 1.0, "ru": 0.75}, {"uz": 0.25, "ru": 0.125}
        run.log_event("before-stages", step=0, stage=None, wer=0.875, languages=before, switch_f1=None)
        run.log_event("rejected", set="train", reason="too long", count=2)
        run.log_event("stage-ended", step=20, stage="clean", wer=0.1875, languages=after, switch_f1=0.5)
        run.log_metrics(20, 1.5, val_wer=0.1875, val_cer=0.0625)
    shown = harken("runs", "show", tmp_path / "run")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "run: finished",
        "update  epoch      WER     CER  loss",
        "20       1.50  18.75 %  6.25 %",
        "",
        "                 WER ru   WER uz     WER  switch F1",
        "before training  75.0 %  100.0 %  87.5 %          -",
        "after clean      12.5 %   25.0 %  18.8 %      0.500",
        "",
        "rejected: {'set': 'train', 'reason': 'too long', 'count': 2}",
    ]
    kinds = [event["event"] for event in harken("runs", "show", tmp_path / "run", "--json").json["events"]]
    assert kinds == ["before-stages", "rejected", "stage-ended"]


def test_the_table_of_stages_may_be_the_last_thing(harken: Harken, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", name="staged", kind="training", settings={}) as run:
        run.log_event("before-stages", step=0, stage=None, wer=1.0, languages={}, switch_f1=None)
    assert harken("runs", "show", tmp_path / "run").out.splitlines()[-2:] == [
        "                     WER  switch F1",
        "before training  100.0 %          -",
    ]
