"""Evaluation reports: what a model got right and wrong on a test set, as report.json and utterances.jsonl."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import InputError, Utterance
from harken.core.files import write_json, write_text
from harken.evaluation.metrics import Score, score
from harken.evaluation.statistics import bootstrap_interval, choose_units

REPORT = "report.json"
UTTERANCES = "utterances.jsonl"
MOST_ERRORS = 50
SHOWN_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFacts:
    """How fast a test set was recognised.

    `processing_s` is wall time for `audio_s` seconds of audio, warm-up excluded. `latencies_s` are of single
    utterances recognised one at a time, empty where that was not measured.
    """

    processing_s: float
    audio_s: float
    latencies_s: tuple[float, ...] = ()
    threads: int | None = None

    def as_json(self) -> dict[str, Any]:
        latency = None
        if self.latencies_s:
            p50, p95 = np.percentile(self.latencies_s, [50, 95]) * 1000
            latency = {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
        rtf = self.processing_s / self.audio_s if self.audio_s else None
        return {"rtf": rtf, "latency_ms": latency, "threads": self.threads}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypotheses:
    """What a system said: texts by utterance id, why some have none, and how fast it was."""

    texts: Mapping[str, str]
    failures: Mapping[str, str] = field(default_factory=dict)
    speed: SpeedFacts | None = None


def build_report(
    utterances: Sequence[Utterance],
    hypotheses: Hypotheses,
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
    samples: int = 1000,
    seed: int = 42,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of report.json, and the rows of utterances.jsonl, for one test set.

    Rates are fractions. An utterance whose recognition failed counts as recognised empty: its words are deletions, and
    it is named under `failures`. Raises InputError for an utterance without a reference.
    """
    without = [u.id for u in utterances if u.text is None]
    if without:
        raise InputError(
            f"{len(without)} utterances have no text, the first {without[0]!r}.",
            hint="Transcribe them or leave them out.",
        )
    references = {u.id: u.text or "" for u in utterances}
    texts = {u.id: hypotheses.texts[u.id] for u in utterances if u.id in hypotheses.texts}
    unexplained = [u.id for u in utterances if u.id not in texts and u.id not in hypotheses.failures]
    if unexplained:
        raise InputError(f"{len(unexplained)} utterances have no hypothesis, the first {unexplained[0]!r}.")
    result = score(references, texts, normalizer=normalizer, alignment=alignment, missing="deletions")
    rows = utterance_rows(utterances, result, hypotheses.failures)
    unit, units = choose_units(utterances)
    overall = _rates(result, None, unit, units, samples=samples, seed=seed)
    speed = hypotheses.speed.as_json() if hypotheses.speed else {"rtf": None, "latency_ms": None, "threads": None}
    report = {
        **overall,
        "sentence_error_rate": result.sentence_error_rate,
        "empty_hypotheses": result.empty_hypotheses,
        "insertions_on_empty": result.insertions_on_empty,
        **speed,
        "normalizer": dict(result.normalizer),
        "alignment": result.alignment,
        "conditions": {"clean": {key: overall[key] for key in ("wer", "cer", "words", "utterances")}},
        "speakers": _groups(result, [u.speaker for u in utterances], samples=samples, seed=seed),
        "languages": _groups(result, [u.language for u in utterances], samples=samples, seed=seed),
        "errors": frequent_errors(result),
        "failures": dict(hypotheses.failures),
        "utterance_file": UTTERANCES,
    }
    return report, rows


