"""Words and their labels: what can be in a language, and how languages are called."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from harken.text.normalize import normalize

OTHER = "other"
"""Label of what belongs to no language: numerals, punctuation, symbols."""

_TAG = re.compile(r"[a-z]{2,8}")

# BCP-47 takes the shortest code of ISO 639; corpora often have the three-letter one.
_TWO_LETTERS = {"eng": "en", "hin": "hi", "rus": "ru", "uzb": "uz", "uzn": "uz"}


def has_letters(word: str) -> bool:
    """Whether a word can belong to a language at all. The letters Uzbek uses as apostrophes (ʻ ʼ) alone are no word."""
    return any(character.isalpha() and unicodedata.category(character) != "Lm" for character in word)


def is_language(label: str) -> bool:
    """Whether a label can name a language: a BCP-47 tag without script and region, such as "uz"."""
    return label not in (OTHER, "mixed") and _TAG.fullmatch(label) is not None


def primary_language(tag: str) -> str:
    """The language of a tag without script and region: "uz" for "uz-Latn-UZ", "uz_Latn" and the three-letter "uzb"."""
    primary = tag.replace("_", "-").partition("-")[0].lower()
    return _TWO_LETTERS.get(primary, primary)


def words_by_language(sentences: Iterable[Sequence[str]], labels: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Words of labelled sentences by language, as `LanguageIdentifier.train` takes them; those of none are left out."""
    found: dict[str, list[str]] = {}
    for sentence, names in zip(sentences, labels, strict=True):
        for word, language in zip(sentence, names, strict=True):
            if language != OTHER and has_letters(word):
                found.setdefault(language, []).append(word)
    return found


def clean_word(word: str) -> str:
    """The form in which words are compared: lower case, one apostrophe, no punctuation, every number a 0."""
    return re.sub(r"\d+", "0", normalize(word, "basic").replace(" ", ""))
