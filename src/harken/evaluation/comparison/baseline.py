"""What fine-tuning brought: a report beside the report of the model it began with."""

from dataclasses import replace

from harken.evaluation.comparison.comparison import compare
from harken.evaluation.comparison.config import ComparisonConfig
from harken.evaluation.report import EvaluationReport


def with_baseline(
    report: EvaluationReport, baseline: EvaluationReport, *, name: str = "untouched base model"
) -> EvaluationReport:
    """`report` with "baseline": the other's rates, and the difference with its interval and p-value.

    "worse" says that the WER rose, "certain" that this (or its fall) is beyond chance. Raises InputError where the two
    were not scored on the same utterances in the same way.
    """
    found = compare(baseline, report, config=ComparisonConfig(slices=(), changed=0))
    difference = found.difference
    certain = difference.p_value is not None and difference.p_value < 1 - difference.confidence
    block = {
        "name": name,
        "wer": found.baseline.wer,
        "cer": found.baseline.cer,
        "difference": {
            "value": difference.value,
            "low": difference.low,
            "high": difference.high,
            "p_value": difference.p_value,
            "unit": difference.unit,
            "units": difference.units,
            "note": difference.note,
        },
        "worse": difference.value is not None and difference.value > 0,
        "certain": certain,
    }
    return replace(report, summary={**report.summary, "baseline": block})
