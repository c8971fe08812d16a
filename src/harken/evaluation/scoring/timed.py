"""Word errors under a time constraint: a word can only be matched with one that was spoken at about the same time.

For recordings of minutes and hours, where a plain alignment may match a word with the same word a minute later. The
time-constrained word error rate of T. von Neumann et al., "MeetEval: A toolkit for computation of word error rates for
meeting transcription systems", CHiME 2023, computed by the package meeteval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harken.core import InputError, MissingPart, Segment, Word
from harken.evaluation.scoring.alignment import check_units
from harken.evaluation.scoring.metrics import WordErrors
from harken.text import Profile, find_profile, profile_identity
from harken.text.segmentation import Units, split_units

Timed = Sequence[Segment | Word]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedScore(WordErrors):
    """Word errors per recording under a time constraint; rates are fractions, None where there is nothing to divide by.

    Counts are (recordings,) in the order of `ids`, `errors` their sum, `wer` pooled over all of them. `version` is
    meeteval's, which did the matching.
    """

    ids: tuple[str, ...]
    collar_s: float
    normalizer: Mapping[str, str]
    units: Units
    version: str


def time_constrained(
    references: Mapping[str, Timed],
    hypotheses: Mapping[str, Timed],
    *,
    collar_s: float,
    normalizer: str = "basic",
    units: Units = "mixed",
) -> TimedScore:
    """Word errors where a match or a substitution needs words that overlap in time.

    Both sides are {recording: segments or words with times}, of one speaker or of several taken as one stream; order
    does not matter, they are sorted by their start. The words of a segment that has timed words are taken with their
    times; other segments are divided among their words in proportion to the letters. A hypothesis word is then a
    point in its middle, widened by `collar_s` to both sides, so that a word drawn out over a whole segment gains
    nothing. There is no good default for the collar: it has to cover the errors of the times on both sides, and 5 s
    are usual where segments are long.

    An empty hypothesis is a list without segments; one that is absent is an error. Insertions into an empty reference
    count. Needs the package meeteval.

    Raises MissingPart without that package; InputError for a recording that only one side has, for times that are
    not finite or run backwards, for a collar below 0, and for unknown names.
    """
    if not (math.isfinite(collar_s) and collar_s >= 0):
        raise InputError(f"collar_s is {collar_s}; use seconds, 0 or more (5 where only segments are timed).")
    check_units(units)
    profile = find_profile(normalizer)
    _check_recordings(references, hypotheses)
    meeteval = _load_meeteval()
    counts = []
    for id_, reference in references.items():
        sides = (
            _items(reference, profile, units, f"references: {id_!r}"),
            _items(hypotheses[id_], profile, units, f"hypotheses: {id_!r}"),
        )
        counts.append(_count(meeteval, *sides, collar_s))
    table = np.array(counts, dtype=np.int64).reshape(-1, 4)
    return TimedScore(
        ids=tuple(references),
        words=table[:, 0],
        substitutions=table[:, 1],
        deletions=table[:, 2],
        insertions=table[:, 3],
        collar_s=collar_s,
        normalizer=profile_identity(normalizer),
        units=units,
        version=_version(),
    )


def _load_meeteval() -> Any:
    try:
        import meeteval.wer
    except ImportError as err:
        raise MissingPart(
            "The time-constrained word error rate needs the package meeteval.", hint="pip install 'harken[eval]'"
        ) from err
    return meeteval


def _version() -> str:
    from importlib.metadata import version

    return version("meeteval")


def _check_recordings(references: Mapping[str, Timed], hypotheses: Mapping[str, Timed]) -> None:
    for side in (references, hypotheses):
        if not isinstance(side, Mapping):
            raise InputError("Give both sides as {recording: segments or words}.")
    absent, extra = set(references) - set(hypotheses), set(hypotheses) - set(references)
    if absent:
        raise InputError(f"{min(absent)!r} has no hypothesis.", hint="Give an empty list where nothing was recognised.")
    if extra:
        raise InputError(f"{min(extra)!r} has no reference.", hint="Score what is in this test set only.")


def _items(timed: Timed, profile: Profile, units: Units, where: str) -> list[dict[str, Any]]:
    """meeteval's segments; white space parts their units."""
    items = []
    for part in timed:
        if not isinstance(part, Segment | Word):
            raise InputError(f"{where} has a {type(part).__name__}; use Segment or Word.")
        for span in part.words or (part,) if isinstance(part, Segment) else (part,):
            if not (math.isfinite(span.start_s) and math.isfinite(span.end_s) and span.start_s <= span.end_s):
                raise InputError(
                    f"{where} has {span.text!r} from {span.start_s} s to {span.end_s} s.",
                    hint="Times are seconds, and an end is not before its start.",
                )
            words = profile.function(span.text).split()
            if units == "mixed":
                words = [unit for word in words for unit in split_units(word)]
            if words:
                items.append(
                    {"words": " ".join(words), "start_time": float(span.start_s), "end_time": float(span.end_s)}
                )
    return items


def _count(
    meeteval: Any, reference: list[dict[str, Any]], hypothesis: list[dict[str, Any]], collar_s: float
) -> tuple[int, int, int, int]:
    """Words, substitutions, deletions, insertions."""
    sizes = [sum(len(item["words"].split()) for item in side) for side in (reference, hypothesis)]
    if not reference or not hypothesis:  # meeteval takes no empty side
        return sizes[0], 0, sizes[0], sizes[1]
    found = meeteval.wer.time_constrained_siso_word_error_rate(
        meeteval.io.SegLST(reference), meeteval.io.SegLST(hypothesis), collar=collar_s
    )
    return sizes[0], found.substitutions, found.deletions, found.insertions
