"""Language labels of the words of a test set: from the manifest, or found by an identifier."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance
from harken.text import Profile, find_profile
from harken.text.languages import OTHER, LanguageIdentifier, has_letters, is_language, primary_language
from harken.text.segmentation import Units, split_units

WORD_LANGUAGES = "word_languages"
"""Manifest key with a label for each white-space separated word of an utterance's text: a BCP-47 tag, of which the
language counts and not script or region, or "other"."""

MIXED = "mixed"


def labels_of(utterances: Sequence[Utterance], identifier: LanguageIdentifier | None = None) -> list[list[str]]:
    """A label for each word of `text.split()` of each utterance.

    They are the manifest's `word_languages`; without those, the identifier's. An utterance whose `language` the
    identifier does not know (or any language but "mixed", where there is no identifier) is in that language throughout.

    Raises InputError that names the utterance which has no text, labels that do not fit, or no source of labels.
    """
    labels: list[list[str]] = []
    unlabelled: list[int] = []
    for row, utterance in enumerate(utterances):
        if utterance.text is None:
            raise InputError(f"{utterance.id!r} has no reference text.", hint="Leave it out, or add its text.")
        words = utterance.text.split()
        language = primary_language(utterance.language or MIXED)
        if WORD_LANGUAGES in utterance.extra:
            labels.append(_manifest_labels(utterance, len(words)))
        elif language != MIXED and (identifier is None or language not in identifier.languages):
            labels.append([language if has_letters(word) else OTHER for word in words])
        elif identifier is None:
            raise InputError(
                f"{utterance.id!r} has no {WORD_LANGUAGES!r} and its language is {utterance.language!r}.",
                hint="Label its words in the manifest, or give an identifier.",
            )
        else:
            labels.append([])
            unlabelled.append(row)
    if identifier is not None:
        found = identifier.label_many([(utterances[row].text or "").split() for row in unlabelled])
        for row, names in zip(unlabelled, found, strict=True):
            labels[row] = names
    return labels


def fit_labels(
    utterances: Sequence[Utterance],
    labels: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]],
    *,
    normalizer: str,
    units: Units,
) -> list[list[str]]:
    """Labels of `text.split()` as labels of `words`, the same texts normalised and cut into units.

    A word that normalisation divides gives its label to every part, one that it drops loses it. Raises InputError that
    names the utterance where normalisation changes words by their neighbours, so that no part belongs to one word.
    """
    profile = find_profile(normalizer)
    parts: dict[str, list[str]] = {}
    fitted = []
    for utterance, given, normal in zip(utterances, labels, words, strict=True):
        result: list[str] = []
        spelled: list[str] = []
        for word, label in zip((utterance.text or "").split(), given, strict=True):
            if word not in parts:
                parts[word] = normal_words(word, profile, units)
            spelled += parts[word]
            result += [label] * len(parts[word])
        if spelled != normal:
            raise InputError(
                f"{utterance.id!r}: normaliser {profile.name!r} turns its text into {' '.join(normal)!r}, where the "
                "labels of single words have no place.",
                hint="Label the normalised text, or score with another normaliser.",
            )
        fitted.append(result)
    return fitted


def normal_words(text: str, profile: Profile, units: Units) -> list[str]:
    """The units of a text that are scored."""
    pieces = profile.function(text).split()
    return pieces if units == "words" else [unit for piece in pieces for unit in split_units(piece)]


def check_labels(ids: Sequence[str], labels: Sequence[Sized], lengths: npt.NDArray[np.int64], side: str) -> None:
    """Raise InputError that names the first utterance whose labels are not as many as its words."""
    if len(labels) != len(ids):
        raise InputError(f"There are {side} labels for {len(labels)} utterances and {len(ids)} utterances.")
    for id_, names, words in zip(ids, labels, lengths.tolist(), strict=True):
        if isinstance(names, str) or len(names) != words:
            raise InputError(
                f"{id_!r} has {len(names)} {side} labels and {words} words after normalisation.",
                hint="Give a list with one label for each word.",
            )


def _manifest_labels(utterance: Utterance, words: int) -> list[str]:
    labels: Any = utterance.extra[WORD_LANGUAGES]
    if not isinstance(labels, list | tuple):
        raise InputError(f"{utterance.id!r}: {WORD_LANGUAGES!r} is not a list.", hint="Write one label per word.")
    for label in labels:
        if not isinstance(label, str) or not (label == OTHER or is_language(primary_language(label))):
            raise InputError(
                f"{utterance.id!r}: {WORD_LANGUAGES!r} holds {label!r}.",
                hint=f"Write a language tag, such as 'uz', or {OTHER!r}.",
            )
    if len(labels) != words:
        raise InputError(
            f"{utterance.id!r}: {WORD_LANGUAGES!r} has {len(labels)} labels and the text {words} words.",
            hint="Words are what white space separates.",
        )
    return [primary_language(label) for label in labels]
