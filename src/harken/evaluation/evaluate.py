"""Evaluate a recognizer on a test set, as it is and under generated conditions."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harken.audio.quality import measure_quality
from harken.core import InputError, Recognizer, Utterance, Waveform
from harken.evaluation.comparison.config import ENOUGH_BLOCKS
from harken.evaluation.conditions import CLEAN, CONDITIONS, Condition, apply_condition
from harken.evaluation.recognition import LoadAudio, RecognitionConfig, recognize_all
from harken.evaluation.report import (
    Background,
    EvaluationReport,
    ReportConfig,
    build_report,
    label_words_of,
    references_of,
)
from harken.evaluation.statistics.intervals import BLOCKS, pick_unit
from harken.evaluation.statistics.paired_tests import sign_flip_test

Progress = Callable[[str, int, int], None]
"""Called with the condition, how many utterances are done, and how many there are."""


def evaluate_recognizer(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    conditions: Sequence[Condition] = (CONDITIONS[CLEAN],),
    recognition: RecognitionConfig | None = None,
    report: ReportConfig | None = None,
    background: Background | None = None,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Recognise `utterances` under every condition and report on the result.

    `load_audio` gives an utterance's waveform, (samples,) float32 in [-1, 1] at `recognizer.sample_rate_hz`; reading it
    and applying a condition are not timed. `threads` is stated in the report. An utterance that cannot be read or
    recognised is listed with its cause and scores as recognised empty. The first condition gives the headline; every
    other is compared with it, utterance by utterance.

    Raises InputError for an empty set or one without reference texts, and for labels of words that do not fit them,
    RunFailed when nothing can be recognised.
    """
    references_of(utterances)  # a set that cannot be scored is refused before any work
    if not conditions or len({condition.name for condition in conditions}) < len(conditions):
        raise InputError("The conditions are empty or name one twice.", hint="Name each condition once.")
    config, background = report or ReportConfig(), background or Background()
    facts = {condition.name: condition.facts(recognizer.sample_rate_hz) for condition in conditions}
    labelled = label_words_of(utterances, config, background)
    snr_db: dict[str, float | None] = {}

    def measured(utterance: Utterance) -> Waveform:
        waveform = load_audio(utterance)
        if utterance.id not in snr_db:  # it is read again to warm up and to measure its latency
            snr_db[utterance.id] = measure_quality(waveform, sample_rate_hz=recognizer.sample_rate_hz).snr_db
        return waveform

    reports = {}
    for number, condition in enumerate(conditions):
        result = recognize_all(
            recognizer,
            utterances,
            _under(condition, load_audio if number else measured, recognizer.sample_rate_hz, config.seed),
            config=recognition,
            threads=threads,
            clock=clock,
            progress=None if progress is None else _named(progress, condition.name),
        )
        reports[condition.name] = build_report(
            utterances,
            result.hypotheses,
            timing=result.timing,
            rejected=result.rejected,
            condition=condition.name,
            config=config,
            background=replace(background, snr_db={**snr_db, **background.snr_db}),
            labelled=labelled,
        )
    return join_conditions(reports, utterances, facts=facts, config=config)


def join_conditions(
    reports: Mapping[str, EvaluationReport],
    utterances: Sequence[Utterance],
    *,
    facts: Mapping[str, Mapping[str, Any]],
    config: ReportConfig,
) -> EvaluationReport:
    """One report whose table of conditions has a row for each of `reports`, every one compared with the first."""
    (first_name, first), *others = reports.items()
    table = {first_name: {**first.summary["conditions"][first_name], "condition": dict(facts[first_name])}}
    for name, other in others:
        row = other.summary["conditions"][name]
        difference = _difference(first, other, utterances, config)
        table[name] = {**row, "condition": dict(facts[name]), "difference": difference}
    parts = {
        name: replace(other, summary={**other.summary, "conditions": {name: table[name]}}) for name, other in others
    }
    return EvaluationReport(summary={**first.summary, "conditions": table}, rows=first.rows, conditions=parts)


def _difference(
    first: EvaluationReport, other: EvaluationReport, utterances: Sequence[Utterance], config: ReportConfig
) -> dict[str, Any]:
    """What a condition adds to the WER, paired by utterance and drawn as `compare` draws: by speaker where enough."""
    blocks = {name: [getattr(utterance, name) for utterance in utterances] for name in BLOCKS}
    unit, labels = pick_unit(blocks, fewest=ENOUGH_BLOCKS)
    words = np.array([row["words"] for row in first.rows], dtype=np.int64)
    errors, more_errors = (
        np.array([row["substitutions"] + row["deletions"] + row["insertions"] for row in report.rows], dtype=np.int64)
        for report in (first, other)
    )
    test = sign_flip_test(
        errors, words, more_errors, words, labels, unit=unit, confidence=config.confidence, seed=config.seed
    )
    return {
        "value": test.value,
        "low": test.low,
        "high": test.high,
        "p_value": test.p_value,
        "unit": test.unit,
        "units": test.units,
        "note": test.note,
    }


def _under(condition: Condition, load_audio: LoadAudio, sample_rate_hz: int, seed: int) -> LoadAudio:
    def load(utterance: Utterance) -> Waveform:
        return apply_condition(
            load_audio(utterance), condition, sample_rate_hz=sample_rate_hz, utterance_id=utterance.id, seed=seed
        )

    return load


def _named(progress: Progress, condition: str) -> Callable[[int, int], None]:
    return lambda done, of: progress(condition, done, of)
