"""The page's figures as PNG and SVG, for slides and papers."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.core import MissingPart
from harken.core.files import replacing
from harken.evaluation.report import EvaluationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_FOLDER = "figures"

_INK, _MUTED, _GRID, _PAPER = "#1b2023", "#596368", "#e4e7e6", "#ffffff"
_ACCENT, _SOFT = "#0c6b66", "#a9d0cd"
_KINDS = {"S": ("Substituted", "#c98a2e"), "D": ("Deleted", "#c04a4f"), "I": ("Inserted", "#4a76c9")}
_MOST_GROUPS = 30
_MOST_ERRORS = 15
_NOTHING = "∅"
_FEW_SPEAKERS = 5
"""A distribution of fewer speakers shows nothing that their list does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rate:
    """A rate in percent; the limits are None where there is no interval."""

    value: float
    low: float | None = None
    high: float | None = None


def write_figures(report: EvaluationReport, folder: Path) -> list[Path]:
    """Write every figure the report has data for as FOLDER/figures/NAME.png and NAME.svg; their paths.

    Conditions, WER by slice (speaker, language, duration, SNR, tags), the distribution over speakers, frequent errors,
    and confusions of phonemes by language. Equal reports give equal bytes with the same Matplotlib. Text in the SVG
    stays text, so that a viewer can show scripts for which Matplotlib has no font. Raises MissingPart without
    Matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as err:
        raise MissingPart(
            "Drawing needs the package matplotlib.", hint="Install it with: pip install 'harken[eval]'."
        ) from err
    paths = []
    settings: Any = {"svg.hashsalt": "harken", "svg.fonttype": "none", "text.parse_math": False}
    with rc_context(settings), warnings.catch_warnings():
        # Words of scripts the default font lacks are drawn as boxes in the PNG; that is no reason to complain.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from|Matplotlib currently does not support")
        for name, figure in _figures(report.summary):
            FigureCanvasAgg(figure)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = Path(folder) / FIGURE_FOLDER / f"{name}.{kind}"
                with replacing(path) as file:
                    figure.savefig(file, format=kind, metadata=metadata)
                paths.append(path)
    return paths


def _figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    """(name, figure) of everything there are data for."""
    overall = _rate(summary["wer"])
    conditions = _rated({name: figures["wer"] for name, figures in summary.get("conditions", {}).items()})
    if len(conditions) > 1:
        yield "conditions", _draw_conditions(conditions)
    slices = {"speaker": summary.get("speakers"), "language": summary.get("languages")} | dict(
        summary.get("slices") or {}
    )
    for dimension, groups in slices.items():
        rates = _rated({label: group["wer"] for label, group in (groups or {}).items()})
        if rates:
            yield f"wer-by-{_file_name(dimension)}", _draw_slice(dimension, rates, overall)
        if dimension == "speaker" and len(rates) >= _FEW_SPEAKERS:
            yield "speakers", _draw_speakers([rate.value for rate in rates.values()], overall)
    if summary.get("errors"):
        yield "errors", _draw_errors(summary["errors"])
    for language, confusions in (summary.get("phonemes") or {}).items():
        if confusions["phonemes"]:
            yield f"phonemes-{_file_name(language)}", _draw_phonemes(language, confusions)


def _rate(wer: Any) -> _Rate | None:
    """From {"value", "low", "high"} or a bare number; None where there is no rate."""
    if not isinstance(wer, Mapping):
        return None if wer is None else _Rate(value=100 * wer)
    if wer["value"] is None:
        return None
    low, high = wer.get("low"), wer.get("high")
    if low is None or high is None:
        return _Rate(value=100 * wer["value"])
    return _Rate(value=100 * wer["value"], low=100 * low, high=100 * high)


def _rated(rates: Mapping[str, Any]) -> dict[str, _Rate]:
    return {name: rate for name, wer in rates.items() if (rate := _rate(wer)) is not None}


def _draw_conditions(rates: Mapping[str, _Rate]) -> "Figure":
    figure, axes = _rows_figure(len(rates))
    places = range(len(rates))
    values = [rate.value for rate in rates.values()]
    axes.barh(places, values, height=0.6, color=_SOFT, zorder=2)
    _whiskers(axes, list(rates.values()))
    end = _end_of(list(rates.values()))
    for place, rate in zip(places, rates.values(), strict=True):
        axes.text(end * 1.02, place, f"{rate.value:.2f}", va="center", fontsize=10, color=_INK)
    _name_rows(axes, list(rates), end)
    _style(axes, "Word error rate by condition", "percent, with the interval")
    return figure


def _draw_slice(dimension: str, rates: Mapping[str, _Rate], overall: _Rate | None) -> "Figure":
    ordered = list(rates.items())
    if dimension not in ("duration", "snr"):
        ordered.sort(key=lambda item: (-item[1].value, item[0]))
    shown = dict(ordered[:_MOST_GROUPS])
    figure, axes = _rows_figure(len(shown))
    end = _end_of(list(shown.values()))
    if overall is not None:
        axes.axvline(overall.value, color=_MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
    _whiskers(axes, list(shown.values()))
    axes.scatter([rate.value for rate in shown.values()], range(len(shown)), s=46, color=_ACCENT, zorder=4)
    _name_rows(axes, list(shown), end)
    more = f", the highest {len(shown)} of {len(ordered):,}" if len(shown) < len(ordered) else ""
    _style(axes, f"Word error rate by {_spoken(dimension)}{more}", "percent, with the interval; dashed: the whole set")
    return figure


def _draw_speakers(values: Sequence[float], overall: _Rate | None) -> "Figure":
    figure = _figure(8, 4.2)
    axes = figure.subplots()
    end = max(float(np.percentile(values, 99.5)), 1e-9)
    bins = int(np.clip(2 * np.sqrt(len(values)), 6, 40))
    counts, edges = np.histogram(np.clip(values, 0, end), np.linspace(0, end, bins + 1))
    axes.bar(edges[:-1], counts, np.diff(edges) * 0.92, align="edge", color=_SOFT, zorder=2)
    median, low, high = np.percentile(values, (50, 10, 90))
    if overall is not None:
        axes.axvline(overall.value, color=_MUTED, lw=1, ls=(0, (4, 3)), zorder=3)
    axes.axvline(median, color=_ACCENT, lw=1.6, zorder=3)
    axes.set_xlim(0, end)
    axes.locator_params(axis="y", integer=True)
    _style(
        axes, f"Word error rate of {len(values):,} speakers", "percent; dashed: the whole set; line: the median", "y"
    )
    text = f"median {median:.1f}, eight in ten from {low:.1f} to {high:.1f}"
    axes.text(1, 1.02, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=9.5, color=_MUTED)
    return figure


def _draw_errors(errors: Sequence[Mapping[str, Any]]) -> "Figure":
    groups = {kind: [error for error in errors if error["kind"] == kind][:_MOST_ERRORS] for kind in _KINDS}
    groups = {kind: found for kind, found in groups.items() if found}
    longest = max(map(len, groups.values()))
    figure = _figure(4.4 * len(groups) + 0.6, 1.2 + 0.31 * longest)
    for axes, (kind, found) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True):
        title, color = _KINDS[kind]
        counts = [error["count"] for error in found]
        axes.barh(range(len(found)), counts, height=0.62, color=color, alpha=0.45, zorder=2)
        for place, count in enumerate(counts):
            axes.text(count, place, f" {count:,}", va="center", fontsize=9, color=_MUTED)
        _name_rows(axes, [_words_of(error) for error in found], max(counts) * 1.1, rows=longest)
        axes.locator_params(axis="x", integer=True, nbins=4)
        _style(axes, title, "times")
    return figure


def _draw_phonemes(language: str, confusions: Mapping[str, Any]) -> "Figure":
    names = confusions["phonemes"]
    shares = np.zeros((len(names), len(names)))
    for row, column, count in confusions["counts"]:
        shares[row, column] += count
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, totals, out=shares, where=totals > 0)
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    said = [place for place, name in enumerate(names) if name != _NOTHING]  # all of ∅'s row is wrong: no scale
    side = 1.6 + 0.24 * len(names)
    figure = _figure(side, side)
    axes = figure.subplots()
    deepest = float(wrong[said].max(initial=0)) or 1.0
    axes.imshow(np.sqrt(np.minimum(wrong / deepest, 1)), cmap=_shades(), vmin=0, vmax=1)
    axes.plot(range(len(names)), range(len(names)), "s", color="none", markeredgecolor="#cdd3d2", ms=9)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, colors=_MUTED)
    axes.set_ylabel("said", color=_MUTED)
    axes.set_title(f"Phonemes taken for others, {language}", loc="left", color=_INK, weight="bold", fontsize=13, pad=24)
    axes.set_xlabel(f"recognised; the darkest is {100 * deepest:.1f} % of the times it was said", color=_MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _figure(width: float, height: float) -> "Figure":
    """Inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=140, facecolor=_PAPER, layout="constrained")


