"""Word and character error rates of a test set.

WER is pooled: all errors over all reference words, so a long utterance weighs more than a short one. Insertions into
an empty reference count as errors of the whole; such an utterance has no rate of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.alignment import CorpusAlignment, align_texts
from harken.evaluation.characters import character_errors, count_characters
from harken.evaluation.lattice import DELETED, INSERTED, SUBSTITUTED
from harken.text import profile_identity

Texts = Mapping[str, str] | Sequence[str] | Sequence[tuple[str, str]]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UtteranceCounts:
    """(utterances,) arrays of counts, in the order of the references."""

    words: Counts
    substitutions: Counts
    deletions: Counts
    insertions: Counts
    characters: Counts
    character_errors: Counts

    @property
    def errors(self) -> Counts:
        """(utterances,) word errors."""
        return self.substitutions + self.deletions + self.insertions

    def rate(self, row: int) -> float | None:
        """Word error rate of one utterance; None where its reference has no words."""
        words = int(self.words[row])
        return int(self.errors[row]) / words if words else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """Error counts and rates of a test set, with the normaliser and the alignment they were taken under.

    Rates are fractions (0.1 is ten percent; insertions can bring them above 1) and None where there is nothing to
    divide by. `ids` and the rows of `counts` and `alignments` are in the order of the references.
    """

    ids: tuple[str, ...]
    counts: UtteranceCounts
    alignments: CorpusAlignment
    normalizer: Mapping[str, str]
    alignment: str
    missing: tuple[str, ...] = ()
    """Ids without a hypothesis, scored as empty (only where the caller asked for that)."""

    @property
    def utterances(self) -> int:
        return len(self.ids)

    @property
    def words(self) -> int:
        """Words of the references."""
        return int(self.counts.words.sum())

    @property
    def substitutions(self) -> int:
        return int(self.counts.substitutions.sum())

    @property
    def deletions(self) -> int:
        return int(self.counts.deletions.sum())

    @property
    def insertions(self) -> int:
        return int(self.counts.insertions.sum())

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return int(self.counts.errors.sum())

    @property
    def correct(self) -> int:
        """Words recognised as they stand in the reference."""
        return self.words - self.substitutions - self.deletions

    @property
    def characters(self) -> int:
        """Characters of the references, single spaces between words included."""
        return int(self.counts.characters.sum())

    @property
    def character_errors(self) -> int:
        return int(self.counts.character_errors.sum())

    @property
    def wer(self) -> float | None:
        """Word error rate, pooled."""
        return self.errors / self.words if self.words else None

    @property
    def cer(self) -> float | None:
        """Character error rate, pooled: edit distance over reference characters."""
        return self.character_errors / self.characters if self.characters else None

    @property
    def sentence_error_rate(self) -> float | None:
        """Share of utterances with an error."""
        return int(np.count_nonzero(self.counts.errors)) / self.utterances if self.utterances else None

    @property
    def insertions_on_empty(self) -> int:
        """Words recognised where the reference has none."""
        return int(self.counts.insertions[self.counts.words == 0].sum())

    @property
    def empty_hypotheses(self) -> int:
        """Utterances that have words and were recognised as none."""
        return int(np.count_nonzero((self.alignments.hypotheses.lengths == 0) & (self.counts.words > 0)))

    @property
    def reason(self) -> str:
        """Why there is no word error rate; "" where there is one."""
        if self.words:
            return ""
        if not self.utterances:
            return "There are no utterances."
        return f"The references of all {self.utterances} utterances have no words after normalisation."


def score(
    references: Texts,
    hypotheses: Texts,
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
    missing: Literal["error", "deletions"] = "error",
) -> Score:
    """Word and character errors of hypotheses against references.

    Both are mappings {id: text}, sequences of (id, text), or plain sequences of texts, which belong together by
    position. Hypotheses may come in any order where they have ids. A reference without a hypothesis is an error, or,
    with missing="deletions", counts as recognised empty; a hypothesis without a reference is always an error.

    Raises InputError for those, for an id that occurs twice, for what is not text, and for unknown names.
    """
    if missing not in ("error", "deletions"):
        raise InputError(f"missing is {missing!r}; use 'error' or 'deletions'.")
    if _is_positional(references) != _is_positional(hypotheses) and len(references) and len(hypotheses):
        raise InputError("One side has ids and the other has none.", hint="Give both as {id: text}.")
    by_id, answers = _by_id(references, "references"), _by_id(hypotheses, "hypotheses")
    absent = _check_partners(by_id, answers, missing)
    alignments = align_texts(
        list(by_id.values()), [answers.get(id_, "") for id_ in by_id], profile=normalizer, alignment=alignment
    )
    counts = UtteranceCounts(
        words=alignments.references.lengths,
        substitutions=alignments.count(SUBSTITUTED),
        deletions=alignments.count(DELETED),
        insertions=alignments.count(INSERTED),
        characters=count_characters(alignments.words, alignments.references),
        character_errors=character_errors(alignments),
    )
    return Score(
        ids=tuple(by_id),
        counts=counts,
        alignments=alignments,
        normalizer=profile_identity(normalizer),
        alignment=alignment,
        missing=absent,
    )


def _is_positional(texts: Texts) -> bool:
    return not isinstance(texts, Mapping) and any(isinstance(item, str) for item in texts)


def _by_id(texts: Texts, side: str) -> dict[str, str]:
    if isinstance(texts, str):
        raise InputError(f"{side} is one text.", hint="Put it into a list, and the other side too.")
    if isinstance(texts, Mapping):
        found = dict(texts)
    elif _is_positional(texts):
        found = {str(place): text for place, text in enumerate(texts)}  # type: ignore[misc]
    else:
        found = {}
        for id_, text in texts:  # type: ignore[str-unpack]
            if id_ in found:
                raise InputError(f"{side} hold the id {id_!r} twice.", hint="Give every utterance a name of its own.")
            found[id_] = text
    for id_, text in found.items():
        if not isinstance(text, str):
            raise InputError(f"{side}: {id_!r} has {type(text).__name__}, not text.", hint='Use "" for no words.')
    return found


def _check_partners(references: Mapping[str, str], hypotheses: Mapping[str, str], missing: str) -> tuple[str, ...]:
    """Ids without a hypothesis, where that is allowed."""
    absent = tuple(id_ for id_ in references if id_ not in hypotheses)
    extra = [id_ for id_ in hypotheses if id_ not in references]
    if extra:
        raise InputError(f"{_name(extra)} without a reference.", hint="Score what belongs to this test set only.")
    if absent and missing == "error":
        raise InputError(
            f"{_name(absent)} without a hypothesis.", hint="Use missing='deletions' to score them as recognised empty."
        )
    return absent


def _name(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(id_) for id_ in ids[:3])
    rest = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return f"{len(ids)} utterance{'s' if len(ids) > 1 else ''} ({shown}{rest})"
