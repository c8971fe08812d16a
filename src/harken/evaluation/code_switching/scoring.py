"""Scores of code-switched speech: is each word in the right language, and does the language change where it should?

Every word has a label, a language tag or "other" (numerals, punctuation), which belongs to none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance
from harken.evaluation.code_switching.language_errors import ErrorCounts, Labels, LanguageTable
from harken.evaluation.code_switching.language_mix import LanguageMix, describe_mix
from harken.evaluation.code_switching.switch_points import SwitchCounts, find_switches, match_switches
from harken.evaluation.code_switching.word_languages import (
    WORD_LANGUAGES,
    check_labels,
    fit_labels,
    labels_of,
    normal_words,
)
from harken.evaluation.scoring.alignment import CorpusAlignment
from harken.evaluation.scoring.encode import EncodedTexts
from harken.evaluation.scoring.lattice import CORRECT, DELETED, INSERTED
from harken.evaluation.scoring.metrics import Score
from harken.text import find_profile
from harken.text.languages import OTHER, LanguageIdentifier, words_by_language
from harken.text.segmentation import Units

Item = TypeVar("Item")

TOLERANCES = (0, 1)
"""Boundaries that a switch point may be off, for each set of figures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeSwitchingScore:
    """Figures of a code-switched test set; rates are fractions, None where there is nothing to divide by.

    `languages` holds the errors on the words of each language, "other" included where there is any: substitutions and
    deletions by the language of the reference word, insertions by that of the inserted word.

    `language_pairs` are the recognised words that stand against a word of the reference, both in a language;
    `language_correct` those of them in the same one.

    `switches` holds switch points by tolerance, `directions` by (before, after) and tolerance.

    `points` are the errors on points of interest: words that are not in the main language of their utterance. Its
    insertions are those right before such a word, or behind one that ends the utterance.
    """

    languages: Mapping[str, ErrorCounts]
    language_pairs: int
    language_correct: int
    switches: Mapping[int, SwitchCounts]
    directions: Mapping[tuple[str, str], Mapping[int, SwitchCounts]]
    points: ErrorCounts
    mer: float | None
    mix: LanguageMix

    @property
    def language_accuracy(self) -> float | None:
        """Share of the aligned pairs of words whose language is right, whether or not the word is."""
        return self.language_correct / self.language_pairs if self.language_pairs else None

    @property
    def pier(self) -> float | None:
        """Point-of-interest error rate: substituted and deleted points of interest over all of them.

        E. Ugan et al., "PIER: A novel metric for evaluating what matters in code-switching", ICASSP 2025. Their tool
        also counts insertions, see `pier_with_insertions`, aligns with plain Levenshtein distance, and finds the
        points by script or by tags.
        """
        words = int(self.points.words.sum())
        return int((self.points.substitutions + self.points.deletions).sum()) / words if words else None

    @property
    def pier_with_insertions(self) -> float | None:
        """As the authors' tool counts: insertions that stand before a point of interest are errors of it."""
        return self.points.wer

    @property
    def reasons(self) -> dict[str, str]:
        """Why a figure is None, by its name."""
        found = dict(self.mix.reasons)
        if not self.language_pairs:
            found["language_accuracy"] = "No word in a language stands against another one."
        if not any(counts.reference for counts in self.switches.values()):
            found["switch_points"] = "The references do not switch between languages."
        if self.pier is None:
            found["pier"] = "No word of the references is outside the main language of its utterance."
        if self.mer is None:
            found["mer"] = "The references have no words, or the score counts words also where scripts have no spaces."
        return found

    def as_json(self) -> dict[str, Any]:
        """The block `code_switching` of a report."""
        pier = self.points.as_json()
        pier["errors"] = pier["substitutions"] + pier["deletions"]
        del pier["wer"]
        return {
            "language_accuracy": self.language_accuracy,
            "language_pairs": self.language_pairs,
            "language_correct": self.language_correct,
            "switch_points": {str(tolerance): counts.as_json() for tolerance, counts in self.switches.items()},
            "directions": {
                f"{before}>{after}": {str(tolerance): counts.as_json() for tolerance, counts in found.items()}
                for (before, after), found in self.directions.items()
            },
            "languages": {language: counts.as_json() for language, counts in self.languages.items()},
            "pier": {"value": self.pier, "with_insertions": self.pier_with_insertions, **pier},
            "mer": self.mer,
            "set": self.mix.as_json(),
            "reasons": self.reasons,
        }


