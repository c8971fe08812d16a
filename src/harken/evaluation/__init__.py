"""Scoring: alignment, error rates, intervals, reports. Works on texts and on any `core.Recognizer`."""

from harken.evaluation.alignment import CorpusAlignment, Operation, align_characters, align_texts, align_words
from harken.evaluation.display import compare_with_baseline, format_report, sample_predictions
from harken.evaluation.metrics import Score, UtteranceCounts, score
from harken.evaluation.recognition import Recognition, RecognitionConfig, evaluate_recognizer, recognize_all
from harken.evaluation.report import (
    EvaluationReport,
    ReportConfig,
    Timing,
    build_report,
    read_report,
    write_report,
)
from harken.evaluation.statistics import Interval, bootstrap_interval, choose_units

__all__ = [
    "CorpusAlignment",
    "EvaluationReport",
    "Interval",
    "Operation",
    "Recognition",
    "RecognitionConfig",
    "ReportConfig",
    "Score",
    "Timing",
    "UtteranceCounts",
    "align_characters",
    "align_texts",
    "align_words",
    "bootstrap_interval",
    "build_report",
    "choose_units",
    "compare_with_baseline",
    "evaluate_recognizer",
    "format_report",
    "read_report",
    "recognize_all",
    "sample_predictions",
    "score",
    "write_report",
]
