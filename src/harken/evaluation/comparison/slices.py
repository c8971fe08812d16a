"""Comparing two systems on the parts of a test set: languages, durations, tags, conditions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.comparison.config import ComparisonConfig
from harken.evaluation.comparison.pairs import PairedScores, SystemResult, duration_bands
from harken.evaluation.statistics.paired_tests import PairedDifference, holm, sign_flip_test

_SWAPS_PER_PART = 200
"""So that the smallest p-value, times the number of parts, is at most half of the gate's 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFigures:
    """Totals of one system; rates are fractions, None without reference words."""

    wer: float | None
    cer: float | None
    errors: int
    substitutions: int
    deletions: int
    insertions: int
    words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceComparison:
    """One part of the set. `adjusted_p` and `adjusted_p_worse` are Holm's, over all parts; None without a test."""

    dimension: str
    label: str
    utterances: int
    baseline: SystemFigures
    candidate: SystemFigures
    difference: PairedDifference
    adjusted_p: float | None = None
    adjusted_p_worse: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    dimension: str
    label: str
    pair: PairedScores
    rows: npt.NDArray[np.int64]


def compare_slices(
    pair: PairedScores, unit: str, labels: list[str] | None, config: ComparisonConfig
) -> tuple[tuple[SliceComparison, ...], list[str]]:
    """Every part with its test, p-values adjusted over all of them; and notes about what was left out.

    `labels` are those of the `unit` that is drawn, (utterances,), or None to draw utterances. Raises InputError for a
    slice that the pair does not have.
    """
    parts, notes = _choose(pair, config)
    samples = max(config.samples, _SWAPS_PER_PART * len(parts))
    found = [_compare_part(part, pair, unit, labels, replace(config, samples=samples)) for part in parts]
    return _adjusted(found), notes


def system_figures(result: SystemResult, rows: npt.NDArray[np.int64], cer: float | None = None) -> SystemFigures:
    """Totals of a system over some of its utterances."""
    columns = (result.words, result.substitutions, result.deletions, result.insertions)
    words, substitutions, deletions, insertions = (int(column[rows].sum()) for column in columns)
    errors = substitutions + deletions + insertions
    return SystemFigures(
        wer=errors / words if words else None,
        cer=cer,
        errors=errors,
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        words=words,
    )


def _choose(pair: PairedScores, config: ComparisonConfig) -> tuple[list[_Part], list[str]]:
    """The parts to compare, and notes about dimensions left out."""
    parts: list[_Part] = []
    notes = []
    for dimension in _wanted(pair, config.slices):
        values = set(pair.dimensions[dimension])
        if len(values - {None}) > config.slice_values:
            count = len(values - {None})
            notes.append(f"{dimension} has {count:,} different labels, too many to compare one by one.")
        elif len(values) > 1 or "all" not in config.slices:  # one label for all would say again what the whole says
            parts += [
                _Part(dimension=dimension, label=label, pair=pair, rows=rows)
                for label, rows in _groups(pair, dimension)
            ]
    if "all" in config.slices or "condition" in config.slices:
        parts += [
            _Part(dimension="condition", label=name, pair=condition, rows=np.arange(len(condition.ids)))
            for name, condition in pair.conditions.items()
        ]
    return parts, notes


def _wanted(pair: PairedScores, names: Sequence[str]) -> list[str]:
    if "all" in names:
        return list(pair.dimensions)
    known = [*pair.dimensions, "condition", "all"]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"There is no slice {unknown[0]!r}.", hint=f"Use some of: {', '.join(known)}.")
    return [name for name in names if name != "condition"]


def _groups(pair: PairedScores, dimension: str) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Each label with its rows; bands of duration from short to long, other labels sorted."""
    bands = duration_bands()
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(pair.dimensions[dimension]):
        if label is not None:
            rows.setdefault(label, []).append(row)
    for label in sorted(rows, key=lambda name: (bands.index(name) if name in bands else len(bands), name)):
        yield label, np.array(rows[label], dtype=np.int64)


def _compare_part(
    part: _Part, whole: PairedScores, unit: str, labels: list[str] | None, config: ComparisonConfig
) -> SliceComparison:
    ours, theirs = part.pair.baseline, part.pair.candidate
    named = _labels_by_id(whole, part.pair, labels)
    return SliceComparison(
        dimension=part.dimension,
        label=part.label,
        utterances=len(part.rows),
        baseline=system_figures(ours, part.rows),
        candidate=system_figures(theirs, part.rows),
        difference=sign_flip_test(
            ours.errors[part.rows],
            ours.words[part.rows],
            theirs.errors[part.rows],
            theirs.words[part.rows],
            None if named is None else [named[row] for row in part.rows.tolist()],
            unit="utterance" if named is None else unit,
            samples=config.samples,
            confidence=config.confidence,
            seed=config.seed,
        ),
    )


def _labels_by_id(pair: PairedScores, condition: PairedScores, labels: list[str] | None) -> list[str] | None:
    if labels is None or condition.ids == pair.ids:
        return labels
    by_id = dict(zip(pair.ids, labels, strict=True))
    missing = [id_ for id_ in condition.ids if id_ not in by_id]
    return None if missing else [by_id[id_] for id_ in condition.ids]


def _adjusted(slices: Sequence[SliceComparison]) -> tuple[SliceComparison, ...]:
    tested = [part for part in slices if part.difference.p_value is not None]
    p_values = holm([part.difference.p_value or 0.0 for part in tested])
    p_worse = holm([part.difference.p_worse or 0.0 for part in tested])
    found = iter(zip(p_values, p_worse, strict=True))
    result = []
    for part in slices:
        if part.difference.p_value is not None:
            adjusted, worse = next(found)
            part = replace(part, adjusted_p=adjusted, adjusted_p_worse=worse)
        result.append(part)
    return tuple(result)
