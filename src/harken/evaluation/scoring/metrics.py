"""Word and character error rates of a test set.

WER is pooled: all errors over all reference words, so a long utterance weighs more than a short one. Insertions into
an empty reference count as errors of the whole; such an utterance has no rate of its own. With mixed units, characters
of scripts without spaces count as words, and the rate is the mixed error rate (MER).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.scoring.alignment import CorpusAlignment, check_units, find_costs
from harken.evaluation.scoring.characters import character_errors, count_characters
from harken.evaluation.scoring.encode import EncodedTexts, WordTable
from harken.evaluation.scoring.lattice import DELETED, INSERTED, SUBSTITUTED
from harken.evaluation.scoring.pairing import References, Texts, pair_up
from harken.evaluation.scoring.references import align_references, encode_references
from harken.text import find_profile, profile_identity
from harken.text.segmentation import Units

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordErrors:
    """(texts,) counts of reference words and of the errors on them."""

    words: Counts
    substitutions: Counts
    deletions: Counts
    insertions: Counts

    @property
    def errors(self) -> Counts:
        """(texts,) substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float | None:
        """Word error rate, pooled; None where the references have no words."""
        words = int(self.words.sum())
        return int(self.errors.sum()) / words if words else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UtteranceCounts(WordErrors):
    """(utterances,) arrays of counts, in the order of the references.

    `words`, `substitutions`, `deletions` and `insertions` are of words; `errors` adds the last three up.
    """

    characters: Counts
    character_errors: Counts

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
    units: Units = "mixed"
    missing: tuple[str, ...] = ()
    """Ids without a hypothesis, scored as empty (only where the caller asked for that)."""
    alternatives: Counts | None = None
    """(utterances,) which of its references each was scored against, from 0; None where none has more than one."""

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
        return self.counts.wer

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
    references: References,
    hypotheses: Texts,
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
    missing: Literal["error", "deletions"] = "error",
    units: Units = "mixed",
    alternations: bool = False,
) -> Score:
    """Word and character errors of hypotheses against references.

    Both are mappings {id: text}, sequences of (id, text), or plain sequences of texts, which belong together by
    position. Hypotheses may come in any order where they have ids. A reference without a hypothesis is an error, or,
    with missing="deletions", counts as recognised empty; a hypothesis without a reference is always an error.

    Where there are ids, a reference may be a list of texts; the one with the fewest errors counts, the first of
    several such. With `alternations`, a reference may hold NIST's alternations, `{ a / b c / @ }`, of which the
    best path counts; without it, braces are text.

    With units="mixed" every character of a script without spaces is a word, as `harken.text.segmentation` says; with
    "words" texts are cut at white space only.

    Raises InputError for those, for an id that occurs twice, for what is not text, for braces that do not match, and
    for unknown names.
    """
    by_id, answers, absent = pair_up(references, hypotheses, missing)
    shared = _Shared(by_id, normalizer, alignment, units, alternations)
    encoded = shared.table.encode(answers)
    return shared.score(encoded, shared.table.words, absent)


def score_systems(
    references: References,
    systems: Mapping[str, Texts],
    *,
    normalizer: str = "basic",
    alignment: str = "sclite",
    missing: Literal["error", "deletions"] = "error",
    units: Units = "mixed",
    alternations: bool = False,
) -> dict[str, Score]:
    """The `score` of several systems, {name: hypotheses}, on one test set whose references are prepared once.

    All scores number their words alike. Where references have alternatives, each system is scored against those that
    suit it best, so their word counts may differ.
    """
    pairs = {name: pair_up(references, texts, missing, f"hypotheses of {name!r}") for name, texts in systems.items()}
    if not pairs:
        raise InputError("There are no systems to score.", hint="Give {name: hypotheses}.")
    by_id = next(iter(pairs.values()))[0]
    shared = _Shared(by_id, normalizer, alignment, units, alternations)
    encoded = {name: shared.table.encode(answers) for name, (_, answers, _) in pairs.items()}
    words = shared.table.words
    return {name: shared.score(encoded[name], words, absent) for name, (_, _, absent) in pairs.items()}


class _Shared:
    """What the scores of several systems have in common: settings, references, numbers of words."""

    def __init__(
        self,
        references: Mapping[str, str | Sequence[str]],
        normalizer: str,
        alignment: str,
        units: Units,
        alternations: bool,
    ) -> None:
        check_units(units)
        self._costs = find_costs(alignment)
        self._ids = tuple(references)
        self._normalizer, self._alignment, self._units = normalizer, alignment, units
        self.table = WordTable(find_profile(normalizer), units)
        self._references = encode_references(references, self.table, alternations=alternations)

    def score(self, hypotheses: EncodedTexts, words: Sequence[str], missing: tuple[str, ...]) -> Score:
        aligned = align_references(self._references, hypotheses, self._costs)
        alignments = CorpusAlignment(
            words=words,
            references=aligned.texts,
            hypotheses=hypotheses,
            codes=aligned.codes,
            offsets=aligned.offsets,
            units=self._units,
        )
        counts = UtteranceCounts(
            words=alignments.references.lengths,
            substitutions=alignments.count(SUBSTITUTED),
            deletions=alignments.count(DELETED),
            insertions=alignments.count(INSERTED),
            characters=count_characters(alignments),
            character_errors=character_errors(alignments),
        )
        return Score(
            ids=self._ids,
            counts=counts,
            alignments=alignments,
            normalizer=profile_identity(self._normalizer),
            alignment=self._alignment,
            units=self._units,
            missing=missing,
            alternatives=aligned.alternatives,
        )
