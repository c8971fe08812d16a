"""The picture of a data set: lengths, speakers, speaking rate, and how it is recorded."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError, MissingPart
from harken.core.files import replacing
from harken.core.units import format_duration
from harken.data.quality_stats import AudioStats
from harken.data.stats import CorpusStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _GRID = "#1f2933", "#66727f", "#e4e8ec"
_BLUE, _TEAL, _AMBER, _ROSE = "#2f6db3", "#2a9d8f", "#e09f3e", "#c8553d"
_MOST_SPEAKERS = 20
_WIDTH_IN, _ROW_IN, _TOP_IN, _BOTTOM_IN = 12.0, 3.28, 1.22, 0.62


def draw_stats(
    stats: CorpusStats, path: str | Path, *, title: str = "Data set", audio: AudioStats | None = None
) -> None:
    """Save a picture: histogram of lengths, hours by speaker (the 20 largest), characters and words per second.

    With `audio`, four more parts show signal-to-noise ratio, loudness, bandwidth and silence. A path that ends in
    `.svg` gets SVG, any other PNG. Raises InputError for an empty data set and MissingPart without matplotlib.
    """
    if not stats.utterances:
        raise InputError("The data set is empty; there is nothing to draw.", hint="Import some data first.")
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingPart(
            "Drawing needs the package matplotlib.", hint="Install it with: pip install 'harken[train]'."
        ) from err
    rows = 2 if audio is None else 4
    height = _TOP_IN + rows * _ROW_IN + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, height), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2)
    _draw_durations(grid[0][0], stats)
    _draw_speakers(grid[0][1], stats)
    _draw_rates(grid[1][0], stats)
    _draw_words(grid[1][1], stats)
    if audio is not None:
        _draw_audio([*grid[2], *grid[3]], audio)
    top, bottom = 1 - _TOP_IN / height, _BOTTOM_IN / height
    figure.subplots_adjust(left=0.075, right=0.97, top=top, bottom=bottom, hspace=0.36, wspace=0.24)
    figure.text(0.075, 1 - 0.40 / height, title, fontsize=19, color=_INK, weight="bold")
    figure.text(0.075, 1 - 0.70 / height, _subtitle(stats), fontsize=12, color=_MUTED)
    # Equal statistics give equal bytes: no date, no program version, no random names inside an SVG.
    kind, metadata = ("svg", {"Date": None}) if Path(path).suffix.lower() == ".svg" else ("png", {"Software": None})
    with replacing(Path(path)) as file, warnings.catch_warnings(), rc_context({"svg.hashsalt": "harken"}):
        # Speakers' names in scripts the default font lacks are drawn as boxes; that is no reason to complain.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=kind, metadata=metadata)


def _subtitle(stats: CorpusStats) -> str:
    speakers = len(stats.speakers.keys() - {""})
    parts = [
        f"{stats.utterances:,} utterance{'' if stats.utterances == 1 else 's'}",
        format_duration(stats.duration_s),
        f"{speakers:,} speaker{'' if speakers == 1 else 's'}" if speakers else "speakers unknown",
        f"{sum(stats.words.values()):,} words, {len(stats.words):,} different",
    ]
    return "   ·   ".join(parts)


def _draw_durations(axes: "Axes", stats: CorpusStats) -> None:
    _histogram(axes, stats.durations_s, _BLUE, unit=" s")
    style_axes(axes, "Length", "seconds", "utterances")


def _draw_rates(axes: "Axes", stats: CorpusStats) -> None:
    style_axes(axes, "Speaking rate", "characters per second, without spaces", "utterances")
    if len(stats.characters_per_s):
        _histogram(axes, stats.characters_per_s, _TEAL, unit="")
    else:
        _say(axes, "no texts")


def _draw_audio(grid: Sequence["Axes"], audio: AudioStats) -> None:
    silence = 100 * audio.known("silence_share")
    parts = (
        ("Signal to noise", "dB, estimated from the pauses", audio.known("snr_db"), _BLUE, " dB"),
        ("Loudness", "LUFS (ITU-R BS.1770)", audio.known("loudness_lufs"), _AMBER, " LUFS"),
        ("Bandwidth", "kHz, where the spectrum ends", audio.known("bandwidth_hz") / 1000, _TEAL, " kHz"),
        ("Silence", "% of the utterance, 40 dB below its loudest", silence, _ROSE, " %"),
    )
    for axes, (name, x, values, color, unit) in zip(grid, parts, strict=True):
        unknown = audio.utterances - len(values)
        style_axes(axes, name, f"{x}; unknown for {unknown:,}" if unknown else x, "utterances")
        if len(values):
            _histogram(axes, values, color, unit=unit, from_zero=unit in (" kHz", " %"))
        else:
            _say(axes, "none could be measured" if audio.utterances else "nothing could be read")


def _draw_speakers(axes: "Axes", stats: CorpusStats) -> None:
    named = list(stats.speakers.items())
    shown = named[:_MOST_SPEAKERS]
    seconds = [share.duration_s for _, share in shown]
    divisor, unit = (
        (3600, "hours") if max(seconds) >= 3600 else (60, "minutes") if max(seconds) >= 60 else (1, "seconds")
    )
    values = [value / divisor for value in seconds]
    axes.barh(range(len(shown)), values, height=0.72, color=_ROSE, zorder=3)
    axes.set_yticks(range(len(shown)), [_label(name) for name, _ in shown])
    axes.set_ylim(max(len(shown), 4) - 0.4, -0.6)
    for row, value in enumerate(values):
        axes.text(value, row, f" {_short(value)}", va="center", fontsize=9 if len(shown) <= 12 else 7, color=_MUTED)
    axes.set_xlim(0, max(values) * 1.12)
    more = len(named) - len(shown)
    style_axes(axes, f"Audio by speaker{f', the largest of {len(named):,}' if more else ''}", unit, "")
    axes.tick_params(axis="y", labelsize=10 if len(shown) <= 12 else 8)
    axes.grid(visible=False, axis="y")


def _draw_words(axes: "Axes", stats: CorpusStats) -> None:
    style_axes(axes, "Words per second", "words per second", "utterances")
    if len(stats.words_per_s):
        _histogram(axes, stats.words_per_s, _AMBER, unit="")
    else:
        _say(axes, "no texts")


def _histogram(axes: "Axes", values: npt.NDArray[np.float64], color: str, *, unit: str, from_zero: bool = True) -> None:
    """Bars up to the 99.5th percentile (the last has the rest), with the median and the middle nine tenths marked."""
    low, p5, p50, p95, high = np.percentile(values, (0.5, 5, 50, 95, 99.5))
    start = 0.0 if from_zero else float(low)
    end = float(high) if high > start else start + 1.0
    # Lengths are often whole multiples of something; few values get few bars, or the bars show a comb.
    bins = int(np.clip(np.sqrt(len(values)) * 1.5, 8, 48))
    counts, edges = np.histogram(np.clip(values, start, end), np.linspace(start, end, bins + 1))
    axes.bar(edges[:-1], counts, np.diff(edges) * 0.92, align="edge", color=color, zorder=3)
    axes.axvspan(p5, p95, color=color, alpha=0.09, zorder=1, lw=0)
    axes.axvline(p50, color=_INK, lw=1.2, ls=(0, (4, 3)), zorder=4)
    axes.set_ylim(0, max(int(counts.max()), 1) * 1.08)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == round(value) else "")
    axes.set_xlim(start, end)
    axes.text(
        1.0,
        1.035,
        f"median {_short(float(p50))}{unit}, 90 % in {_short(float(p5))} to {_short(float(p95))}{unit}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=9.5,
        color=_MUTED,
    )


def style_axes(axes: "Axes", title: str, x: str, y: str, *, pad: float = 10) -> None:
    """Title, axis labels and a quiet grid; `pad` is between title and axes, in points."""
    axes.set_title(title, loc="left", fontsize=13, color=_INK, weight="bold", pad=pad)
    axes.set_xlabel(x, fontsize=10.5, color=_MUTED)
    axes.set_ylabel(y, fontsize=10.5, color=_MUTED)
    axes.tick_params(colors=_MUTED, labelsize=9.5, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)
    axes.grid(visible=True, color=_GRID, lw=0.8, zorder=0)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)


def _say(axes: "Axes", words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=12, color=_MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def _label(name: str) -> Any:
    text = (name or "unknown").replace("$", r"\$")  # a dollar sign would begin a formula
    return text if len(text) <= 18 else text[:8] + "…" + text[-8:]  # Common Voice names speakers by 128 hex digits


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
