"""Which sounds are taken for which: confusions of phonemes, from the alignment of words.

Words are aligned first. Correct words count each phoneme as itself. Where words went wrong, the sounds of each unbroken
run of wrong words are aligned by how alike they are, so that a word torn in two still lies beside its pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harken.core import InputError, MissingPart
from harken.evaluation.errors.operations import Mask, Numbers, Operations, find_runs, operations_of
from harken.evaluation.errors.pronunciation import LANGUAGES, pronounce
from harken.evaluation.errors.sounds import align_sounds, sort_sounds, sound_costs
from harken.evaluation.scoring.encode import EncodedTexts, gather_runs
from harken.evaluation.scoring.lattice import CORRECT
from harken.evaluation.scoring.metrics import Score
from harken.text.languages import primary_language

NOTHING = "∅"
"""The last row counts inserted phonemes, the last column deleted ones."""

LARGEST_REGION_CELLS = 1 << 24
"""Reference times hypothesis phonemes of a run of wrong words; a larger one is aligned word pair by word pair."""

_EXAMPLES = 5


def phoneme_confusions(
    score: Score,
    languages: Sequence[str | None],
    *,
    default: str | None = None,
    word_languages: Sequence[Sequence[str | None] | None] | None = None,
    missing: Literal["error", "skip"] = "error",
) -> dict[str, Any]:
    """Confusion counts of phonemes, by language: {"languages": {language: …}, "skipped": […]}.

    `languages` has a BCP-47 tag for each utterance, `default` stands in for None. `word_languages` has tags of the
    reference words of some utterances (None elsewhere), for speech that switches; a hypothesis word is read in the
    language of the reference word it stands for, an inserted one in that of the word before.

    A language holds {"phonemes", "counts", "words", "reference_phonemes", "hypothesis_phonemes", "unpronounced"}.
    "phonemes" are IPA signs, alike ones side by side, `NOTHING` last; "counts" are [reference, hypothesis, count] with
    places in that list. Rows sum to the phonemes of the reference words, columns to those of the hypothesis. Words
    without a pronunciation have no phonemes: "unpronounced" is {"words", "types", "examples"}. "skipped" lists
    {"language", "utterances", "words", "reason"} for utterances whose language is unknown or not in `LANGUAGES`, and,
    with missing="skip", for languages whose package is absent.

    Raises InputError for lists that do not fit the score, MissingPart for an absent package.
    """
    names, operation_language = _languages(score, languages, default, word_languages)
    operations = operations_of(score.alignments)
    found: dict[str, Any] = {}
    skipped = []
    for number, language in enumerate(names):
        inside = operation_language == number
        reason = "" if language in LANGUAGES else _no_reason(language)
        if not reason:
            try:
                found[str(language)] = _confusions(score, operations, inside, str(language))
            except MissingPart as err:
                if missing == "error":
                    raise
                reason = str(err)
        if reason:
            skipped.append(
                {
                    "language": language,
                    "utterances": len(np.unique(operations.utterance[inside])),
                    "words": int(np.count_nonzero(operations.reference[inside] >= 0)),
                    "reason": reason,
                }
            )
    return {"languages": found, "skipped": skipped}


def _no_reason(language: str | None) -> str:
    if language is None:
        return "the language is not known"
    if language in ("mixed", "mul"):
        return "the words of mixed speech need a language each"
    return f"there are no phonemes for it; known are {', '.join(LANGUAGES)}"


def _languages(
    score: Score,
    languages: Sequence[str | None],
    default: str | None,
    word_languages: Sequence[Sequence[str | None] | None] | None,
) -> tuple[list[str | None], Numbers]:
    """The languages that occur, and (operations,) the number of the language of each."""
    _check_lengths(score, languages, word_languages)
    numbers: dict[str | None, int] = {}

    def number(tag: str | None) -> int:
        return numbers.setdefault(primary_language(tag) if tag else None, len(numbers))

    of_utterance = np.array([number(tag or default) for tag in languages], dtype=np.int64)
    operations, references = operations_of(score.alignments), score.alignments.references
    of_operation = of_utterance[operations.utterance]
    if word_languages is not None:
        of_word = np.repeat(of_utterance, references.lengths)
        for row, labels in enumerate(word_languages):
            if labels is not None:
                start = references.offsets[row]
                of_word[start : start + len(labels)] = [number(tag or languages[row] or default) for tag in labels]
        of_operation = _from_words(of_word, of_operation, operations, references)
    used = np.unique(of_operation)
    names = list(numbers)
    order = sorted(used.tolist(), key=lambda one: (names[one] is None, names[one] or ""))
    place = np.full(len(names), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    return [names[one] for one in order], place[of_operation]


def _check_lengths(
    score: Score,
    languages: Sequence[str | None],
    word_languages: Sequence[Sequence[str | None] | None] | None,
) -> None:
    for name, values in (("languages", languages), ("word_languages", word_languages)):
        if values is not None and len(values) != score.utterances:
            raise InputError(f"{name} has {len(values)} entries for {score.utterances} utterances; give one for each.")
    for row, labels in enumerate(word_languages or ()):
        if labels is not None and len(labels) != score.counts.words[row]:
            raise InputError(
                f"{score.ids[row]!r} has {len(labels)} word languages and {score.counts.words[row]} words.",
                hint="Label the words as they are after normalisation.",
            )


def _from_words(of_word: Numbers, of_operation: Numbers, operations: Operations, references: EncodedTexts) -> Numbers:
    """(operations,) language of the reference word, of the one before an insertion, or of the first one behind it."""
    inserted = operations.reference < 0
    place = operations.place - inserted
    place = np.maximum(place, references.offsets[operations.utterance])
    known = references.lengths[operations.utterance] > 0
    found = of_operation.copy()
    found[known] = of_word[place[known]]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Lexicon:
    """Phonemes, and how the words with ids `known` (rising) are made of them."""

    phonemes: list[str]
    known: Numbers
    spelled: EncodedTexts

    def sounds(self, ids: Numbers) -> tuple[Numbers, Numbers]:
        """Phonemes of the words one after the other, and (words,) how many each has."""
        rows = np.searchsorted(self.known, ids)
        lengths = self.spelled.lengths[rows]
        return self.spelled.ids[gather_runs(self.spelled.offsets[rows], lengths)].astype(np.int64), lengths


def _confusions(score: Score, operations: Operations, inside: Mask, language: str) -> dict[str, Any]:
    words = score.alignments.words
    occurring = [side[inside & (side >= 0)] for side in (operations.reference, operations.hypothesis)]
    lexicon = _lexicon(words, np.unique(np.concatenate(occurring)), language)
    size = len(lexicon.phonemes)
    cells = np.zeros((size + 1) ** 2, dtype=np.int64)
    right, _ = lexicon.sounds(operations.reference[inside & (operations.codes == CORRECT)])
    cells += np.bincount(right * (size + 2), minlength=len(cells))
    wrong = inside & (operations.codes != CORRECT)
    if wrong.any():
        steps = align_sounds(*_regions(operations, wrong, lexicon), sound_costs(lexicon.phonemes))
        reference, hypothesis = np.where(steps < 0, size, steps)
        cells += np.bincount(reference * (size + 1) + hypothesis, minlength=len(cells))
    filled = np.flatnonzero(cells)
    rows, columns = np.divmod(filled, size + 1)
    counts = cells[filled]
    return {
        "phonemes": [*lexicon.phonemes, NOTHING],
        "counts": np.stack([rows, columns, counts], axis=1).tolist(),
        "words": len(occurring[0]),
        "reference_phonemes": int(counts[rows < size].sum()),
        "hypothesis_phonemes": int(counts[columns < size].sum()),
        "unpronounced": _unpronounced(words, lexicon, np.concatenate(occurring)),
    }


def _lexicon(words: Sequence[str], ids: Numbers, language: str) -> _Lexicon:
    spoken = pronounce([words[id_] for id_ in ids.tolist()], language)
    phonemes = sort_sounds(list({phoneme for word in spoken for phoneme in word}))
    numbers = {phoneme: number for number, phoneme in enumerate(phonemes)}
    flat = np.array([numbers[phoneme] for word in spoken for phoneme in word], dtype=np.int32)
    offsets = np.concatenate(([0], np.cumsum(np.fromiter(map(len, spoken), np.int64, len(spoken)))))
    return _Lexicon(phonemes, ids, EncodedTexts(flat, offsets))


def _regions(operations: Operations, wrong: Mask, lexicon: _Lexicon) -> tuple[EncodedTexts, EncodedTexts]:
    """Phonemes of the reference and of the hypothesis in each unbroken run of wrong words."""
    starts, ends = find_runs(wrong, operations.utterance)
    places = gather_runs(starts, ends - starts)
    region = np.repeat(np.arange(len(starts)), ends - starts)
    sides = [side[places] for side in (operations.reference, operations.hypothesis)]
    texts = [_by_region(side, region, len(starts), lexicon) for side in sides]
    large = texts[0].lengths * texts[1].lengths > LARGEST_REGION_CELLS
    if large.any():
        # Numbered anew, every operation of a large region a region of its own; the order stays.
        begins = np.concatenate(([True], region[1:] != region[:-1])) | large[region]
        region = np.cumsum(begins) - 1
        texts = [_by_region(side, region, int(region[-1]) + 1, lexicon) for side in sides]
    return texts[0], texts[1]


def _by_region(ids: Numbers, region: Numbers, regions: int, lexicon: _Lexicon) -> EncodedTexts:
    has = ids >= 0
    sounds, lengths = lexicon.sounds(ids[has])
    sizes = np.bincount(region[has], weights=lengths, minlength=regions).astype(np.int64)
    return EncodedTexts(sounds.astype(np.int32), np.concatenate(([0], np.cumsum(sizes))))


def _unpronounced(words: Sequence[str], lexicon: _Lexicon, occurring: Numbers) -> dict[str, Any]:
    """Words of both sides without phonemes, the most frequent ones as examples."""
    silent = lexicon.known[lexicon.spelled.lengths == 0]
    counts = np.bincount(np.searchsorted(silent, occurring[np.isin(occurring, silent)]), minlength=len(silent))
    ranked = sorted(zip((-counts).tolist(), (words[id_] for id_ in silent.tolist()), strict=True))
    return {"words": int(counts.sum()), "types": len(silent), "examples": [word for _, word in ranked[:_EXAMPLES]]}
