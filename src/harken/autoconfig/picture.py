"""The picture of a plan: memory by kind in each duration bucket, and the batch sizes that follow from it."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.autoconfig.plan import Plan
from harken.core import MissingPart
from harken.core.files import replacing
from harken.core.units import format_bytes, format_duration
from harken.data.picture import style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color universal design": told apart with any kind of colour vision.
_KINDS = {
    "parameters": "#0072b2",
    "optimizer": "#56b4e9",
    "gradients": "#009e73",
    "activations": "#e69f00",
    "workspace": "#b3bac2",
}
_INK, _MUTED, _DEVICE, _AUDIO = "#1f2933", "#5b6672", "#b5402f", "#0072b2"
_WIDTH_IN, _HEIGHT_IN, _DPI = 13.0, 5.8, 120
_MOST_LABELS = 12  # on the axis of buckets
_FAR = 3.0  # a line this many times as high as the bars would flatten them
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20))


def draw_plan(plan: Plan, path: str | Path) -> None:
    """Save two panels: stacked bars of memory with the lines of budget and device, and batch sizes by duration.

    A path that ends in `.svg` gets SVG, any other PNG. Equal plans give equal bytes. Raises MissingPart without
    matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingPart(
            "Drawing needs the package matplotlib.", hint="Install it with: pip install 'harken[train]'."
        ) from err
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.95, top=0.75, bottom=0.115, wspace=0.19)
    _draw_title(figure, plan)
    _draw_memory(left, plan)
    _draw_batches(right, plan)
    # No date, no program version, no random names inside an SVG.
    kind, metadata = ("svg", {"Date": None}) if Path(path).suffix.lower() == ".svg" else ("png", {"Software": None})
    with replacing(Path(path)) as file, warnings.catch_warnings(), rc_context({"svg.hashsalt": "harken"}):
        # The default font lacks some scripts; their letters are drawn as boxes, which is no reason to complain.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=kind, metadata=metadata)


def _draw_title(figure: "Figure", plan: Plan) -> None:
    speed = plan.update_audio_s * plan.updates_per_epoch / plan.epoch_s
    parts = [
        f"{plan.precision}, gradient checkpointing {'on' if plan.gradient_checkpointing else 'off'}",
        f"{plan.dataset['utterances']:,} utterances, {format_duration(plan.dataset['total_s'])}",
        f"{speed:,.0f} s of audio per second",
        f"{plan.num_epochs} epoch{'' if plan.num_epochs == 1 else 's'} in {format_duration(plan.training_s)}",
    ]
    if plan.rejected.utterances:
        parts.append(f"{plan.rejected.utterances:,} left out")
    title = f"{_short(plan.model['name'])} ({plan.model['way']}) on {_short(plan.hardware['name'])}"
    plain: dict[str, Any] = {"x": 0.06, "parse_math": False}
    figure.text(y=0.93, s=title, fontsize=17, color=_INK, weight="bold", **plain)
    figure.text(y=0.882, s="   ·   ".join(parts), fontsize=11, color=_MUTED, **plain)


