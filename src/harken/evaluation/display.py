"""A report as plain text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from harken.evaluation.report import EvaluationReport

BASE_MODEL = "untouched base model"

_COLUMNS = ("", "WER %", "interval", "CER %", "sub", "del", "ins", "words", "RTF")


def sample_predictions(rows: Sequence[Mapping[str, Any]], n: int = 5) -> list[Mapping[str, Any]]:
    """`n` rows of a report, evenly spread from the best to the worst, so that neither is hidden.

    Ties go by id; utterances whose reference is empty come last, behind the worst, when something was recognised.
    """

    def badness(row: Mapping[str, Any]) -> tuple[float, str]:
        rate = row["wer"]
        return (rate if rate is not None else float("inf") if row["insertions"] else 0.0), row["id"]

    ordered = sorted(rows, key=badness)
    count = min(n, len(ordered))
    if count < 2:
        return ordered[:count]
    return [ordered[round(place * (len(ordered) - 1) / (count - 1))] for place in range(count)]


def format_report(
    report: EvaluationReport, *, baseline: EvaluationReport | None = None, name: str = "this model", samples: int = 5
) -> str:
    """The report as text: figures (a baseline's first), verdict, frequent errors, rejections, sample predictions."""
    summary = report.summary
    rows = [(name, summary)] if baseline is None else [(BASE_MODEL, baseline.summary), (name, summary)]
    parts = [_table([_COLUMNS, *(_figures(label, values) for label, values in rows)])]
    if baseline is not None:
        parts.append(compare_with_baseline(summary, baseline.summary))
    parts.append(_conditions_line(summary))
    parts.extend(note for note in (summary["wer"]["note"], _empty_note(summary)) if note)
    if summary["errors"]:
        parts.append("Most frequent errors:\n" + "\n".join(_error_lines(summary["errors"])))
    if summary["rejected"]:
        parts.append(_rejections(summary["rejected"]))
    shown = sample_predictions(report.rows, samples)
    if shown:
        parts.append("Samples, best to worst:\n" + "\n".join(_sample_lines(row) for row in shown))
    text = "\n\n".join(parts) + "\n"
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be printed


def compare_with_baseline(summary: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """One sentence: better, worse or equal, by how much, and whether the two can be compared at all."""
    for key in ("utterances", "words", "normalizer", "alignment"):
        if summary[key] != baseline[key]:
            return (
                f"Not comparable with the {BASE_MODEL}: {key} {_plain(summary[key])} against {_plain(baseline[key])}."
            )
    ours, theirs = summary["wer"], baseline["wer"]
    if ours["value"] is None or theirs["value"] is None:
        return f"Not comparable with the {BASE_MODEL}: there is no word error rate."
    points = 100 * (ours["value"] - theirs["value"])
    if points == 0:
        return f"No difference from the {BASE_MODEL}."
    if points > 0:
        verdict = f"WORSE than the {BASE_MODEL} by {points:.2f} points of WER"
    else:
        verdict = f"Better than the {BASE_MODEL} by {-points:.2f} points of WER"
        verdict += f" ({-points / theirs['value']:.0f} % fewer errors)"
    if _overlap(ours, theirs):
        verdict += "; the intervals overlap, so this may be chance"
    return verdict + "."


def _overlap(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    if ours["low"] is None or theirs["low"] is None:
        return False
    return bool(ours["low"] <= theirs["high"] and theirs["low"] <= ours["high"])


def _figures(label: str, summary: Mapping[str, Any]) -> tuple[str, ...]:
    wer = summary["wer"]
    interval = "none" if wer["low"] is None else f"{100 * wer['low']:.2f} to {100 * wer['high']:.2f}"
    return (
        label,
        _percent(wer["value"]),
        interval,
        _percent(summary["cer"]["value"]),
        *(f"{summary[key]:,}" for key in ("substitutions", "deletions", "insertions", "words")),
        "-" if summary["rtf"] is None else f"{summary['rtf']:.3f}",
    )


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for label, *cells in rows:
        rest = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([label.ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def _conditions_line(summary: Mapping[str, Any]) -> str:
    wer = summary["wer"]
    words = [
        f"{summary['utterances']:,} utterance{'' if summary['utterances'] == 1 else 's'}",
        f"normaliser {summary['normalizer']['name']} {summary['normalizer']['version']}",
        f"alignment {summary['alignment']}",
    ]
    if wer["method"] == "bootstrap":
        words.append(f"{100 * wer['confidence']:g} % interval over {wer['units']:,} {wer['unit']}s")
    if summary["latency_ms"]["p50"] is not None:
        latency = summary["latency_ms"]
        words.append(f"latency {latency['p50']:.1f} ms (p95 {latency['p95']:.1f} ms)")
    return ", ".join(words) + "."


def _empty_note(summary: Mapping[str, Any]) -> str:
    count = summary["empty_hypotheses"]
    return f"Utterances with words that were recognised as none: {count:,}." if count else ""


def _error_lines(errors: Sequence[Mapping[str, Any]], most: int = 5) -> list[str]:
    lines = []
    for kind, title in (("S", "substituted"), ("D", "deleted"), ("I", "inserted")):
        found = [error for error in errors if error["kind"] == kind][:most]
        if found:
            lines.append(f"  {title:<12}" + ", ".join(_error(error) for error in found))
    return lines


def _error(error: Mapping[str, Any]) -> str:
    words = " > ".join(word for word in (error["reference"], error["hypothesis"]) if word)
    return f"{words} ({error['count']})"


def _rejections(rejected: Sequence[Mapping[str, Any]], most: int = 5) -> str:
    lines = [f"Utterances that could not be recognised, counted as deletions: {len(rejected)}"]
    lines += [f"  {item['id']}: {item['cause']}" for item in rejected[:most]]
    if len(rejected) > most:
        lines.append(f"  and {len(rejected) - most} more")
    return "\n".join(lines)


def _sample_lines(row: Mapping[str, Any]) -> str:
    rate = "no words" if row["wer"] is None else f"{100 * row['wer']:.0f} % WER"
    said, recognised = (row[side] or "(nothing)" for side in ("reference", "hypothesis"))
    return f"  {row['id']} ({rate})\n    said        {said}\n    recognised  {recognised}"


def _plain(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)
