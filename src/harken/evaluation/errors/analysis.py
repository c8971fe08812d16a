"""Everything about the errors of a scored test set in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harken.core import Strict, Utterance
from harken.evaluation.errors.frequent import frequent_errors
from harken.evaluation.errors.hallucinations import (
    Finding,
    HallucinationConfig,
    find_hallucinations,
    summarize_hallucinations,
)
from harken.evaluation.errors.hardest import hardest
from harken.evaluation.errors.keywords import Keyword, keyword_recall
from harken.evaluation.errors.operations import check_order
from harken.evaluation.errors.phonemes import phoneme_confusions
from harken.evaluation.errors.slices import SliceConfig, large_tags, slice_groups, speaker_distribution
from harken.evaluation.errors.vocabulary import vocabulary_accuracy
from harken.evaluation.scoring.metrics import Score

EMPTY = "empty"
"""Flag of an utterance that has words and was recognised as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnalysisConfig(Strict):
    """What the error analysis looks for.

    `frequent_errors` of each kind with `contexts` places each, `worst_words`, `hardest` utterances. With `phonemes`,
    confusions of phonemes for languages that are known and whose packages are installed; `default_language` (BCP-47)
    is that of utterances without one.
    """

    frequent_errors: int = 20
    contexts: int = 3
    worst_words: int = 50
    hardest: int = 20
    phonemes: bool = True
    default_language: str | None = None
    slices: SliceConfig = field(default_factory=SliceConfig)
    hallucinations: HallucinationConfig = field(default_factory=HallucinationConfig)

    def __post_init__(self) -> None:
        for name in ("frequent_errors", "contexts", "worst_words", "hardest"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnalysis:
    """`summary` holds plain values by the names `report.json` gives them; `flags` has a list for each utterance."""

    summary: Mapping[str, Any]
    flags: Sequence[Sequence[str]]


def analyze_errors(
    score: Score,
    utterances: Sequence[Utterance],
    config: ErrorAnalysisConfig | None = None,
    *,
    snr_db: Mapping[str, float | None] | None = None,
    known_words: Mapping[str, int] | None = None,
    keywords: Sequence[Keyword | str] | None = None,
    word_languages: Sequence[Sequence[str | None] | None] | None = None,
) -> ErrorAnalysis:
    """Analyse the errors of `score`; `utterances` are the scored ones in the scored order.

    `snr_db` holds measured signal-to-noise ratios by utterance id, `known_words` counts the words of the training text,
    `keywords` are those to look for, `word_languages` has languages of reference words where speech switches (see
    `phoneme_confusions`).

    The summary has the keys "errors", "slices", "slices_left_out", "speaker_distribution", "vocabulary", "phonemes",
    "phonemes_skipped", "hallucinations", "keywords" (None where none were given) and "hardest". The flags are "empty"
    and the kinds of hallucinations. A package that is absent is named in "phonemes_skipped".

    Raises InputError for utterances that are not the scored ones, and for values that make no sense.
    """
    check_order(score, utterances)
    config = config or ErrorAnalysisConfig()
    found = find_hallucinations(score, utterances, config.hallucinations)
    slices = slice_groups(score, utterances, config.slices, snr_db=snr_db)
    phonemes = _phonemes(score, utterances, config, word_languages)
    summary = {
        "errors": frequent_errors(score, most=config.frequent_errors, contexts=config.contexts),
        "slices": slices,
        "slices_left_out": large_tags(utterances, config.slices),
        "speaker_distribution": speaker_distribution(slices.get("speaker", {})),
        "vocabulary": vocabulary_accuracy(score, known=known_words, most=config.worst_words),
        "phonemes": phonemes["languages"],
        "phonemes_skipped": phonemes["skipped"],
        "hallucinations": summarize_hallucinations(score, found, config.hallucinations),
        "keywords": None if keywords is None else keyword_recall(score, keywords),
        "hardest": hardest(score, utterances, config.hardest),
    }
    return ErrorAnalysis(summary=summary, flags=_flags(score, found))


def _phonemes(
    score: Score,
    utterances: Sequence[Utterance],
    config: ErrorAnalysisConfig,
    word_languages: Sequence[Sequence[str | None] | None] | None,
) -> dict[str, Any]:
    if not config.phonemes:
        return {"languages": {}, "skipped": []}
    return phoneme_confusions(
        score,
        [utterance.language for utterance in utterances],
        default=config.default_language,
        word_languages=word_languages,
        missing="skip",
    )


def _flags(score: Score, found: Sequence[Finding]) -> list[list[str]]:
    flags: list[list[str]] = [[] for _ in score.ids]
    silent = (score.alignments.hypotheses.lengths == 0) & (score.counts.words > 0)
    for row in silent.nonzero()[0].tolist():
        flags[row].append(EMPTY)
    for finding in found:
        flags[finding.utterance].append(finding.kind)
    return flags