def score_code_switching(
    score: Score,
    reference_labels: Labels,
    hypothesis_labels: Labels | None = None,
    *,
    identifier: LanguageIdentifier | None = None,
    points_of_interest: Sequence[Sequence[bool]] | None = None,
) -> CodeSwitchingScore:
    """Figures about languages for a scored test set.

    Labels come per utterance in the order of `score.ids`, one for each word of the normalised text. Hypotheses without
    labels are labelled by `identifier`; there a word recognised correctly keeps the label of the reference, so a
    perfect transcript has perfect figures. `points_of_interest` marks the words of the references that PIER is about,
    instead of those outside the main language of their utterance.

    Raises InputError when labels do not fit the words, and where hypotheses have neither labels nor an identifier.
    """
    alignment = score.alignments
    check_labels(score.ids, reference_labels, alignment.references.lengths, "reference")
    if hypothesis_labels is None:
        hypothesis_labels = _identify(alignment, reference_labels, identifier)
    else:
        check_labels(score.ids, hypothesis_labels, alignment.hypotheses.lengths, "hypothesis")
    table = LanguageTable(alignment, reference_labels, hypothesis_labels)
    if points_of_interest is None:
        points = table.embedded()
    else:
        check_labels(score.ids, points_of_interest, alignment.references.lengths, "points of interest of the reference")
        points = np.fromiter(chain.from_iterable(points_of_interest), bool, len(table.reference))
    pairs, correct = table.agreement()
    switches, directions = _compare_switches(table)
    return CodeSwitchingScore(
        languages=table.errors_by_language(),
        language_pairs=pairs,
        language_correct=correct,
        switches=switches,
        directions=directions,
        points=table.errors_at(points),
        mer=score.wer if score.units == "mixed" else None,
        mix=describe_mix(table.reference, table.reference_utterance, table.names, count=len(alignment)),
    )


def code_switching_summary(
    score: Score, utterances: Sequence[Utterance], identifier: LanguageIdentifier | None = None
) -> dict[str, Any] | None:
    """The block `code_switching` of a report on these utterances, which stand in the order of `score.ids`.

    Labels of the references are the manifest's (`word_languages`) where it has them, else the identifier's. Without an
    identifier one is trained on the labelled references themselves; the block's "labels" says so. None without an
    identifier where the manifest has no labels, or only those of one language.

    Raises InputError as `labels_of` and `fit_labels` do.
    """
    labelled = label_words(score, utterances, identifier)
    return None if labelled is None else labelled.summarize(score)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledWords:
    """Languages of the words of references, a list for each of the utterances `ids`, and where they come from.

    They hold for every score of these utterances under the same normaliser and units, whatever was recognised, so a
    set that is scored again and again is labelled once.
    """

    ids: tuple[str, ...]
    labels: Sequence[Sequence[str]]
    identifier: LanguageIdentifier
    facts: Mapping[str, Any]

    def summarize(self, score: Score) -> dict[str, Any]:
        """The block `code_switching` of a report on `score`.

        Raises InputError for a score of other utterances, of another order, or of texts normalised into other words.
        """
        _check_ids(score, self.ids)
        found = score_code_switching(score, self.labels, identifier=self.identifier)
        return {**found.as_json(), "labels": dict(self.facts)}

    @property
    def tags(self) -> list[list[str | None]]:
        """The labels, None for words that belong to no language."""
        return [[None if label == OTHER else label for label in labels] for labels in self.labels]


def label_words(
    score: Score, utterances: Sequence[Utterance], identifier: LanguageIdentifier | None = None
) -> LabelledWords | None:
    """The labels that `code_switching_summary` goes by; arguments, None and errors are the same."""
    _check_ids(score, tuple(utterance.id for utterance in utterances))
    references, names = score.alignments.references, score.alignments.words
    words = _cut([names[id_] for id_ in references.ids.tolist()], references)
    return _label(utterances, identifier, words, score.normalizer["name"], score.units)


