"""The picture of a run: loss, WER and CER over updates, and a summary table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.training.stage_results import results_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#7b8794"
TRAIN = "#2f6fb0"
VALIDATION = "#d1495b"
BEST = "#2e8b57"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run's numbers in order: `train` rows (update, loss), `evaluations` rows (update, epoch, val_loss, wer, cer).

    `stage_ends` has rows (last update, name), none where the run has no stages.
    """

    train: tuple[tuple[int, float], ...]
    evaluations: tuple[dict[str, float], ...]
    stage_ends: tuple[tuple[int, str], ...] = ()

    @property
    def best(self) -> dict[str, float] | None:
        """The evaluation with the lowest WER, the earliest of equals."""
        return min(self.evaluations, key=lambda row: (row["val_wer"], row["step"])) if self.evaluations else None


def history_of(metrics: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]] = ()) -> History:
    """History from the lines of metrics.jsonl and, for the ends of stages, events.jsonl."""
    train = tuple((int(row["step"]), float(row["train_loss"])) for row in metrics if row.get("train_loss") is not None)
    evaluations = tuple(dict(row) for row in metrics if row.get("val_wer") is not None)
    stage_ends = tuple((end.step, end.name) for end in results_in(events) if end.step > 0)
    return History(train=train, evaluations=evaluations, stage_ends=stage_ends)


def draw_history(history: History, path: Path, *, title: str) -> None:
    """Save `history_figure` as PNG (or SVG, by the ending of `path`)."""
    figure = history_figure(history, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def history_figure(history: History, *, title: str) -> "Figure":
    """Four panels: loss, WER, CER, and the summary."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=130, layout="constrained")
    figure.suptitle(title, color=INK, fontsize=13, fontweight="bold", parse_math=False)
    panels = figure.subplots(2, 2)
    _draw_loss(panels[0, 0], history)
    _draw_rate(panels[0, 1], history, key="val_wer", name="WER")
    _draw_rate(panels[1, 0], history, key="val_cer", name="CER")
    _draw_summary(panels[1, 1], history)
    return figure


def _style(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel("update", color=MUTED)
    axes.tick_params(colors=MUTED)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#cbd2d9")


def _mark_best(axes: "Axes", history: History) -> None:
    if history.best:
        label = f"best WER, epoch {history.best['epoch']:.1f}"
        axes.axvline(history.best["step"], color=BEST, linewidth=1.2, linestyle="--", label=label)


def _mark_stages(axes: "Axes", history: History) -> None:
    """A thin line where each stage ends, its name upright at the top."""
    from matplotlib.patheffects import withStroke

    for step, name in history.stage_ends:
        axes.axvline(step, color=MUTED, linewidth=0.7)
        axes.annotate(
            name,
            (step, 0.98),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation="vertical",
            ha="right",
            va="top",
            color=MUTED,
            fontsize=8,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],  # readable across a curve
        )


def _draw_loss(axes: "Axes", history: History) -> None:
    _style(axes, "Loss (nats per label)")
    if history.train:
        axes.plot(*zip(*history.train, strict=True), color=TRAIN, linewidth=1.4, label="training")
    rows = [(row["step"], row["val_loss"]) for row in history.evaluations if row.get("val_loss") is not None]
    if rows:
        axes.plot(
            *zip(*rows, strict=True), color=VALIDATION, linewidth=1.6, marker="o", markersize=3, label="validation"
        )
    values = [value for _, value in (*history.train, *rows) if value > 0]
    if values and max(values) > 20 * min(values):
        axes.set_yscale("log")
    _mark_stages(axes, history)
    _mark_best(axes, history)
    if axes.get_legend_handles_labels()[0]:
        # Names of stages have the top of the panel, and a legend elsewhere in it would cover a curve: beside the title.
        outside = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "fontsize": 8, "borderpad": 0}
        spacing = {"borderaxespad": 0.5, "handlelength": 1.2, "columnspacing": 1.2}
        where: dict[str, Any] = outside | spacing if history.stage_ends else {}
        axes.legend(frameon=False, labelcolor=INK, **where)


def _draw_rate(axes: "Axes", history: History, *, key: str, name: str) -> None:
    _style(axes, f"{name} on the validation set (%)")
    rows = [(row["step"], 100 * row[key]) for row in history.evaluations if row.get(key) is not None]
    if not rows:
        return
    axes.plot(*zip(*rows, strict=True), color=VALIDATION, linewidth=1.6, marker="o", markersize=3)
    # An untrained model's rate can be hundreds of percent and would flatten everything that follows.
    trained = [value for step, value in rows if step > 0]
    top = 1.15 * max(trained) if trained else 1.15 * rows[0][1]
    axes.set_ylim(0, max(top, 1.0))
    if rows[0][0] == 0 and rows[0][1] > top:
        words = f"{rows[0][1]:.0f} before training"
        if history.stage_ends:
            axes.set_title(words, loc="right", color=MUTED, fontsize=10)
        else:
            axes.annotate(words, (0.35, 0.97), xycoords="axes fraction", va="top", color=MUTED)
    _mark_stages(axes, history)
    _mark_best(axes, history)
    last_step, last = rows[-1]
    axes.annotate(f"{last:.2f}", (last_step, last), xytext=(-4, 8), textcoords="offset points", ha="right", color=INK)


def summary_rows(history: History) -> list[tuple[str, str, str, str]]:
    """Rows (measure, first, best, improvement) from the evaluation before training to the best one."""
    if not history.evaluations or history.best is None:
        return []
    first, best = history.evaluations[0], history.best
    rows = []
    for key, name in (("val_wer", "WER"), ("val_cer", "CER")):
        before, after = first[key], best[key]
        rows.append((name, f"{100 * before:.2f} %", f"{100 * after:.2f} %", _improvement(before, after)))
    before_loss, after_loss = first.get("val_loss"), best.get("val_loss")
    if before_loss is not None and after_loss is not None:
        rows.append(("loss", f"{before_loss:.3f}", f"{after_loss:.3f}", _improvement(before_loss, after_loss)))
    rows.append(("update", f"{first['step']:.0f}", f"{best['step']:.0f}", ""))
    rows.append(("epoch", f"{first['epoch']:.1f}", f"{best['epoch']:.1f}", ""))
    return rows


def _improvement(before: float, after: float) -> str:
    if before == 0:
        return "" if after == 0 else "worse"
    change = 100 * (before - after) / before
    return f"{change:.1f} % better" if change > 0 else f"{-change:.1f} % worse" if change < 0 else "no change"


def _draw_summary(axes: "Axes", history: History) -> None:
    axes.set_axis_off()
    axes.set_title("Summary", loc="left", color=INK, fontsize=11)
    rows = summary_rows(history)
    if not rows:
        axes.text(0.0, 0.9, "no evaluation yet", color=MUTED)
        return
    table = axes.table(
        cellText=[list(row) for row in rows],
        colLabels=["", "before training", "best", "improvement"],
        loc="upper left",
        cellLoc="right",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    table.scale(1, 1.7)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#cbd2d9")
        cell.get_text().set_color(INK)
