"""Two systems' results on the same utterances, side by side, whether they come from reports or from scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.errors.slices import SliceConfig, band_names
from harken.evaluation.report import EvaluationReport
from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.encode import EncodedTexts, Offsets, gather_runs
from harken.evaluation.scoring.lattice import CORRECT, DELETED, INSERTED, SUBSTITUTED, Codes
from harken.evaluation.scoring.metrics import Score
from harken.evaluation.statistics.intervals import BLOCKS

Counts = npt.NDArray[np.int64]
Labels = Sequence[str | None]
SIDES = ("baseline", "candidate")

_LETTERS = set("CSDI")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemResult:
    """One system's alignments (as in `CorpusAlignment`), the (utterances,) counts in them, its texts and its CER."""

    codes: Codes
    offsets: Offsets
    words: Counts
    substitutions: Counts
    deletions: Counts
    insertions: Counts
    hypotheses: Sequence[str]
    cer: float | None

    @property
    def errors(self) -> Counts:
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedScores:
    """Baseline and candidate on the same utterances, which are in the order of the baseline.

    `blocks` are the labels that tie utterances together ("speaker", "recording"), `dimensions` those of the parts of
    the set ("language", "duration", "tag:NAME"); each is (utterances,), None where there is no label. `conditions`
    are the same utterances under other conditions.
    """

    ids: Sequence[str]
    references: Sequence[str]
    baseline: SystemResult
    candidate: SystemResult
    normalizer: Mapping[str, str]
    alignment: str
    text_units: str
    blocks: Mapping[str, Labels]
    dimensions: Mapping[str, Labels]
    conditions: Mapping[str, "PairedScores"] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pair_reports(baseline: EvaluationReport, candidate: EvaluationReport) -> PairedScores:
    """Two reports as one pair. Conditions that only one of them has are named in `notes`.

    Raises InputError that names the first thing that keeps them from being compared (conditions, normaliser,
    alignment, units, ids, references), and for rows that are damaged.
    """
    both = [name for name in baseline.conditions if name in candidate.conditions]
    single = [name for name in (*baseline.conditions, *candidate.conditions) if name not in both]
    _check_conditions(baseline.summary.get("conditions") or {}, candidate.summary.get("conditions") or {})
    pair = _pair_rows(baseline, candidate)
    conditions = {name: _pair_rows(baseline.conditions[name], candidate.conditions[name], name) for name in both}
    notes = (f"Conditions in one of the reports only, left out: {', '.join(single)}.",) if single else ()
    return replace(pair, conditions=conditions, notes=notes)


def pair_scores(
    baseline: Score,
    candidate: Score,
    *,
    blocks: Mapping[str, Labels] | None = None,
    dimensions: Mapping[str, Labels] | None = None,
) -> PairedScores:
    """Two scores of the same references as one pair; labels are in the order of the baseline's ids.

    Raises InputError as `pair_reports` does, and for labels of another length.
    """
    _check_terms(
        [{"normalizer": s.normalizer, "alignment": s.alignment, "units": s.units} for s in (baseline, candidate)]
    )
    order = _order(baseline.ids, candidate.ids)
    references = [_texts(score.alignments, score.alignments.references) for score in (baseline, candidate)]
    if baseline.alternatives is None and candidate.alternatives is None:
        _check_references(baseline.ids, references[0], [references[1][row] for row in order])
    for name, labels in {**(blocks or {}), **(dimensions or {})}.items():
        if len(labels) != len(baseline.ids):
            raise InputError(f"{name}: {len(labels)} labels for {len(baseline.ids)} utterances; give one for each.")
    return PairedScores(
        ids=baseline.ids,
        references=references[0],
        baseline=_result_of(baseline, range(len(baseline.ids))),
        candidate=_result_of(candidate, order),
        normalizer=baseline.normalizer,
        alignment=baseline.alignment,
        text_units=baseline.units,
        blocks=blocks or {},
        dimensions=dimensions or {},
    )


# Reports


def _pair_rows(baseline: EvaluationReport, candidate: EvaluationReport, condition: str = "") -> PairedScores:
    where = f"Condition {condition}: " if condition else ""
    reports = (baseline, candidate)
    _check_terms([report.summary for report in reports], where)
    ids = [_texts_of(report, "id", side, where) for report, side in zip(reports, SIDES, strict=True)]
    order = _order(ids[0], ids[1], where)
    rows = [list(baseline.rows), [candidate.rows[row] for row in order]]
    references = [_texts_of(report, "reference", side, where) for report, side in zip(reports, SIDES, strict=True)]
    _check_references(ids[0], references[0], [references[1][row] for row in order], where)
    first = rows[0]
    return PairedScores(
        ids=ids[0],
        references=references[0],
        baseline=_read_rows(rows[0], baseline.summary, f"{where}In the baseline"),
        candidate=_read_rows(rows[1], candidate.summary, f"{where}In the candidate"),
        normalizer=baseline.summary["normalizer"],
        alignment=baseline.summary["alignment"],
        text_units=baseline.summary.get("units", "words"),
        blocks={name: [row.get(name) for row in first] for name in BLOCKS},
        dimensions=_dimensions(first),
    )


def _read_rows(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], where: str) -> SystemResult:
    letters: list[str] = [row.get("alignment", "?") for row in rows]
    for row, text in zip(rows, letters, strict=True):
        if not isinstance(text, str) or not _LETTERS.issuperset(text):
            raise _damaged(f"{where}, the alignment of {row['id']!r} is {text!r}, not letters C, S, D and I.")
    codes = np.frombuffer("".join(letters).encode("ascii"), dtype=np.uint8)
    lengths = np.fromiter(map(len, letters), np.int64, len(letters))
    hypotheses = [str(row.get("hypothesis", "")) for row in rows]
    result = _result(codes, lengths, hypotheses, (summary.get("cer") or {}).get("value"))
    for row, words in zip(rows, result.words.tolist(), strict=True):
        if row.get("words") != words:
            raise _damaged(f"{where}, {row['id']!r} states {row.get('words')} words and its alignment has {words}.")
    return result


