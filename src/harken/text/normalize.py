"""Named, versioned, idempotent text normalisation.

A score means something only together with the normalisation it was taken under, so every profile has a name and a
version, both of which travel with the numbers. The version rises whenever any output changes.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from harken.core import InputError

APOSTROPHE = "'"
# What keyboards, editors and corpora put where an apostrophe (or the turned comma of Uzbek o‘ and g‘) belongs.
_APOSTROPHES = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u055a\u2018\u2019\u201b\u2032\ua78b\ua78c\uff07"
# Marks that choose a glyph and carry no sound: variation selectors and the combining grapheme joiner.
_GLYPH_CHOICES = (0x034F, *range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_REPEATED_APOSTROPHES = re.compile(f"{APOSTROPHE}{{2,}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to normalise text.

    `function` must be idempotent and must never raise. `by_word` promises that the function treats every
    whitespace-separated word alone and joins the results with single spaces, which lets a scorer call it once per
    distinct word of a corpus.
    """

    name: str
    version: str
    function: Callable[[str], str]
    by_word: bool


class _CharacterTable(dict[int, str]):
    """A `str.translate` table that works out each code point when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = replacement = _replace_character(chr(code))
        return replacement


def _replace_character(character: str) -> str:
    """The lower-case letter, digit or mark to keep; "" for what is invisible, " " for what separates words."""
    if character in _APOSTROPHES:
        return APOSTROPHE
    if character == "\u0130":  # İ: str.lower() would leave a combining dot behind the i
        return "i"
    if ord(character) in _GLYPH_CHOICES:
        return ""
    category = unicodedata.category(character)
    if category in ("Cf", "Me"):  # joiners, soft hyphens, direction marks; keycaps and rings: nothing one can hear
        return ""
    if category[0] in "PSZ" or category in ("Cc", "Cs"):
        return " "
    return character


_TABLE = _CharacterTable()


def _normalize_basic(text: str) -> str:
    """Lower case, no punctuation or symbols, one space between words, one form of the apostrophe; NFC.

    Not NFKC: it would turn one Arabic ligature into a phrase of four words and ½ into 1⁄2. Marks (category M) are
    kept, because in Devanagari, Tamil, Thai or vocalised Arabic they are the vowels; a mark with nothing to stand on
    is dropped. Apostrophes stay inside words only.
    """
    text = unicodedata.normalize("NFC", text).translate(_TABLE).lower()
    if not text.isascii():  # what was taken out may have stood between a letter and its mark
        text = unicodedata.normalize("NFC", text)
    if text.isascii() and APOSTROPHE not in text:
        return " ".join(text.split())
    return " ".join(word for word in map(_trim_word, text.split()) if word)


def _trim_word(word: str) -> str:
    start = 0
    while start < len(word) and (word[start] == APOSTROPHE or unicodedata.category(word[start])[0] == "M"):
        start += 1
    return _REPEATED_APOSTROPHES.sub(APOSTROPHE, word[start:].rstrip(APOSTROPHE))


def _keep(text: str) -> str:
    return text


_PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="none", version="1", function=_keep, by_word=True),
        Profile(name="basic", version="1", function=_normalize_basic, by_word=True),
    )
}


def profile_names() -> list[str]:
    """Names of all profiles, sorted."""
    return sorted(_PROFILES)


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises InputError that lists the known names."""
    if name not in _PROFILES:
        raise InputError(f"There is no normalisation profile {name!r}.", hint=f"Use one of: {', '.join(_PROFILES)}.")
    return _PROFILES[name]


def profile_identity(name: str) -> dict[str, str]:
    """`{"name", "version"}` of a profile, as reports state it. Raises InputError for an unknown name."""
    profile = find_profile(name)
    return {"name": profile.name, "version": profile.version}


def normalize(text: str, profile: str) -> str:
    """`text` under the named profile.

    "none" leaves it as it is. "basic" gives lower case, punctuation off, single spaces, one form of the apostrophe,
    and keeps combining marks, so that the word count of Indic, Thai and Arabic text stays what it was.

    Raises InputError for an unknown profile.
    """
    return find_profile(profile).function(text)
