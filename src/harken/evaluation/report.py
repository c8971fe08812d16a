"""The evaluation report: everything that is known about one recognizer on one test set.

Rates are fractions. A report is comparable with another one of the same utterances, normaliser, alignment and units
only, so it states all of them, together with the unit, the samples and the seed of its intervals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.core import InputError, Strict, Utterance
from harken.evaluation.code_switching.scoring import LabelledWords, label_references
from harken.evaluation.errors import ErrorAnalysis, ErrorAnalysisConfig, Keyword, analyze_errors
from harken.evaluation.latency import latency_constrained, latency_percentiles_ms
from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.encode import EncodedTexts
from harken.evaluation.scoring.lattice import COSTS
from harken.evaluation.scoring.metrics import Counts, Score, score
from harken.evaluation.statistics.intervals import Interval, bootstrap_interval, choose_units
from harken.text import profile_names
from harken.text.segmentation import UNITS, Units

if TYPE_CHECKING:
    from harken.text.languages import LanguageIdentifier

UTTERANCE_FILE = "utterances.jsonl"
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig(Strict):
    """How a report is made.

    Normalisation profile, alignment and what counts as a unit; samples, confidence and seed of the intervals; what the
    error analysis looks for; and the time within which an output has to arrive for the latency-constrained rates.
    """

    normalizer: str = "basic"
    alignment: str = "sclite"
    units: Units = "mixed"
    samples: int = 1000
    confidence: float = 0.95
    seed: int = 42
    latency_budget_ms: float | None = None
    errors: ErrorAnalysisConfig = field(default_factory=ErrorAnalysisConfig)

    def __post_init__(self) -> None:
        if self.normalizer not in profile_names():
            raise ValueError(f"normalizer is {self.normalizer!r}; use one of: {', '.join(profile_names())}")
        if self.alignment not in COSTS:
            raise ValueError(f"alignment is {self.alignment!r}; use one of: {', '.join(COSTS)}")
        if self.units not in UNITS:
            raise ValueError(f"units is {self.units!r}; use one of: {', '.join(UNITS)}")
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; use 1 or more")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; use a share between 0 and 1, such as 0.95")
        if self.latency_budget_ms is not None and not self.latency_budget_ms > 0:
            raise ValueError(f"latency_budget_ms is {self.latency_budget_ms}; use milliseconds above 0, such as 200")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long recognition took.

    `processing_s` is for `audio_s` seconds of audio in batches of up to `batch_size`, reading the audio not included.
    `latencies_s` holds the time of utterances recognised alone, by id. `threads` is what the recognizer ran with,
    `warm_up` how many untimed calls came first.
    """

    audio_s: float
    processing_s: float
    batch_size: int
    threads: int | None = None
    warm_up: int = 0
    latencies_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def rtf(self) -> float | None:
        """Real-time factor, processing time over audio time; None without audio."""
        return self.processing_s / self.audio_s if self.audio_s > 0 else None

    def latency_ms(self, percent: float) -> float | None:
        """A percentile of the latencies, in milliseconds; None where none was measured."""
        return latency_percentiles_ms(list(self.latencies_s.values()), (percent,))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is known besides the texts. Everything may be absent.

    `snr_db` is the signal-to-noise ratio measured per utterance id; `training_words` counts the words the model was
    trained on, normalised as the report is; `keywords` are those to look for; `identifier` tells the language of a word
    where the manifest does not; `model` and `test_set` say in plain values what was evaluated on what.
    """

    snr_db: Mapping[str, float | None] = field(default_factory=dict)
    training_words: Mapping[str, int] | None = None
    keywords: Sequence[Keyword] | None = None
    identifier: "LanguageIdentifier | None" = None
    model: Mapping[str, Any] | None = None
    test_set: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """`summary` is the content of `report.json`, `rows` the lines of `utterances.jsonl`.

    `conditions` holds a report of its own for every further condition; the summary and the rows here are those of the
    first, normally "clean".
    """

    summary: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    conditions: Mapping[str, "EvaluationReport"] = field(default_factory=dict)


def build_report(
    utterances: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    *,
    timing: Timing | None = None,
    rejected: Mapping[str, str] | None = None,
    condition: str = "clean",
    config: ReportConfig | None = None,
    background: Background | None = None,
    labelled: LabelledWords | None = None,
) -> EvaluationReport:
    """Score what was recognised and put everything about it into a report.

    `hypotheses` holds a text per utterance id. `rejected` names the utterances that could not be recognised, with the
    cause; they are listed in the report and score as recognised empty, so every word of theirs is a deletion.
    `labelled` is what `label_words_of` says of these utterances, for those who make several reports on them.

    Raises InputError for an utterance without a reference text, an id that occurs twice, an utterance that is neither
    recognised nor rejected, and a hypothesis that belongs to no utterance.
    """
    config, background, rejected = config or ReportConfig(), background or Background(), rejected or {}
    both = [id_ for id_ in rejected if id_ in hypotheses]
    if both:
        raise InputError(f"{both[0]!r} is rejected and has a hypothesis; it can only be one of them.")
    result = score(
        references_of(utterances),
        {**hypotheses, **dict.fromkeys(rejected, "")},
        normalizer=config.normalizer,
        alignment=config.alignment,
        units=config.units,
    )
    labelled = labelled or label_words_of(utterances, config, background)
    analysis = analyze_errors(
        result,
        utterances,
        config.errors,
        snr_db=background.snr_db,
        known_words=background.training_words,
        keywords=background.keywords,
        word_languages=None if labelled is None else labelled.tags,
    )
    figures = _figures(result, utterances, timing, config)
    slices = analysis.summary["slices"]
    summary = {
        **figures,
        "normalizer": dict(result.normalizer),
        "alignment": result.alignment,
        "units": result.units,
        "model": background.model,
        "test_set": background.test_set,
        "conditions": {condition: {**figures, "condition": None, "difference": None}},
        "speakers": slices.get("speaker", {}),
        "languages": slices.get("language", {}),
        **analysis.summary,
        "code_switching": None if labelled is None else labelled.summarize(result),
        "baseline": None,
        "latency_budget": _latency_budget(result, utterances, timing, config),
        "rejected": [{"id": id_, "cause": cause} for id_, cause in rejected.items()],
        "timing": _timing_facts(timing),
        "utterance_file": UTTERANCE_FILE,
    }
    rows = _rows(result, utterances, hypotheses, timing, rejected, analysis, background)
    return EvaluationReport(summary=summary, rows=rows)


def label_words_of(
    utterances: Sequence[Utterance], config: ReportConfig, background: Background
) -> LabelledWords | None:
    """The languages of the words that reports with these settings score; None where nothing tells them."""
    return label_references(utterances, background.identifier, normalizer=config.normalizer, units=config.units)


def references_of(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Reference texts by id. Raises InputError for an utterance without one and for an id that occurs twice."""
    silent = [u.id for u in utterances if u.text is None]
    if silent:
        raise InputError(
            f"{len(silent)} of {len(utterances)} utterances without a reference text, the first is {silent[0]!r}.",
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
    latencies = list(timing.latencies_s.values()) if timing else []
    return {
        "wer": {"value": result.wer, **wer, "note": result.reason or wer["note"]},
        "cer": {"value": result.cer, **asdict(interval(counts.character_errors, counts.characters))},
        "words": result.words,
        "characters": result.characters,
        "utterances": result.utterances,
        "audio_s": math.fsum(u.duration_s for u in utterances),
        "correct": result.correct,
        "substitutions": result.substitutions,
        "deletions": result.deletions,
        "insertions": result.insertions,
        "insertions_on_empty": result.insertions_on_empty,
        "empty_hypotheses": result.empty_hypotheses,
        "sentence_error_rate": result.sentence_error_rate,
        "rtf": timing.rtf if timing else None,
        "latency_ms": {
            **{name: timing.latency_ms(percent) if timing else None for name, percent in PERCENTILES.items()},
            "mean": 1000 * float(np.mean(latencies)) if latencies else None,
        },
    }


def _latency_budget(
    result: Score, utterances: Sequence[Utterance], timing: Timing | None, config: ReportConfig
) -> dict[str, Any] | None:
    if config.latency_budget_ms is None or timing is None:
        return None
    unit, labels = choose_units(utterances)
    silent = [u.id for u in utterances if u.id not in timing.latencies_s]
    return latency_constrained(
        result,
        timing.latencies_s,
        config.latency_budget_ms,
        unanswered=silent if timing.batch_size == 1 else (),
        units=labels,
        unit=unit,
        samples=config.samples,
        confidence=config.confidence,
        seed=config.seed,
    ).as_json()


def _timing_facts(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
    return {
        "audio_s": timing.audio_s,
        "processing_s": timing.processing_s,
        "batch_size": timing.batch_size,
        "threads": timing.threads,
        "warm_up": timing.warm_up,
        "latency_utterances": len(timing.latencies_s),
    }


def _rows(
    result: Score,
    utterances: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    timing: Timing | None,
    rejected: Mapping[str, str],
    analysis: ErrorAnalysis,
    background: Background,
) -> list[dict[str, Any]]:
    latencies = timing.latencies_s if timing else {}
    rows = []
    for index, utterance in enumerate(utterances):
        flags = list(analysis.flags[index])
        row: dict[str, Any] = {
            "id": utterance.id,
            "reference": _text(result.alignments, result.alignments.references, index),
            "hypothesis": _text(result.alignments, result.alignments.hypotheses, index),
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
            "recording": utterance.recording,
            "language": utterance.language,
            "tags": dict(utterance.tags),
            "snr_db": background.snr_db.get(utterance.id),
            "flags": [*flags, "rejected"] if utterance.id in rejected else flags,
        }
        for side, given in (("reference", utterance.text), ("hypothesis", hypotheses.get(utterance.id, ""))):
            if given != row[side]:
                row[f"{side}_raw"] = given  # before normalisation
        if utterance.id in rejected:
            row["rejected"] = rejected[utterance.id]
        rows.append(row)
    return rows


def _text(alignments: CorpusAlignment, texts: EncodedTexts, index: int) -> str:
    ids = texts.ids[texts.offsets[index] : texts.offsets[index + 1]]
    return " ".join(alignments.words[id_] for id_ in ids.tolist())