def _damaged(what: str) -> InputError:
    return InputError(what, hint="Evaluate again; the report is damaged.")


def _texts_of(report: EvaluationReport, key: str, side: str, where: str) -> list[str]:
    values: list[str] = [row.get(key, None) for row in report.rows]
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise _damaged(f"{where}In the {side}, {key!r} of utterance {number} is {value!r}.")
    return values


def duration_bands() -> list[str]:
    """Names of the bands of duration, from short to long."""
    return band_names(SliceConfig().duration_edges_s, "s")


def _dimensions(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    """Labels of every row by language, duration band and tag; names of tags sorted."""
    edges = SliceConfig().duration_edges_s
    durations = np.array([row.get("duration_s") or np.nan for row in rows], dtype=np.float64)
    names = [*duration_bands(), None]
    bands = np.where(np.isnan(durations), len(edges) + 1, np.searchsorted(np.array(edges), durations, side="right"))
    found: dict[str, list[str | None]] = {
        "language": [row.get("language") for row in rows],
        "duration": [names[band] for band in bands.tolist()],
    }
    tags = [row.get("tags") or {} for row in rows]
    for name in sorted({name for tag in tags for name in tag}):
        found[f"tag:{name}"] = [tag.get(name) for tag in tags]
    return found


# Scores


def _result_of(score: Score, order: Sequence[int]) -> SystemResult:
    alignments = score.alignments
    lengths = np.diff(alignments.offsets)[list(order)]
    hypotheses = _texts(alignments, alignments.hypotheses)
    return _result(
        alignments.codes[gather_runs(alignments.offsets[list(order)], lengths)],
        lengths,
        [hypotheses[row] for row in order],
        score.cer,
    )


def _result(codes: Codes, lengths: Counts, hypotheses: Sequence[str], cer: float | None) -> SystemResult:
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))

    def count(*kinds: int) -> Counts:
        ends = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(np.isin(codes, kinds))))
        return np.diff(ends[offsets])

    return SystemResult(
        codes=codes,
        offsets=offsets,
        words=count(CORRECT, SUBSTITUTED, DELETED),
        substitutions=count(SUBSTITUTED),
        deletions=count(DELETED),
        insertions=count(INSERTED),
        hypotheses=hypotheses,
        cer=cer,
    )


def _texts(alignments: CorpusAlignment, texts: EncodedTexts) -> list[str]:
    words = [alignments.words[id_] for id_ in texts.ids.tolist()]
    offsets = texts.offsets.tolist()
    return [" ".join(words[start:end]) for start, end in pairwise(offsets)]


# Checks


def _check_terms(terms: Sequence[Mapping[str, Any]], where: str = "") -> None:
    for key, default in (("normalizer", None), ("alignment", None), ("units", "words")):
        ours, theirs = (term.get(key, default) for term in terms)
        if ours is None or theirs is None:
            side = SIDES[0] if ours is None else SIDES[1]
            raise _damaged(f"{where}The {side} does not state its {key}.")
        if ours != theirs:
            raise InputError(
                f"{where}The two cannot be compared: {key} is {_plain(ours)} in the baseline and {_plain(theirs)} in "
                "the candidate.",
                hint="Evaluate both alike.",
            )


def _check_conditions(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
    """The reports begin with the same condition, and a condition of both was made in the same way."""
    first, other = next(iter(baseline), None), next(iter(candidate), None)
    if first != other:
        raise InputError(
            f"The two cannot be compared: the first condition is {first} in the baseline and {other} in the candidate.",
            hint="Evaluate both alike.",
        )
    for name in baseline:
        made, otherwise = (side.get(name, {}).get("condition") for side in (baseline, candidate))
        if made and otherwise and made != otherwise:
            raise InputError(
                f"The two cannot be compared: condition {name} is {made} in the baseline and {otherwise} in the "
                "candidate.",
                hint="Evaluate both alike.",
            )


def _order(baseline: Sequence[str], candidate: Sequence[str], where: str = "") -> list[int]:
    """Row of the candidate for each row of the baseline."""
    places = [{id_: row for row, id_ in enumerate(ids)} for ids in (baseline, candidate)]
    for ids, place, side in zip((baseline, candidate), places, SIDES, strict=True):
        if len(place) < len(ids):
            twice = next(id_ for row, id_ in enumerate(ids) if place[id_] != row)
            raise _damaged(f"{where}The {side} has the id {twice!r} twice.")
    for ids, other, side in ((baseline, places[1], SIDES[0]), (candidate, places[0], SIDES[1])):
        lone = [id_ for id_ in ids if id_ not in other]
        if lone:
            rest = f" and {len(lone) - 1:,} more" if len(lone) > 1 else ""
            raise InputError(
                f"{where}The two cannot be compared: {lone[0]!r}{rest} is in the {side} only.",
                hint="Evaluate both on the same test set.",
            )
    return [places[1][id_] for id_ in baseline]


def _check_references(ids: Sequence[str], baseline: Sequence[str], candidate: Sequence[str], where: str = "") -> None:
    for id_, ours, theirs in zip(ids, baseline, candidate, strict=True):
        if ours != theirs:
            raise InputError(
                f"{where}The two cannot be compared: the reference of {id_!r} is {_short(ours)} in the baseline and "
                f"{_short(theirs)} in the candidate.",
                hint="Evaluate both on the same texts.",
            )


def _plain(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)


def _short(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else text[: most - 1] + "…")
