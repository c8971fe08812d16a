"""The profiles for any language: `none` and `basic`."""

from harken.text.normalize import Profile
from harken.text.normalizers.characters import SPOKEN, fold, join_words


def keep(text: str) -> str:
    """The text as it is."""
    return text


def normalize_basic(text: str) -> str:
    """Lower case, no punctuation or symbols, one space between words, one form of the apostrophe; NFC.

    Marks (category M) are kept, because in Devanagari, Tamil, Thai or vocalised Arabic they are the vowels; a mark
    with nothing to stand on is dropped. Apostrophes stay inside words only.
    """
    return join_words(fold(text, SPOKEN))


NONE = Profile(name="none", version="1", function=keep, by_word=True)
BASIC = Profile(name="basic", version="1", function=normalize_basic, by_word=True)
