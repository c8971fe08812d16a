"""Comparing two systems on the same utterances: how much better or worse, whether it may be chance, and where.

The decision rests on the sign-flip test by speaker (see `significance`); the other tests are there because people ask
for them. Parts of the set are tested too, with p-values adjusted for how many there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.comparison.config import ENOUGH_BLOCKS, ComparisonConfig
from harken.evaluation.comparison.pairs import Labels, PairedScores, pair_reports, pair_scores
from harken.evaluation.comparison.slices import SliceComparison, SystemFigures, compare_slices, system_figures
from harken.evaluation.report import EvaluationReport
from harken.evaluation.scoring.metrics import Score
from harken.evaluation.statistics.intervals import pick_unit
from harken.evaluation.statistics.mapsswe import Mapsswe, mapsswe
from harken.evaluation.statistics.paired_tests import (
    PairedDifference,
    TTest,
    paired_bootstrap,
    paired_t_test,
    sign_flip_test,
)
from harken.evaluation.statistics.power import Detectable, minimum_detectable_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedUtterance:
    """An utterance on which the systems differ, by `change` word errors (above zero: the candidate makes more)."""

    id: str
    change: int
    words: int
    reference: str
    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate against baseline. Differences are fractions, candidate minus baseline.

    `difference` is that of the sign-flip test, on which verdicts rest; `bootstrap`, `mapsswe` (None where the systems
    were scored against different alternatives of a reference) and `t_test` are told beside it.
    """

    utterances: int
    normalizer: Mapping[str, str]
    alignment: str
    units: str
    """What the texts were cut into: "words", or "mixed"."""
    baseline: SystemFigures
    candidate: SystemFigures
    difference: PairedDifference
    bootstrap: PairedDifference
    mapsswe: Mapsswe | None
    t_test: TTest
    detectable: Detectable
    slices: tuple[SliceComparison, ...]
    improved: int
    worsened: int
    changed: tuple[ChangedUtterance, ...]
    """Those that changed most, half of them for the better, the worst first."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dictionaries and lists."""
        return asdict(self)


def compare(
    baseline: EvaluationReport, candidate: EvaluationReport, *, config: ComparisonConfig | None = None
) -> Comparison:
    """Compare two evaluation reports of the same test set.

    Raises InputError that names the first difference where the reports are not comparable: normaliser and version,
    alignment, units, ids, references; and for a slice that the reports do not have.
    """
    return compare_pair(pair_reports(baseline, candidate), config=config)


def compare_scores(
    baseline: Score,
    candidate: Score,
    units: Labels | None = None,
    *,
    slices: Mapping[str, Labels] | None = None,
    config: ComparisonConfig | None = None,
) -> Comparison:
    """Compare two scores of the same references.

    `units` names the speaker of each utterance, in the order of the baseline's ids. `slices` are labels of parts of
    the set, {dimension: (utterances,) labels, None where there is none}. Raises InputError as `compare` does.
    """
    blocks = {} if units is None else {"speaker": units}
    return compare_pair(pair_scores(baseline, candidate, blocks=blocks, dimensions=slices), config=config)


def set_resolution(
    report: EvaluationReport,
    *,
    correlations: Sequence[float] = (0.0, 0.5, 0.8),
    config: ComparisonConfig | None = None,
) -> tuple[Detectable, ...]:
    """How small a difference the test set of a report can show, before there is a second system.

    One answer for each assumed correlation of the two systems' errors; see `minimum_detectable_difference`.
    """
    pair = pair_reports(report, report)
    unit, labels, _ = _units(pair, config or ComparisonConfig())
    errors, words, _, _ = _counts(pair)
    return tuple(
        minimum_detectable_difference(errors, words, labels, correlation=correlation, unit=unit)
        for correlation in correlations
    )


