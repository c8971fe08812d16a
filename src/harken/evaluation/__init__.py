"""Floor 3: scoring, significance, comparison, conditions, error analysis and reports, of texts and of recognizers.

Names are looked up in their modules on first use, so that importing this room costs next to nothing.
"""

from typing import TYPE_CHECKING

from harken.core.lazy import lazy_names

if TYPE_CHECKING:
    from harken.evaluation.code_switching.scoring import (
        CodeSwitchingScore,
        code_switching_summary,
        score_code_switching,
    )
    from harken.evaluation.code_switching.switch_points import SwitchPoint, switch_points
    from harken.evaluation.code_switching.word_languages import labels_of
    from harken.evaluation.comparison.baseline import with_baseline
    from harken.evaluation.comparison.comparison import Comparison, compare, compare_scores, set_resolution
    from harken.evaluation.comparison.config import ComparisonConfig
    from harken.evaluation.comparison.display import format_comparison, format_markdown
    from harken.evaluation.comparison.gate import GateConfig, GateResult, judge
    from harken.evaluation.comparison.slices import SliceComparison, SystemFigures
    from harken.evaluation.conditions import CONDITIONS, Condition, apply_condition, find_conditions, read_conditions
    from harken.evaluation.display import format_report, sample_predictions
    from harken.evaluation.errors import (
        ErrorAnalysis,
        ErrorAnalysisConfig,
        HallucinationConfig,
        Keyword,
        SliceConfig,
        analyze_errors,
        export_hardest,
        frequent_errors,
        hallucinations,
        hardest,
        keyword_recall,
        load_keywords,
        phoneme_confusions,
        slice_groups,
        vocabulary_accuracy,
    )
    from harken.evaluation.evaluate import evaluate_recognizer, join_conditions
    from harken.evaluation.latency import LatencyBudget, LatencySummary, latency_constrained, latency_summary
    from harken.evaluation.modes import Answer, Mode, ModeResult, batch_mode, compare_modes, format_modes, single_mode
    from harken.evaluation.page import Clip, write_figures, write_page
    from harken.evaluation.publish import publish_report
    from harken.evaluation.recognition import Recognition, RecognitionConfig, recognize_all
    from harken.evaluation.report import Background, EvaluationReport, ReportConfig, Timing, build_report
    from harken.evaluation.report_files import read_report, write_report
    from harken.evaluation.scoring.alignment import (
        CorpusAlignment,
        Operation,
        align_characters,
        align_texts,
        align_words,
    )
    from harken.evaluation.scoring.hypotheses import read_hypotheses
    from harken.evaluation.scoring.metrics import Score, UtteranceCounts, score, score_systems
    from harken.evaluation.scoring.timed import TimedScore, time_constrained
    from harken.evaluation.statistics.intervals import Interval, bootstrap_interval, choose_units
    from harken.evaluation.statistics.mapsswe import Mapsswe, mapsswe
    from harken.evaluation.statistics.paired_tests import (
        PairedDifference,
        TTest,
        holm,
        paired_bootstrap,
        paired_t_test,
        sign_flip_test,
    )
    from harken.evaluation.statistics.power import Detectable, SampleSize, minimum_detectable_difference
    from harken.evaluation.streaming import Heard, listen, single_pass_times, stream_mode, with_single_pass_texts
    from harken.evaluation.word_latency import HeardWord, WordLatencies, word_latencies

