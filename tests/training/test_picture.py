from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harken.training.picture import History, draw_history, history_figure, history_of, summary_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS: list[dict[str, Any]] = [
    {"step": 0, "epoch": 0.0, "val_wer": 1.25, "val_cer": 1.0, "val_loss": 4.0},
    {"step": 10, "epoch": 0.5, "train_loss": 3.0, "learning_rate": 1e-3},
    {"step": 20, "epoch": 1.0, "val_wer": 0.25, "val_cer": 0.125, "val_loss": 1.0},
    {"step": 20, "epoch": 1.0, "train_loss": 0.5},
    {"step": 30, "epoch": 1.5, "train_loss": None},
    {"step": 40, "epoch": 2.0, "val_wer": 0.25, "val_cer": 0.1, "val_loss": 0.5},
]
EVENTS: list[dict[str, Any]] = [
    {"event": "before-stages", "step": 0, "stage": None, "wer": 1.25, "languages": {}, "switch_f1": None},
    {"event": "stage-ended", "step": 20, "stage": "clean", "wer": 0.25, "languages": {}, "switch_f1": None},
    {"event": "checkpoint", "step": 20},
    {"event": "stage-ended", "step": 40, "stage": "code_switch", "wer": 0.25, "languages": {}, "switch_f1": None},
]
KINDS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}


def row(step: int, wer: float, **more: float) -> dict[str, float]:
    return {"step": step, "epoch": step / 10, "val_wer": wer, "val_cer": wer, **more}


def test_history_is_read_from_the_metrics() -> None:
    history = history_of(METRICS)
    assert history.train == ((10, 3.0), (20, 0.5))
    assert [item["step"] for item in history.evaluations] == [0, 20, 40]
    assert history.best is not None
    assert history.best["step"] == 20  # of equals the earliest


def test_summary_goes_from_before_training_to_the_best() -> None:
    assert summary_rows(history_of(METRICS)) == [
        ("WER", "125.00 %", "25.00 %", "80.0 % better"),
        ("CER", "100.00 %", "12.50 %", "87.5 % better"),
        ("loss", "4.000", "1.000", "75.0 % better"),
        ("update", "0", "20", ""),
        ("epoch", "0.0", "1.0", ""),
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0.5, 0.5, "no change"), (0.0, 0.0, ""), (0.5, 0.25, "50.0 % better")],
)
def test_improvement_in_words(before: float, after: float, words: str) -> None:
    history = History(train=(), evaluations=(row(0, before), row(10, after)))
    assert summary_rows(history)[0] == ("WER", f"{100 * before:.2f} %", f"{100 * after:.2f} %", words)


def test_a_loss_that_rises_is_worse() -> None:
    history = History(train=(), evaluations=(row(0, 0.5, val_loss=1.0), row(10, 0.4, val_loss=1.5)))
    assert summary_rows(history)[2] == ("loss", "1.000", "1.500", "50.0 % worse")


def test_without_evaluations_there_is_nothing_to_sum_up() -> None:
    empty = History(train=((1, 2.0),), evaluations=())
    assert empty.best is None
    assert summary_rows(empty) == []


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "history",
    [
        history_of(METRICS),
        History(train=(), evaluations=()),
        History(train=(), evaluations=(row(0, 1.0),)),
        History(train=((1, 1e4), (2, 1.0), (3, 0.0)), evaluations=(row(0, 900.0), row(10, 0.0))),
    ],
    ids=["usual", "empty", "before-training", "extremes"],
)
def test_the_picture_is_written(history: History, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"training{suffix}"
    draw_history(history, path, title="digits & <tones> ñ")
    assert path.read_bytes().startswith(KINDS[suffix])
    assert path.stat().st_size > 10_000


def upright_lines(axes: "Axes") -> list[tuple[float, str]]:
    """Place and style of the lines that go from the bottom to the top of a panel."""
    return [(line.get_xdata()[0], line.get_linestyle()) for line in axes.lines if list(line.get_ydata()) == [0, 1]]


def test_a_line_with_its_name_stands_where_each_stage_ends() -> None:
    history = history_of(METRICS, EVENTS)
    assert history.stage_ends == ((20, "clean"), (40, "code_switch"))
    *panels, summary = history_figure(history, title="staged").axes
    for axes in panels:
        assert upright_lines(axes) == [(20, "-"), (40, "-"), (20, "--")]  # the last marks the best
        names = [(text.xy[0], text.get_text()) for text in axes.texts if text.get_text() in ("clean", "code_switch")]
        assert names == [(20, "clean"), (40, "code_switch")]
    assert [axes.get_title(loc="right") for axes in panels] == ["", "125 before training", "100 before training"]
    assert upright_lines(summary) == []


def test_dollars_in_names_are_no_mathematics(tmp_path: Path) -> None:
    history = History(train=((1, 2.0),), evaluations=(), stage_ends=((1, "up to $x^$"),))
    draw_history(history, tmp_path / "training.svg", title="for $x^$")
    assert "<!-- for $x^$ -->" in (tmp_path / "training.svg").read_text(encoding="utf-8")


def test_without_stages_only_the_best_is_marked() -> None:
    *panels, _ = history_figure(history_of(METRICS), title="plain").axes
    assert [upright_lines(axes) for axes in panels] == [[(20, "--")]] * 3
    assert [[text.get_text() for text in axes.texts] for axes in panels] == [
        [],
        ["125 before training", "25.00"],
        ["100 before training", "10.00"],
    ]
