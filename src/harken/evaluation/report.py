"""The evaluation report: `report.json` with the figures, `utterances.jsonl` with every utterance beside it.

Rates are fractions. A report is comparable with another one of the same utterances, normaliser and alignment only, so
it states all of them, together with the unit, the samples and the seed of its intervals.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import InputError, MissingPart, Strict, Utterance
from harken.core.files import replacing
from harken.evaluation.confusions import frequent_errors
from harken.evaluation.encode import EncodedTexts
from harken.evaluation.lattice import COSTS
from harken.evaluation.metrics import Counts, Score, score
from harken.evaluation.statistics import Interval, bootstrap_interval, choose_units
from harken.text import profile_names

REPORT_FILE = "report.json"
UTTERANCE_FILE = "utterances.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig(Strict):
    """How a report is made: normalisation profile, alignment, bootstrap, and how many frequent errors of each kind."""

    normalizer: str = "basic"
    alignment: str = "sclite"
    samples: int = 1000
    confidence: float = 0.95
    seed: int = 42
    frequent_errors: int = 20

    def __post_init__(self) -> None:
        if self.normalizer not in profile_names():
            raise ValueError(f"normalizer is {self.normalizer!r}; use one of: {', '.join(profile_names())}")
        if self.alignment not in COSTS:
            raise ValueError(f"alignment is {self.alignment!r}; use one of: {', '.join(COSTS)}")
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; use 1 or more")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; use a share between 0 and 1, such as 0.95")
        if self.frequent_errors < 0:
            raise ValueError(f"frequent_errors is {self.frequent_errors}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long recognition took.

    `processing_s` is for `audio_s` seconds of audio in batches of up to `batch_size`, reading the audio not included.
    `latencies_s` holds the time of utterances recognised alone, by id. `threads` is what the recognizer ran with.
    """

    audio_s: float
    processing_s: float
    batch_size: int
    threads: int | None = None
    latencies_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def rtf(self) -> float | None:
        """Real-time factor, processing time over audio time; None without audio."""
        return self.processing_s / self.audio_s if self.audio_s > 0 else None

    def latency_ms(self, percent: float) -> float | None:
        """A percentile of the latencies, in milliseconds; None where none was measured."""
        return 1000 * float(np.percentile(list(self.latencies_s.values()), percent)) if self.latencies_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """`summary` is the content of `report.json`, `rows` the lines of `utterances.jsonl`."""

    summary: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def build_report(
    utterances: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    *,
    timing: Timing | None = None,
    rejected: Mapping[str, str] | None = None,
    condition: str = "clean",
    config: ReportConfig | None = None,
) -> EvaluationReport:
    """Score what was recognised and put everything about it into a report.

    `hypotheses` holds a text per utterance id. `rejected` names the utterances that could not be recognised, with the
    cause; they are listed in the report and score as recognised empty, so every word of theirs is a deletion.

    Raises InputError for an utterance without a reference text, an id that occurs twice, an utterance that is neither
    recognised nor rejected, and a hypothesis that belongs to no utterance.
    """
    config = config or ReportConfig()
    rejected = rejected or {}
    both = [id_ for id_ in rejected if id_ in hypotheses]
    if both:
        raise InputError(f"{both[0]!r} is rejected and has a hypothesis; it can only be one of them.")
    result = score(
        references_of(utterances),
        {**hypotheses, **dict.fromkeys(rejected, "")},
        normalizer=config.normalizer,
        alignment=config.alignment,
    )
    figures = _figures(result, utterances, timing, config)
    summary = {
        **figures,
        "normalizer": dict(result.normalizer),
        "alignment": result.alignment,
        "conditions": {condition: figures},
        "speakers": _groups(result, [u.speaker for u in utterances]),
        "languages": _groups(result, [u.language for u in utterances]),
        "errors": frequent_errors(result.alignments, most=config.frequent_errors),
        "rejected": [{"id": id_, "cause": cause} for id_, cause in rejected.items()],
        "timing": _timing_facts(timing),
        "utterance_file": UTTERANCE_FILE,
    }
    return EvaluationReport(summary=summary, rows=_rows(result, utterances, hypotheses, timing, rejected))


def write_report(report: EvaluationReport, folder: Path) -> Path:
    """Write both files, each wholly or not at all; the path of `report.json`, which is written last."""
    folder = Path(folder)
    with replacing(folder / UTTERANCE_FILE) as file:
        for row in report.rows:
            file.write(_json_bytes(row))
    with replacing(folder / REPORT_FILE) as file:
        file.write(_json_bytes(report.summary, indent=2))
    return folder / REPORT_FILE


def read_report(folder: Path) -> EvaluationReport:
    """The report in a folder. Raises MissingPart when a file is absent, InputError when one is damaged."""
    summary = _load(Path(folder) / REPORT_FILE)
    if len(summary) != 1 or "utterance_file" not in summary[0]:
        raise InputError(f"{Path(folder) / REPORT_FILE} is not an evaluation report.")
    return EvaluationReport(summary=summary[0], rows=_load(Path(folder) / summary[0]["utterance_file"], lines=True))


