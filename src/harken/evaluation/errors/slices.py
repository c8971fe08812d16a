"""Error rates of parts of a test set: by speaker, language, duration, noise and every tag of the manifest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Strict, Utterance
from harken.evaluation.errors.intervals import group_intervals
from harken.evaluation.errors.operations import Numbers, check_order
from harken.evaluation.scoring.metrics import Score
from harken.evaluation.statistics.intervals import Interval

Groups = dict[str, dict[str, Any]]

_INTERVAL_FIELDS = [field.name for field in fields(Interval)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceConfig(Strict):
    """How a test set is cut into groups, and the intervals of their rates.

    Edges part bands, the lower one included: durations in seconds, signal-to-noise ratios in dB. A tag with more than
    `tag_values` values names utterances rather than groups and is left out.
    """

    duration_edges_s: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)
    snr_edges_db: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)
    tag_values: int = 1000
    samples: int = 1000
    confidence: float = 0.95
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("duration_edges_s", "snr_edges_db"):
            edges = getattr(self, name)
            if not edges or list(edges) != sorted(set(edges)) or not np.all(np.isfinite(edges)):
                raise ValueError(f"{name} is {edges}; use one or more rising numbers")
        for name in ("tag_values", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; use a share between 0 and 1, such as 0.95")


def slice_groups(
    score: Score,
    utterances: Sequence[Utterance],
    config: SliceConfig | None = None,
    *,
    snr_db: Mapping[str, float | None] | None = None,
) -> dict[str, Groups]:
    """{dimension: {label: group}}; dimensions are "speaker", "language", "duration", "snr" and "tag:NAME".

    A group is {"wer": {"value", "low", "high", "unit", ...}, "words", "errors", "substitutions", "deletions",
    "insertions", "utterances"}. Speakers are drawn for its interval where its utterances all name one and there are two
    or more, else utterances. Utterances without a label are in no group of that dimension, and a dimension without
    labels is absent. `snr_db` holds the measured ratios by utterance id. Bands come in rising order, other labels
    sorted.

    Raises InputError unless `utterances` are the scored ones in the scored order, and for a ratio that is not finite.
    """
    check_order(score, utterances)
    config = config or SliceConfig()
    speaker = _number([utterance.speaker for utterance in utterances])[0]
    return {
        dimension: _groups(score, labels, group, speaker, config)
        for dimension, labels, group in _dimensions(utterances, snr_db or {}, config)
        if labels
    }


def large_tags(utterances: Sequence[Utterance], config: SliceConfig | None = None) -> list[dict[str, Any]]:
    """Tags that `slice_groups` leaves out: {"dimension", "values", "reason"}."""
    config = config or SliceConfig()
    return [
        {
            "dimension": f"tag:{name}",
            "values": values,
            "reason": f"more than {config.tag_values} different values",
        }
        for name, values in _tag_sizes(utterances).items()
        if values > config.tag_values
    ]


def speaker_distribution(groups: Groups, *, most: int = 10) -> dict[str, Any] | None:
    """How the rates of speakers spread, from the groups of the dimension "speaker".

    {"speakers", "without_words", "min", "q1", "median", "q3", "max", "mean", "worst"}: rates are fractions, each
    speaker counts once however much was said, and "worst" lists the `most` speakers of highest rate as {"speaker",
    "wer", "words"}. None where no speaker has words.
    """
    rated = [(group["wer"]["value"], name, group["words"]) for name, group in groups.items() if group["words"]]
    if not rated:
        return None
    rates = np.array([rate for rate, _, _ in rated])
    edges = np.quantile(rates, [0, 0.25, 0.5, 0.75, 1]).tolist()
    worst = sorted(rated, key=lambda item: (-item[0], -item[2], item[1]))[:most]
    return {
        "speakers": len(rated),
        "without_words": len(groups) - len(rated),
        **dict(zip(("min", "q1", "median", "q3", "max"), edges, strict=True)),
        "mean": float(rates.mean()),
        "worst": [{"speaker": name, "wer": rate, "words": words} for rate, name, words in worst],
    }


def band_names(edges: Sequence[float], unit: str) -> list[str]:
    """Names of the bands that `edges` part, such as "under 2 s", "2 to 5 s", "5 s or more"."""
    shown = [f"{edge:g}" for edge in edges]
    between = [f"{low} to {high} {unit}" for low, high in pairwise(shown)]
    return [f"under {shown[0]} {unit}", *between, f"{shown[-1]} {unit} or more"]


def _dimensions(
    utterances: Sequence[Utterance], snr_db: Mapping[str, float | None], config: SliceConfig
) -> Iterator[tuple[str, list[str], Numbers]]:
    """(dimension, labels in order, (utterances,) number of each utterance's label, -1 without one)."""
    for name in ("speaker", "language"):
        group, labels = _number([getattr(utterance, name) for utterance in utterances])
        yield name, labels, group
    durations = np.array([utterance.duration_s for utterance in utterances], dtype=np.float64)
    yield "duration", *_bands(durations, config.duration_edges_s, "s")
    yield "snr", *_bands(_ratios(utterances, snr_db), config.snr_edges_db, "dB")
    for name, values in _tag_sizes(utterances).items():
        if values <= config.tag_values:
            group, labels = _number([utterance.tags.get(name) for utterance in utterances])
            yield f"tag:{name}", labels, group


def _tag_sizes(utterances: Sequence[Utterance]) -> dict[str, int]:
    """Different values of each tag, names sorted."""
    values: dict[str, set[str]] = {}
    for utterance in utterances:
        for name, value in utterance.tags.items():
            values.setdefault(name, set()).add(value)
    return {name: len(values[name]) for name in sorted(values)}


def _number(labels: Sequence[str | None]) -> tuple[Numbers, list[str]]:
    """(labels,) number of each label among the sorted ones, -1 for None; and those labels."""
    names = sorted({label for label in labels if label is not None})
    numbers: dict[str | None, int] = {None: -1, **{name: number for number, name in enumerate(names)}}
    return np.fromiter(map(numbers.__getitem__, labels), np.int64, len(labels)), names


def _ratios(utterances: Sequence[Utterance], snr_db: Mapping[str, float | None]) -> npt.NDArray[np.float64]:
    ratios = np.full(len(utterances), np.nan)
    for row, utterance in enumerate(utterances):
        ratio = snr_db.get(utterance.id)
        if ratio is None:
            continue
        if not np.isfinite(ratio):
            raise InputError(f"The signal-to-noise ratio of {utterance.id!r} is {ratio}; use dB, or None.")
        ratios[row] = ratio
    return ratios


def _bands(values: npt.NDArray[np.float64], edges: Sequence[float], unit: str) -> tuple[list[str], Numbers]:
    """Names of the bands that hold a value, and the number of each value's band among them; NaN is in none."""
    band = np.where(np.isnan(values), -1, np.searchsorted(np.array(edges), values, side="right"))
    used = np.unique(band[band >= 0])
    numbers = np.full(len(edges) + 2, -1, dtype=np.int64)  # the last is what -1 looks up
    numbers[used] = np.arange(len(used))
    names = band_names(edges, unit)
    return [names[number] for number in used.tolist()], numbers[band]


def _groups(score: Score, labels: Sequence[str], group: Numbers, speaker: Numbers, config: SliceConfig) -> Groups:
    inside = np.flatnonzero(group >= 0)
    counts = score.counts
    columns = {
        "words": counts.words,
        "errors": counts.errors,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "utterances": np.ones_like(counts.words),
    }
    sums = {name: _sum(column[inside], group[inside], len(labels)).tolist() for name, column in columns.items()}
    unit_group, unit, units = _units(group[inside], speaker[inside], len(labels))
    intervals = group_intervals(
        _sum(counts.errors[inside], unit, len(unit_group)),
        _sum(counts.words[inside], unit, len(unit_group)),
        unit_group,
        units,
        samples=config.samples,
        confidence=config.confidence,
        seed=config.seed,
    )
    groups = {}
    for number, (label, interval) in enumerate(zip(labels, intervals, strict=True)):
        figures = {name: values[number] for name, values in sums.items()}
        rate = figures["errors"] / figures["words"] if figures["words"] else None
        groups[label] = {
            "wer": {"value": rate, **{name: getattr(interval, name) for name in _INTERVAL_FIELDS}},
            **figures,
        }
    return groups


def _units(group: Numbers, speaker: Numbers, groups: int) -> tuple[Numbers, Numbers, list[str]]:
    """(units,) group of each unit; (utterances,) unit of each utterance; (groups,) what the units of a group are.

    Speakers are units of a group that has two or more of them and no utterance without one.
    """
    known = speaker >= 0
    width = int(speaker.max(initial=-1)) + 1
    pairs = np.unique(group[known] * width + speaker[known])
    speakers = np.bincount(pairs // width, minlength=groups) if len(pairs) else np.zeros(groups, dtype=np.int64)
    all_known = np.bincount(group[~known], minlength=groups) == 0
    by_speaker = (speakers >= 2) & all_known
    # One number per unit: speakers first, then utterances by their row.
    own = groups * width + np.arange(len(group))
    keys, unit = np.unique(np.where(by_speaker[group], group * width + speaker, own), return_inverse=True)
    unit_group = np.zeros(len(keys), dtype=np.int64)
    unit_group[unit] = group
    return unit_group, unit, ["speaker" if whole else "utterance" for whole in by_speaker.tolist()]


def _sum(values: Numbers, group: Numbers, groups: int) -> Numbers:
    # Sums of doubles are exact up to 2**53.
    return np.bincount(group, weights=values, minlength=groups).astype(np.int64)