def _rows_figure(rows: int) -> tuple["Figure", "Axes"]:
    figure = _figure(8.6, 1.3 + 0.36 * max(rows, 2))
    return figure, figure.subplots()


def _whiskers(axes: "Axes", rates: Sequence[_Rate]) -> None:
    for place, rate in enumerate(rates):
        if rate.low is not None and rate.high is not None:
            axes.plot([rate.low, rate.high], [place, place], color=_ACCENT, lw=1.8, zorder=3)
            axes.plot([rate.low, rate.high], [place, place], "|", color=_ACCENT, ms=7, mew=1.8, zorder=3)


def _end_of(rates: Sequence[_Rate]) -> float:
    """End of the scale: the upper limits, unless some of those are far beyond all values."""
    highest = max(rate.value for rate in rates)
    limits = max(rate.value if rate.high is None else rate.high for rate in rates)
    return max(min(limits, 1.6 * highest) * 1.03, 0.05)


def _name_rows(axes: "Axes", names: Sequence[str], end: float, *, rows: int | None = None) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(max(rows or len(names), 2) - 0.4, -0.6)
    axes.set_xlim(0, end)


def _style(axes: "Axes", title: str, x: str, grid: str = "x") -> None:
    axes.set_title(title, loc="left", fontsize=13, color=_INK, weight="bold", pad=10)
    axes.set_xlabel(x, fontsize=10, color=_MUTED)
    axes.tick_params(colors=_MUTED, labelsize=9.5, length=0)
    axes.tick_params(axis="y", colors=_INK)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color("#cdd3d2")
    axes.grid(visible=True, axis="x" if grid == "x" else "y", color=_GRID, lw=0.8, zorder=0)
    axes.set_axisbelow(True)


def _shades() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("harken", ["#f4f5f4", "#a9d0cd", _ACCENT, "#063c39"])


def _words_of(error: Mapping[str, Any]) -> str:
    return " → ".join(word for word in (error["reference"], error["hypothesis"]) if word)


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:14] + "…" + name[-13:]


def _spoken(dimension: str) -> str:
    plain = dimension.removeprefix("tag:").replace("_", " ")
    return {"duration": "length", "snr": "signal-to-noise ratio"}.get(dimension, plain)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name.removeprefix("tag:")).strip("-") or "unnamed"