def references_of(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Reference texts by id. Raises InputError for an utterance without one and for an id that occurs twice."""
    silent = [u.id for u in utterances if u.text is None]
    if silent:
        raise InputError(
            f"{len(silent)} of {len(utterances)} utterances have no reference text, the first is {silent[0]!r}.",
            hint="Leave them out of the test set, or add their texts.",
        )
    texts: dict[str, str] = {}
    for utterance in utterances:
        if utterance.id in texts:
            raise InputError(f"The id {utterance.id!r} occurs twice.", hint="Give every utterance a name of its own.")
        texts[utterance.id] = utterance.text or ""
    return texts


def _figures(
    result: Score, utterances: Sequence[Utterance], timing: Timing | None, config: ReportConfig
) -> dict[str, Any]:
    unit, labels = choose_units(utterances)

    def interval(errors: Counts, chances: Counts) -> Interval:
        return bootstrap_interval(
            errors,
            chances,
            labels,
            unit=unit,
            samples=config.samples,
            confidence=config.confidence,
            seed=config.seed,
        )

    counts = result.counts
    wer = asdict(interval(counts.errors, counts.words))
    return {
        "wer": {"value": result.wer, **wer, "note": result.reason or wer["note"]},
        "cer": {"value": result.cer, **asdict(interval(counts.character_errors, counts.characters))},
        "words": result.words,
        "characters": result.characters,
        "utterances": result.utterances,
        "audio_s": sum(u.duration_s for u in utterances),
        "correct": result.correct,
        "substitutions": result.substitutions,
        "deletions": result.deletions,
        "insertions": result.insertions,
        "insertions_on_empty": result.insertions_on_empty,
        "empty_hypotheses": result.empty_hypotheses,
        "sentence_error_rate": result.sentence_error_rate,
        "rtf": timing.rtf if timing else None,
        "latency_ms": {name: timing.latency_ms(p) if timing else None for name, p in (("p50", 50), ("p95", 95))},
    }


def _timing_facts(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
    return {
        "audio_s": timing.audio_s,
        "processing_s": timing.processing_s,
        "batch_size": timing.batch_size,
        "threads": timing.threads,
        "latency_utterances": len(timing.latencies_s),
    }


def _groups(result: Score, labels: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """Pooled WER, words and utterances by label, labels sorted; utterances without one are in no group."""
    names = sorted({label for label in labels if label is not None})
    numbers = {name: number for number, name in enumerate(names)}
    known = np.array([row for row, label in enumerate(labels) if label is not None], dtype=np.int64)
    group = np.array([numbers[label] for label in labels if label is not None], dtype=np.int64)
    sums = [np.zeros(len(names), dtype=np.int64) for _ in range(3)]
    for total, counts in zip(sums, (result.counts.words, result.counts.errors, np.ones_like(labels, int)), strict=True):
        np.add.at(total, group, counts[known])
    return {
        name: {"wer": errors / words if words else None, "words": words, "errors": errors, "utterances": utterances}
        for name, words, errors, utterances in zip(names, *(total.tolist() for total in sums), strict=True)
    }


def _rows(
    result: Score,
    utterances: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    timing: Timing | None,
    rejected: Mapping[str, str],
) -> list[dict[str, Any]]:
    latencies = timing.latencies_s if timing else {}
    rows = []
    for index, utterance in enumerate(utterances):
        row: dict[str, Any] = {
            "id": utterance.id,
            "reference": _text(result, result.alignments.references, index),
            "hypothesis": _text(result, result.alignments.hypotheses, index),
            "words": int(result.counts.words[index]),
            "substitutions": int(result.counts.substitutions[index]),
            "deletions": int(result.counts.deletions[index]),
            "insertions": int(result.counts.insertions[index]),
            "wer": result.counts.rate(index),
            "characters": int(result.counts.characters[index]),
            "character_errors": int(result.counts.character_errors[index]),
            "alignment": result.alignments.letters(index),
            "duration_s": utterance.duration_s,
            "latency_s": latencies.get(utterance.id),
            "speaker": utterance.speaker,
            "language": utterance.language,
        }
        for side, given in (("reference", utterance.text), ("hypothesis", hypotheses.get(utterance.id, ""))):
            if given != row[side]:
                row[f"{side}_raw"] = given  # before normalisation
        if utterance.id in rejected:
            row["rejected"] = rejected[utterance.id]
        rows.append(row)
    return rows


def _text(result: Score, texts: EncodedTexts, index: int) -> str:
    ids = texts.ids[texts.offsets[index] : texts.offsets[index + 1]]
    return " ".join(result.alignments.words[id_] for id_ in ids.tolist())


def _json_bytes(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes \udXXX, which JSON reads back


def _load(path: Path, *, lines: bool = False) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        # Not splitlines(): texts may hold U+2028 and other line separators of Unicode, which JSON leaves as they are.
        values = [json.loads(line) for line in text.split("\n") if line] if lines else [json.loads(text)]
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="Run an evaluation first.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{path} cannot be read: {err}.") from err
    if not all(isinstance(value, dict) for value in values):
        raise InputError(f"{path} does not hold JSON objects.")
    return values
