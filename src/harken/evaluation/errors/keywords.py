"""Recall of the words that matter: names, products, commands, terms of a field."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import InputError
from harken.evaluation.errors.operations import Mask, Numbers, operations_of
from harken.evaluation.scoring.encode import EncodedTexts
from harken.evaluation.scoring.lattice import CORRECT
from harken.evaluation.scoring.metrics import Score
from harken.text import find_profile
from harken.text.segmentation import split_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """A word or phrase to look for, and the group it is counted in, such as "person" or "product"."""

    text: str
    group: str | None = None


def load_keywords(path: str | Path) -> list[Keyword]:
    """Keywords of a UTF-8 file: one per line, with a tab and a group behind it where there are groups.

    Blank lines are passed over. Raises InputError that names the file and the line, also for a file without keywords.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.", hint="Give a text file with one keyword per line.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read as UTF-8 text: {err}.") from err
    keywords = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        keyword, *group = (part.strip() for part in line.split("\t"))
        if not keyword or len(group) > 1 or group == [""]:
            raise InputError(
                f"{path}, line {number}: {line.strip()!r} is no keyword.",
                hint="Write 'keyword', or 'keyword<TAB>group'.",
            )
        keywords.append(Keyword(text=keyword, group=group[0] if group else None))
    if not keywords:
        raise InputError(f"{path} holds no keywords.", hint="Write one per line.")
    return keywords


def keyword_recall(score: Score, keywords: Sequence[Keyword | str]) -> dict[str, Any]:
    """How many of the keywords that were said were recognised, and how many were recognised that were not said.

    Keywords are normalised and cut into words as the score is. One is hit where the reference has it and all its words
    are correct. A false alarm is where the hypothesis has it and the reference, in the aligned place, has not.

    Returns {"recall", "precision", "count", "hits", "false_alarms", "groups", "words", "skipped"}. "words" has a row
    {"keyword", "group", ...} for each keyword, most missed first, "groups" the totals of each group. Rates are
    fractions, None where there is nothing to divide by; overlapping occurrences count each. "skipped" lists {"keyword",
    "reason"} for what is empty after normalisation or equal to an earlier keyword.

    Raises InputError for a single text in place of a list.
    """
    if isinstance(keywords, str):
        raise InputError("keywords is one text.", hint="Put it into a list, or load a file with load_keywords.")
    phrases, skipped = _phrases(score, keywords)
    alignment = score.alignments
    operations = operations_of(alignment)
    right = operations.codes == CORRECT
    sides = _Side.of(alignment.references), _Side.of(alignment.hypotheses)
    said_right = right[operations.reference >= 0]
    # (hypothesis words,) number of the reference word a correct one stands for
    stands_for = np.where(right, operations.place, -1)[operations.hypothesis >= 0]
    rows = []
    for keyword, ids in phrases:
        said, heard = (side.find(ids) for side in sides)
        hits = int(np.count_nonzero(said_right[said].all(axis=1)))
        span = stands_for[heard]
        expected = (span[:, :1] >= 0) & (span == span[:, :1] + np.arange(len(ids)))
        counts = {"count": len(said), "hits": hits, "false_alarms": int(np.count_nonzero(~expected.all(axis=1)))}
        rows.append({"keyword": keyword.text, "group": keyword.group, **counts, **_rates(counts)})
    groups = sorted({row["group"] for row in rows if row["group"] is not None})
    return {
        **_total(rows),
        "groups": {group: _total([row for row in rows if row["group"] == group]) for group in groups},
        "words": sorted(rows, key=lambda row: (row["hits"] - row["count"], -row["false_alarms"], row["keyword"])),
        "skipped": skipped,
    }


def _phrases(
    score: Score, keywords: Sequence[Keyword | str]
) -> tuple[list[tuple[Keyword, list[int]]], list[dict[str, str]]]:
    """Keywords with the ids of their words (-1 for a word that occurs nowhere), and those left out with the reason."""
    profile, mixed = find_profile(score.normalizer["name"]), score.alignments.units == "mixed"
    numbers = {word: number for number, word in enumerate(score.alignments.words)}
    seen: dict[tuple[str, ...], str] = {}
    phrases, skipped = [], []
    for given in keywords:
        keyword = Keyword(text=given) if isinstance(given, str) else given
        words = profile.function(keyword.text).split()
        units = tuple(unit for word in words for unit in (split_units(word) if mixed else [word]))
        if not units:
            reason = f"nothing is left of it under the normaliser {profile.name!r}"
        elif units in seen:
            reason = f"the same as {seen[units]!r} after normalisation"
        else:
            seen[units] = keyword.text
            phrases.append((keyword, [numbers.get(unit, -1) for unit in units]))
            continue
        skipped.append({"keyword": keyword.text, "reason": reason})
    return phrases, skipped


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The words of all references, or all hypotheses, with an index of where each word stands."""

    ids: Numbers
    utterance: Numbers
    order: Numbers
    starts: Numbers

    @classmethod
    def of(cls, texts: EncodedTexts) -> "_Side":
        ids = texts.ids.astype(np.int64)
        return cls(
            ids=ids,
            utterance=np.repeat(np.arange(len(texts)), texts.lengths),
            order=np.argsort(ids, kind="stable"),
            starts=np.concatenate(([0], np.cumsum(np.bincount(ids)))),
        )

    def find(self, phrase: Sequence[int]) -> Numbers:
        """(occurrences, words) places of a phrase, in order; none leaves its utterance."""
        size = len(phrase)
        if min(phrase) < 0 or max(phrase) >= len(self.starts) - 1:
            return np.zeros((0, size), dtype=np.int64)
        counts = [int(self.starts[id_ + 1] - self.starts[id_]) for id_ in phrase]
        rarest = counts.index(min(counts))
        first = self.starts[phrase[rarest]]
        begins = self.order[first : first + counts[rarest]] - rarest
        begins = begins[(begins >= 0) & (begins + size <= len(self.ids))]
        spans = begins[:, None] + np.arange(size)
        same: Mask = (self.ids[spans] == np.array(phrase)).all(axis=1)
        same &= self.utterance[spans[:, 0]] == self.utterance[spans[:, -1]]
        return spans[same]


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts = {key: sum(row[key] for row in rows) for key in ("count", "hits", "false_alarms")}
    return {**counts, **_rates(counts)}


def _rates(counts: dict[str, int]) -> dict[str, float | None]:
    count, hits, claimed = counts["count"], counts["hits"], counts["hits"] + counts["false_alarms"]
    return {"recall": hits / count if count else None, "precision": hits / claimed if claimed else None}