def label_references(
    utterances: Sequence[Utterance],
    identifier: LanguageIdentifier | None = None,
    *,
    normalizer: str = "basic",
    units: Units = "mixed",
) -> LabelledWords | None:
    """What `label_words` says of every score of `utterances` under a normaliser and units, before there is a score.

    Identifier, None and errors are those of `code_switching_summary`.
    """
    profile = find_profile(normalizer)
    words = [normal_words(utterance.text or "", profile, units) for utterance in utterances]
    return _label(utterances, identifier, words, normalizer, units)


def _label(
    utterances: Sequence[Utterance],
    identifier: LanguageIdentifier | None,
    words: Sequence[Sequence[str]],
    normalizer: str,
    units: Units,
) -> LabelledWords | None:
    labelled = [utterance for utterance in utterances if WORD_LANGUAGES in utterance.extra]
    source = "given"
    if identifier is None:
        found = words_by_language([(u.text or "").split() for u in labelled], labels_of(labelled))
        if len(found) < 2:
            return None
        identifier, source = LanguageIdentifier.train(found), "trained on the labelled references"
    return LabelledWords(
        ids=tuple(utterance.id for utterance in utterances),
        labels=fit_labels(utterances, labels_of(utterances, identifier), words, normalizer=normalizer, units=units),
        identifier=identifier,
        facts={"manifest": len(labelled), "not in manifest": len(utterances) - len(labelled), "identifier": source},
    )


def _check_ids(score: Score, ids: tuple[str, ...]) -> None:
    if ids != score.ids:
        raise InputError("The utterances are not those of the score, in its order.")


def _compare_switches(
    table: LanguageTable,
) -> tuple[dict[int, SwitchCounts], dict[tuple[str, str], dict[int, SwitchCounts]]]:
    """Counts by tolerance, of all switch points and of each direction that occurs."""
    references = find_switches(table.reference, table.reference_utterance)
    hypotheses = find_switches(table.hypothesis, table.hypothesis_utterance)
    span = table.boundaries(hypotheses)
    found = {tolerance: match_switches(references, hypotheses, span, tolerance) for tolerance in TOLERANCES}
    ours, theirs = (s.before * len(table.names) + s.after for s in (references, hypotheses))

    def count(ours_here: npt.NDArray[np.bool_], theirs_here: npt.NDArray[np.bool_]) -> dict[int, SwitchCounts]:
        return {
            tolerance: SwitchCounts(
                reference=int(ours_here.sum()),
                hypothesis=int(theirs_here.sum()),
                correct=int((matched & ours_here).sum()),
            )
            for tolerance, matched in found.items()
        }

    directions = {}
    for key in np.union1d(ours, theirs).tolist():
        before, after = divmod(key, len(table.names))
        directions[table.names[before], table.names[after]] = count(ours == key, theirs == key)
    return count(np.ones(len(ours), dtype=bool), np.ones(len(theirs), dtype=bool)), directions


def _identify(
    alignment: CorpusAlignment, reference_labels: Labels, identifier: LanguageIdentifier | None
) -> list[list[str]]:
    """Labels of the hypotheses; where a word is correct, the label of the reference is known to be right."""
    if identifier is None:
        raise InputError(
            "The hypotheses have no language labels.", hint="Give hypothesis_labels, or an identifier to label them."
        )
    flat = list(chain.from_iterable(reference_labels))
    known: list[str | None] = [None] * len(alignment.hypotheses.ids)
    correct = alignment.codes == CORRECT
    references = (np.cumsum(alignment.codes != INSERTED) - 1)[correct]
    hypotheses = (np.cumsum(alignment.codes != DELETED) - 1)[correct]
    for word, source in zip(hypotheses.tolist(), references.tolist(), strict=True):
        known[word] = flat[source]
    names = alignment.words
    sentences = _cut([names[id_] for id_ in alignment.hypotheses.ids.tolist()], alignment.hypotheses)
    return identifier.label_many(sentences, _cut(known, alignment.hypotheses))


def _cut(items: Sequence[Item], texts: EncodedTexts) -> list[Sequence[Item]]:
    return [items[start:end] for start, end in pairwise(texts.offsets.tolist())]
