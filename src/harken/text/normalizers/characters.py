"""What single characters become: the tables that the profiles share."""

import re
import unicodedata
from collections.abc import Callable

APOSTROPHE = "'"
# What keyboards, editors and corpora put where an apostrophe (or the turned comma of Uzbek o‘ and g‘) belongs.
APOSTROPHES = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u055a\u2018\u2019\u201b\u2032\ua78b\ua78c\uff07"
# Marks that choose a glyph and carry no sound: variation selectors and the combining grapheme joiner.
GLYPH_CHOICES = (0x034F, *range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_REPEATED_APOSTROPHES = re.compile(f"{APOSTROPHE}{{2,}}")


class CharacterTable(dict[int, str]):
    """A `str.translate` table that works out each code point when it is first met."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        self[code] = replacement = self._replace(chr(code))
        return replacement


def _drop_invisible(character: str) -> str:
    """The character itself; "" for what is invisible, " " for a control character."""
    if character == "\u0130":  # İ: str.lower() would leave a combining dot behind the i
        return "i"
    if ord(character) in GLYPH_CHOICES:
        return ""
    category = unicodedata.category(character)
    if category in ("Cf", "Me"):  # joiners, soft hyphens, direction marks; keycaps and rings: nothing one can hear
        return ""
    return " " if category in ("Cc", "Cs") else character


def _drop_symbol(character: str) -> str:
    """The letter, digit or mark to keep; "" for what is invisible, " " for what separates words."""
    if character in APOSTROPHES:
        return APOSTROPHE
    character = _drop_invisible(character)
    return " " if character and unicodedata.category(character)[0] in "PSZ" else character


VISIBLE = CharacterTable(_drop_invisible)
SPOKEN = CharacterTable(_drop_symbol)


def fold(text: str, table: CharacterTable = VISIBLE) -> str:
    """NFC and lower case, after `table`. By default only invisible characters go; punctuation stays.

    Not NFKC: it would turn one Arabic ligature into a phrase of four words and ½ into 1⁄2.
    """
    text = unicodedata.normalize("NFC", text).translate(table).lower()
    # What was taken out may have stood between a letter and its mark.
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def join_words(text: str) -> str:
    """Words with one space between them, without apostrophes at their edges or marks that stand on nothing."""
    if text.isascii() and APOSTROPHE not in text:
        return " ".join(text.split())
    return " ".join(word for word in map(_trim_word, text.split()) if word)


def drop_leading_marks(word: str, others: str = "") -> str:
    """`word` from its first character that is neither a combining mark nor one of `others`."""
    start = 0
    while start < len(word) and (word[start] in others or unicodedata.category(word[start])[0] == "M"):
        start += 1
    return word[start:]


def _trim_word(word: str) -> str:
    return _REPEATED_APOSTROPHES.sub(APOSTROPHE, drop_leading_marks(word, APOSTROPHE).rstrip(APOSTROPHE))