def write_report(folder: Path, report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write utterances.jsonl, then report.json, each all or nothing."""
    write_text(folder / UTTERANCES, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_json(folder / REPORT, report)


def read_report(path: Path) -> dict[str, Any]:
    """A report from its file or its folder. Raises InputError where it is absent or no report."""
    file = path / REPORT if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise InputError(f"{file} does not exist.", hint="Make it with harken evaluate --out.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{file} is not a report: {err}.") from err
    if not isinstance(data, dict) or "wer" not in data or "utterance_file" not in data:
        raise InputError(f"{file} is not a report of harken evaluate.")
    return data


def utterance_rows(utterances: Sequence[Utterance], result: Score, failures: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per utterance: texts, counts, the alignment as letters (C, S, D, I), speaker, duration."""
    counts, rows = result.counts, []
    for row, utterance in enumerate(utterances):
        operations = result.alignments.operations(row)
        rows.append(
            {
                "id": utterance.id,
                "speaker": utterance.speaker,
                "language": utterance.language,
                "duration_s": utterance.duration_s,
                "reference": " ".join(op.reference for op in operations if op.reference is not None),
                "hypothesis": " ".join(op.hypothesis for op in operations if op.hypothesis is not None),
                "alignment": result.alignments.letters(row),
                "words": int(counts.words[row]),
                "substitutions": int(counts.substitutions[row]),
                "deletions": int(counts.deletions[row]),
                "insertions": int(counts.insertions[row]),
                "wer": counts.rate(row),
                "failure": failures.get(utterance.id),
            }
        )
    return rows


def frequent_errors(result: Score, *, most: int = MOST_ERRORS) -> list[dict[str, Any]]:
    """The most frequent errors, each {kind, reference, hypothesis, count}, most frequent first."""
    found = Counter(
        (op.kind, op.reference, op.hypothesis)
        for row in np.flatnonzero(result.counts.errors).tolist()
        for op in result.alignments.operations(row)
        if op.kind != "C"
    )
    ordered = sorted(found.items(), key=lambda item: (-item[1], tuple(part or "" for part in item[0])))
    return [
        {"kind": kind, "reference": reference, "hypothesis": hypothesis, "count": count}
        for (kind, reference, hypothesis), count in ordered[:most]
    ]


def sample_predictions(rows: Sequence[Mapping[str, Any]], *, count: int = 5) -> list[Mapping[str, Any]]:
    """Rows to show a person: spread evenly from the best to the worst utterance, the same for the same rows."""
    ordered = sorted((row for row in rows if row["wer"] is not None), key=lambda row: (row["wer"], row["id"]))
    if len(ordered) <= count:
        return ordered
    return [ordered[place] for place in np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def format_report(
    report: Mapping[str, Any],
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    baseline: Mapping[str, Any] | None = None,
) -> str:
    """The report for a terminal. With the untouched model's report as `baseline`, it is the first row, and a model
    that is worse is called so.
    """
    lines = []
    if baseline is not None:
        lines.append(f"{'untouched base':<15}{_shown(baseline['wer'])}")
    lines += [f"{'WER':<15}{_shown(report['wer'])}", f"{'CER':<15}{_shown(report['cer'])}"]
    lines.append(
        f"{'words':<15}{report['words']} in {_utterances(report['utterances'])}: "
        f"{report['substitutions']} substituted, {report['deletions']} deleted, {report['insertions']} inserted"
    )
    if report["rtf"] is not None:
        lines.append(f"{'speed':<15}{report['rtf']:.4f} s of processing per second of audio (RTF)")
    if report["failures"]:
        lines.append(f"{'failed':<15}{_utterances(len(report['failures']))}, counted as deletions")
        lines += [f"  {id_}: {reason}" for id_, reason in list(report["failures"].items())[:SHOWN_FAILURES]]
    if len(report["speakers"]) > 1:
        worst = sorted(report["speakers"].items(), key=lambda item: -(item[1]["wer"]["value"] or 0))[:5]
        shown = ", ".join(f"{name} {_percent(entry['wer']['value'])}" for name, entry in worst)
        lines.append(f"{'speakers':<15}{len(report['speakers'])}; worst: {shown}")
    if report["errors"]:
        lines.append(f"{'errors':<15}" + ", ".join(_error_text(entry) for entry in report["errors"][:5]))
    for row in sample_predictions(rows):
        lines += [f"  {row['id']}", f"    reference   {row['reference']}", f"    hypothesis  {row['hypothesis']}"]
    if baseline is not None and (report["wer"]["value"] or 0) > (baseline["wer"]["value"] or 0):
        lines.append("WORSE than the untouched base model.")
    return "\n".join(lines)


def _rates(
    result: Score,
    chosen: np.ndarray[Any, Any] | None,
    unit: str,
    units: Sequence[str] | None,
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    counts = result.counts
    rows = np.arange(result.utterances) if chosen is None else chosen
    words, errors = counts.words[rows], counts.errors[rows]
    characters, character_errors = counts.characters[rows], counts.character_errors[rows]
    options: dict[str, Any] = {"unit": unit, "samples": samples, "seed": seed}
    return {
        "wer": _rate(errors, words, units, options),
        "cer": _rate(character_errors, characters, units, options),
        "words": int(words.sum()),
        "utterances": len(rows),
        "substitutions": int(counts.substitutions[rows].sum()),
        "deletions": int(counts.deletions[rows].sum()),
        "insertions": int(counts.insertions[rows].sum()),
    }


def _rate(errors: Any, totals: Any, units: Sequence[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    total = int(totals.sum())
    interval = bootstrap_interval(errors, totals, units, **options)
    return {
        "value": int(errors.sum()) / total if total else None,
        **interval.as_json(),
    }


def _groups(result: Score, labels: Sequence[str | None], *, samples: int, seed: int) -> dict[str, Any]:
    """Rates of each speaker or language; utterances without the label form no group."""
    names = np.array([label or "" for label in labels])
    return {
        str(name): _rates(result, np.flatnonzero(names == name), "utterance", None, samples=samples, seed=seed)
        for name in sorted(set(names.tolist()) - {""})
    }


def _utterances(count: int) -> str:
    return f"{count} utterance{'' if count == 1 else 's'}"


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.2f} %"


def _shown(rate: Mapping[str, Any]) -> str:
    if rate["low"] is None:
        return _percent(rate["value"])
    share = f"{100 * rate['confidence']:.0f} %"
    interval = f"{100 * rate['low']:.2f} to {100 * rate['high']:.2f}"
    return f"{_percent(rate['value'])}  ({share} interval {interval}, by {rate['unit']})"


def _error_text(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "S":
        what = f"{entry['reference']} -> {entry['hypothesis']}"
    else:
        what = f"{entry['reference'] or entry['hypothesis']} {'deleted' if entry['kind'] == 'D' else 'inserted'}"
    return f"{what} ({entry['count']})"