def compare_pair(pair: PairedScores, *, config: ComparisonConfig | None = None) -> Comparison:
    """Compare the two systems of a pair."""
    config = config or ComparisonConfig()
    if not pair.ids:
        raise InputError("There are no utterances to compare.", hint="Evaluate on a test set that has some.")
    unit, labels, note = _units(pair, config)
    counts = _counts(pair)
    whole = np.arange(len(pair.ids))
    options: dict[str, Any] = {"unit": unit, "confidence": config.confidence, "seed": config.seed}
    slices, notes = compare_slices(pair, unit, labels, config)
    change = pair.candidate.errors - pair.baseline.errors
    return Comparison(
        utterances=len(pair.ids),
        normalizer=dict(pair.normalizer),
        alignment=pair.alignment,
        units=pair.text_units,
        baseline=system_figures(pair.baseline, whole, pair.baseline.cer),
        candidate=system_figures(pair.candidate, whole, pair.candidate.cer),
        difference=sign_flip_test(*counts, labels, samples=config.samples, **options),
        bootstrap=paired_bootstrap(*counts, labels, samples=config.bootstrap_samples, **options),
        mapsswe=_mapsswe(pair),
        t_test=paired_t_test(*counts),
        detectable=minimum_detectable_difference(*counts[:2], labels, other_errors=counts[2], unit=unit),
        slices=slices,
        improved=int(np.count_nonzero(change < 0)),
        worsened=int(np.count_nonzero(change > 0)),
        changed=_changed(pair, change, config.changed),
        notes=(*(text for text in (note,) if text), *pair.notes, *notes),
    )


Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _counts(pair: PairedScores) -> Columns:
    """(utterances,) errors and words of the baseline, then of the candidate, as the tests take them."""
    return pair.baseline.errors, pair.baseline.words, pair.candidate.errors, pair.candidate.words


def _units(pair: PairedScores, config: ComparisonConfig) -> tuple[str, list[str] | None, str]:
    """What is drawn, its labels, and what the reader has to know about the choice."""
    if config.unit == "utterance":
        return "utterance", None, ""
    if config.unit != "auto":
        unit, labels = pick_unit({config.unit: pair.blocks.get(config.unit, [None])})
        if labels is None:
            raise InputError(
                f"unit is {config.unit!r}, but not every utterance names its {config.unit}, or all name the same.",
                hint="Add it to the manifest and evaluate again, or use auto.",
            )
        return unit, labels, ""
    unit, labels = pick_unit(pair.blocks, fewest=ENOUGH_BLOCKS)
    return unit, labels, _why_not(pair.blocks, unit)


def _why_not(blocks: Mapping[str, Labels], unit: str) -> str:
    """Why a wider block than `unit` was not drawn, where its labels are known; "" where there is nothing to say."""
    for name, labels in blocks.items():
        if name == unit:
            break
        known = {label for label in labels if label is not None}
        if known and None in labels:
            return f"Not every utterance names its {name}, so {unit}s were drawn as if they were independent."
        if len(known) == 1:
            return f"There is one {name}, so {unit}s were drawn: the result holds for that {name}, not for others."
        if known:
            few = f"{len(known)} {name}s are too few to draw, so {unit}s were drawn"
            return f"{few}: the result holds for these {name}s, not for others."
    return ""


def _mapsswe(pair: PairedScores) -> Mapsswe | None:
    ours, theirs = pair.baseline, pair.candidate
    if not np.array_equal(ours.words, theirs.words):
        return None
    return mapsswe(ours.codes, ours.offsets, theirs.codes, theirs.offsets)


def _changed(pair: PairedScores, change: npt.NDArray[np.int64], most: int) -> tuple[ChangedUtterance, ...]:
    """Up to `most` that got worse, the worst first, then up to `most` that got better, the best last."""
    order = np.lexsort((np.arange(len(change)), -change)).tolist()
    worse = [row for row in order[:most] if change[row] > 0]
    better = [row for row in order[len(order) - min(most, len(order)) :] if change[row] < 0]
    words = pair.baseline.words
    return tuple(
        ChangedUtterance(
            id=pair.ids[row],
            change=int(change[row]),
            words=int(words[row]),
            reference=pair.references[row],
            baseline=pair.baseline.hypotheses[row],
            candidate=pair.candidate.hypotheses[row],
        )
        for row in (*worse, *better)
    )