_HOMES = {
    "streaming": ("Heard", "listen", "single_pass_times", "stream_mode", "with_single_pass_texts"),
    "word_latency": ("HeardWord", "WordLatencies", "word_latencies"),
    "scoring.alignment": (
        "CorpusAlignment",
        "Operation",
        "align_characters",
        "align_texts",
        "align_words",
    ),
    "scoring.metrics": (
        "Score",
        "UtteranceCounts",
        "score",
        "score_systems",
    ),
    "scoring.timed": (
        "TimedScore",
        "time_constrained",
    ),
    "scoring.hypotheses": ("read_hypotheses",),
    "statistics.intervals": (
        "Interval",
        "bootstrap_interval",
        "choose_units",
    ),
    "statistics.paired_tests": (
        "PairedDifference",
        "TTest",
        "holm",
        "paired_bootstrap",
        "paired_t_test",
        "sign_flip_test",
    ),
    "statistics.mapsswe": (
        "Mapsswe",
        "mapsswe",
    ),
    "statistics.power": (
        "Detectable",
        "SampleSize",
        "minimum_detectable_difference",
    ),
    "comparison.config": ("ComparisonConfig",),
    "comparison.comparison": (
        "Comparison",
        "compare",
        "compare_scores",
        "set_resolution",
    ),
    "comparison.slices": (
        "SliceComparison",
        "SystemFigures",
    ),
    "comparison.gate": (
        "GateConfig",
        "GateResult",
        "judge",
    ),
    "comparison.baseline": ("with_baseline",),
    "comparison.display": (
        "format_comparison",
        "format_markdown",
    ),
    "conditions": (
        "CONDITIONS",
        "Condition",
        "apply_condition",
        "find_conditions",
        "read_conditions",
    ),
    "code_switching.scoring": (
        "CodeSwitchingScore",
        "code_switching_summary",
        "score_code_switching",
    ),
    "code_switching.switch_points": (
        "SwitchPoint",
        "switch_points",
    ),
    "code_switching.word_languages": ("labels_of",),
    "errors": (
        "ErrorAnalysis",
        "ErrorAnalysisConfig",
        "HallucinationConfig",
        "Keyword",
        "SliceConfig",
        "analyze_errors",
        "export_hardest",
        "frequent_errors",
        "hallucinations",
        "hardest",
        "keyword_recall",
        "load_keywords",
        "phoneme_confusions",
        "slice_groups",
        "vocabulary_accuracy",
    ),
    "latency": (
        "LatencyBudget",
        "LatencySummary",
        "latency_constrained",
        "latency_summary",
    ),
    "modes": (
        "Answer",
        "Mode",
        "ModeResult",
        "batch_mode",
        "compare_modes",
        "format_modes",
        "single_mode",
    ),
    "recognition": (
        "Recognition",
        "RecognitionConfig",
        "recognize_all",
    ),
    "evaluate": (
        "evaluate_recognizer",
        "join_conditions",
    ),
    "report": (
        "Background",
        "EvaluationReport",
        "ReportConfig",
        "Timing",
        "build_report",
    ),
    "report_files": (
        "read_report",
        "write_report",
    ),
    "page": (
        "Clip",
        "write_figures",
        "write_page",
    ),
    "publish": ("publish_report",),
    "display": (
        "format_report",
        "sample_predictions",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Background",
    "CONDITIONS",
    "Clip",
    "CodeSwitchingScore",
    "Comparison",
    "ComparisonConfig",
    "Condition",
    "CorpusAlignment",
    "Detectable",
    "ErrorAnalysis",
    "ErrorAnalysisConfig",
    "EvaluationReport",
    "GateConfig",
    "GateResult",
    "HallucinationConfig",
    "Heard",
    "HeardWord",
    "Interval",
    "Keyword",
    "LatencyBudget",
    "LatencySummary",
    "Mapsswe",
    "Mode",
    "ModeResult",
    "Operation",
    "PairedDifference",
    "Recognition",
    "RecognitionConfig",
    "ReportConfig",
    "SampleSize",
    "Score",
    "SliceComparison",
    "SliceConfig",
    "SwitchPoint",
    "SystemFigures",
    "TTest",
    "TimedScore",
    "Timing",
    "UtteranceCounts",
    "WordLatencies",
    "align_characters",
    "align_texts",
    "align_words",
    "analyze_errors",
    "apply_condition",
    "batch_mode",
    "bootstrap_interval",
    "build_report",
    "choose_units",
    "code_switching_summary",
    "compare",
    "compare_modes",
    "compare_scores",
    "evaluate_recognizer",
    "export_hardest",
    "find_conditions",
    "format_comparison",
    "format_markdown",
    "format_modes",
    "format_report",
    "frequent_errors",
    "hallucinations",
    "hardest",
    "holm",
    "join_conditions",
    "judge",
    "keyword_recall",
    "labels_of",
    "latency_constrained",
    "latency_summary",
    "listen",
    "load_keywords",
    "mapsswe",
    "minimum_detectable_difference",
    "paired_bootstrap",
    "paired_t_test",
    "phoneme_confusions",
    "publish_report",
    "read_conditions",
    "read_hypotheses",
    "read_report",
    "recognize_all",
    "sample_predictions",
    "score",
    "score_code_switching",
    "score_systems",
    "set_resolution",
    "sign_flip_test",
    "single_mode",
    "single_pass_times",
    "slice_groups",
    "stream_mode",
    "switch_points",
    "time_constrained",
    "vocabulary_accuracy",
    "with_baseline",
    "with_single_pass_texts",
    "word_latencies",
    "write_figures",
    "write_page",
    "write_report",
]


__getattr__ = lazy_names(__name__, _HOME_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
