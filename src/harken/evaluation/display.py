"""A report as plain text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from harken.core.tables import text_table
from harken.evaluation.report import EvaluationReport
from harken.evaluation.statistics.p_values import p_text


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


def format_report(report: EvaluationReport, *, samples: int = 5) -> str:
    """The report as text: a row per condition, verdict against the baseline, what goes wrong, sample predictions."""
    summary = report.summary
    parts = [text_table(_condition_rows(summary["conditions"]))]
    if summary["baseline"] is not None:
        parts.append(baseline_verdict(summary))
    parts.append(_conditions_line(summary))
    notes = (summary["wer"]["note"], _empty_note(summary), *_findings(summary))
    parts.extend(note for note in notes if note)
    if summary["errors"]:
        parts.append("Most frequent errors:\n" + "\n".join(_error_lines(summary["errors"])))
    if summary["rejected"]:
        parts.append(_rejections(summary["rejected"]))
    shown = sample_predictions(report.rows, samples)
    if shown:
        parts.append("Samples, best to worst:\n" + "\n".join(_sample_lines(row) for row in shown))
    text = "\n\n".join(parts) + "\n"
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be printed


def baseline_verdict(summary: Mapping[str, Any]) -> str:
    """One sentence: better, worse or equal to the baseline, by how much, and whether that may be chance."""
    baseline = summary["baseline"]
    difference = baseline["difference"]["value"]
    if difference is None:
        return f"Not comparable with {baseline['name']}: there is no word error rate."
    if difference == 0:
        return f"No difference from {baseline['name']}."
    points = 100 * abs(difference)
    if baseline["worse"]:
        verdict = f"WORSE than {baseline['name']} by {points:.2f} points of WER"
    else:
        verdict = f"Better than {baseline['name']} by {points:.2f} points of WER"
        verdict += f" ({points / baseline['wer']:.0f} % fewer errors)"
    p_value = baseline["difference"]["p_value"]
    chance = "" if baseline["certain"] else "; this may be chance"
    return f"{verdict}{chance} ({p_text(p_value)}, sign-flip by {baseline['difference']['unit']})."


def _condition_rows(conditions: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The table of conditions with its head; what no condition has gets no column."""
    first = next(iter(conditions))
    compared = len(conditions) > 1
    timed = any(figures["rtf"] is not None for figures in conditions.values())
    columns = ["", "WER %", "interval", *([f"vs {first}"] if compared else []), "CER %", "sub", "del", "ins", "words"]
    rows = [[*columns, *(["RTF"] if timed else [])]]
    for name, figures in conditions.items():
        wer, difference = figures["wer"], figures["difference"]
        row = [name, _percent(wer["value"])]
        row.append("none" if wer["low"] is None else f"{100 * wer['low']:.2f} to {100 * wer['high']:.2f}")
        if compared:
            known = difference is not None and difference["value"] is not None
            row.append(f"{round(100 * difference['value'], 2) + 0.0:+.2f}" if known else "")
        row.append(_percent(figures["cer"]["value"]))
        row += [f"{figures[key]:,}" for key in ("substitutions", "deletions", "insertions", "words")]
        if timed:
            row.append("-" if figures["rtf"] is None else f"{figures['rtf']:.3f}")
        rows.append(row)
    return rows


def _findings(summary: Mapping[str, Any]) -> list[str]:
    """What is worth a sentence: speakers far apart, hallucinations, keywords, switches of language, late answers."""
    found = []
    spread = summary["speaker_distribution"]
    if spread is not None and spread["speakers"] > 1 and spread["worst"][0]["wer"]:
        worst = ", ".join(f"{row['speaker']} {_percent(row['wer'])} %" for row in spread["worst"][:3] if row["wer"])
        found.append(
            f"Worst of {spread['speakers']:,} speakers: {worst}; the median is {_percent(spread['median'])} %."
        )
    invented = summary["hallucinations"]
    kinds = {
        "insertion_runs": "with a run of insertions",
        "repetitions": "with repetitions",
        "on_empty": "with words where the reference has none",
        "speaking_rate": "with more characters than can be said in the time",
    }
    counts = [f"{invented[key]:,} {name}" for key, name in kinds.items() if invented[key]]
    if counts:
        found.append(f"Possible hallucinations, in utterances: {', '.join(counts)}.")
    keywords = summary["keywords"]
    if keywords is not None:
        found.append(
            f"Keywords: recall {_percent(keywords['recall'])} %, precision {_percent(keywords['precision'])} % "
            f"({keywords['hits']:,} of {keywords['count']:,}, {keywords['false_alarms']:,} false alarms)."
        )
    mixed = summary["code_switching"]
    if mixed is not None:
        found.append(
            f"Code-switching: switch-point F1 {_percent(mixed['switch_points']['0']['f1'])} % "
            f"({_percent(mixed['switch_points']['1']['f1'])} % within one word), "
            f"language accuracy {_percent(mixed['language_accuracy'])} %."
        )
    budget = summary["latency_budget"]
    if budget is not None:
        found.append(
            f"Within {budget['budget_ms']:g} ms: {_percent(budget['coverage'])} % of the answers, WER "
            f"{_percent(budget['wer_within'])} % on those, {_percent(budget['wer_late_as_deleted'])} % "
            f"with late answers as deletions."
        )
    return found


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.2f}"


def _conditions_line(summary: Mapping[str, Any]) -> str:
    wer = summary["wer"]
    words = [
        f"{summary['utterances']:,} utterance{'' if summary['utterances'] == 1 else 's'}",
        f"normaliser {summary['normalizer']['name']} {summary['normalizer']['version']}",
        f"alignment {summary['alignment']}, units {summary['units']}",
    ]
    if wer["method"] == "bootstrap":
        words.append(f"{100 * wer['confidence']:g} % interval over {wer['units']:,} {wer['unit']}s")
    if summary["latency_ms"]["p50"] is not None:
        latency = summary["latency_ms"]
        threads = (summary["timing"] or {}).get("threads")
        stated = "" if threads is None else f", {threads} thread{'' if threads == 1 else 's'}"
        words.append(f"latency {latency['p50']:.1f} ms (p95 {latency['p95']:.1f} ms{stated})")
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