def _draw_memory(axes: "Axes", plan: Plan) -> None:
    """A bar for each bucket; what bounds the batch of a marked one is the memory."""
    device_bytes = int(plan.hardware["memory_bytes"])
    far = plan.budget_bytes > _FAR * plan.peak_bytes
    top = 1.16 * (plan.peak_bytes if far else max(plan.peak_bytes, device_bytes))
    unit, size = next((item for item in _UNITS if top >= 2 * item[1]), _UNITS[-1])
    places = np.arange(len(plan.buckets))
    below = np.zeros(len(plan.buckets))
    for kind, color in _KINDS.items():
        heights = np.array([row.memory.get(kind, 0) for row in plan.buckets]) / size
        axes.bar(places, heights, 0.8, bottom=below, color=color, label=kind, zorder=3, edgecolor="white", lw=0.4)
        below += heights
    _mark_saturated(axes, plan, below, top / size)
    axes.set_xlim(-max(0.7, 3.0 - len(places) / 2), len(places) - 1 + max(0.7, 3.0 - len(places) / 2))
    axes.set_ylim(0, top / size)
    every, digits = -(-len(places) // _MOST_LABELS), 1 if plan.buckets[-1].upper_edge_s >= 3 else 2
    shown = places[::-1][::every]  # the last one always
    axes.set_xticks(shown, [f"{plan.buckets[place].upper_edge_s:.{digits}f}" for place in shown])
    style_axes(axes, "Predicted peak of a full batch", "bucket: utterances up to … s", unit, pad=24)
    if far:
        _say_limits(axes, plan, device_bytes)
    else:
        _draw_limits(axes, plan, device_bytes, size)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda place: names[place] not in _KINDS)  # the mark behind the kinds
    axes.legend(
        [handles[place] for place in order],
        [names[place] for place in order],
        loc="lower left",
        bbox_to_anchor=(-0.012, 0.985),
        ncols=len(_KINDS) + 1,
        frameon=False,
        fontsize=9,
        labelcolor=_MUTED,
        handlelength=0.9,
        handletextpad=0.45,
        columnspacing=0.8,
    )


def _mark_saturated(axes: "Axes", plan: Plan, heights: Any, top: float) -> None:
    marked = [place for place, row in enumerate(plan.buckets) if row.saturated]
    if marked:
        within = [heights[place] - 0.022 * top for place in marked]
        axes.plot(marked, within, ls="", marker="^", ms=4.5, color=_INK, zorder=5, label="saturated")


def _draw_limits(axes: "Axes", plan: Plan, device_bytes: int, size: int) -> None:
    limits = (("device", device_bytes, _DEVICE, "-"), ("budget", plan.budget_bytes, _INK, (0, (5, 3))))
    for name, value, color, line in limits:
        axes.axhline(value / size, color=color, lw=1.3, ls=line, zorder=4)
        axes.annotate(
            f"{name} {format_bytes(value)}",
            (0.004, value / size),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=9,
            color=color,
            zorder=6,
        )


def _say_limits(axes: "Axes", plan: Plan, device_bytes: int) -> None:
    words = f"beyond this picture: budget {format_bytes(plan.budget_bytes)}, device {format_bytes(device_bytes)}"
    axes.text(0.99, 0.975, words, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=_MUTED)


def _draw_batches(axes: "Axes", plan: Plan) -> None:
    """Batch size, and what a full batch holds in seconds of audio, over the durations of each bucket."""
    from matplotlib.ticker import MaxNLocator

    upper_s = [row.upper_edge_s for row in plan.buckets]
    sizes = np.array([row.batch_size for row in plan.buckets])
    audio_s = sizes * np.array(upper_s)
    style_axes(axes, "Batch of each bucket", "length of the utterances, s", "", pad=24)
    other = axes.twinx()
    # Different heights, or the two would coincide where there is one bucket.
    for panel, values, head, color, line in (
        (axes, sizes, 1.1, _INK, "-"),
        (other, audio_s, 1.3, _AUDIO, (0, (4, 2))),
    ):
        panel.stairs(values, [0.0, *upper_s], color=color, lw=2.0, ls=line, baseline=None, zorder=4)
        panel.set_ylim(0, head * values.max())
        panel.tick_params(axis="y", colors=color, labelsize=9.5, length=0)
    axes.set_xlim(0, upper_s[-1])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    other.spines[:].set_visible(False)
    beside: dict[str, Any] = {"y": 1.03, "transform": axes.transAxes, "fontsize": 9.5}
    axes.text(x=0, s="utterances", color=_INK, **beside)
    axes.text(x=1, s="seconds of audio, padding included (dashed)", color=_AUDIO, ha="right", **beside)


def _short(name: str) -> str:
    """A name short enough for the title; of a folder its end says more than its beginning."""
    return name if len(name) <= 48 else "…" + name[-47:]
