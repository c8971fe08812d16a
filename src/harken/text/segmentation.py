"""Cutting text into the units that error rates count.

Chinese, Japanese, Thai, Lao, Khmer and Myanmar are written without spaces between words, and there is no one right way
to cut them into words, so there every written character is a unit. Text of other scripts is cut at white space. A
text that mixes both is cut part by part, which makes its error rate the mixed error rate (MER) used for
code-switched Mandarin and English.

A character is a letter with its marks, as a reader sees it: vowel signs, tone marks and stacked consonants belong to
the letter before them (Unicode Standard Annex 29, rules 9, 9a and 9c).
"""

import re
import unicodedata
from functools import cache
from typing import Literal

Units = Literal["mixed", "words"]
UNITS: tuple[Units, ...] = ("mixed", "words")

# First and last code points. CJK punctuation is in, because no space parts it from the letters beside it.
_UNSPACED = (
    (0x0E01, 0x0E3E),  # Thai, without the baht sign
    (0x0E40, 0x0E7F),
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x19E0, 0x19FF),
    (0x2E80, 0x2FDF),  # radicals of Chinese characters
    (0x3000, 0x30FF),  # CJK punctuation and iteration marks, Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar, extended
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF01, 0xFF0F),  # full-width punctuation; letters and digits of full width make words
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF9D),  # and half-width Katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFD),
)
_FIRST_UNSPACED = chr(_UNSPACED[0][0])
_WITHOUT_MARKS = range(0x3100, 0xA000), range(0xF900, 0x40000)  # of the blocks above
# Not of category M, yet part of the character before them: Thai and Lao AM, half-width voicing marks, joiners.
_CLINGING = "\u0e33\u0eb3\uff9e\uff9f\u200c\u200d"
# Marks that may follow a letter of any script; those of the scripts above are found by their category.
_COMMON_MARKS = (
    (0x0300, 0x036F),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
    (0xE0100, 0xE01EF),
)
_STACKERS = "\u1039\u17d2"  # join the next consonant to the one before
_ZERO_WIDTH_SPACE = "\u200b"  # parts words of Khmer, Myanmar and Thai without showing


def split_units(word: str) -> list[str]:
    """Units of a piece of text without white space: its characters where the script has no spaces, else the whole run.

    "hello世界" gives "hello", "世", "界". Kana signs that stand for a sound of their own (the prolonged sound mark,
    small letters, iteration marks) are units. What is cut off is nothing but zero-width spaces beside such text.
    """
    if max(word, default="") < _FIRST_UNSPACED:
        return [word]
    unspaced, unit = _patterns()
    return unit.findall(word) if unspaced.search(word) else [word]


def is_unspaced(unit: str) -> bool:
    """Whether a unit of `split_units` is a character of a script without spaces, so that no space stands beside it."""
    return unit[:1] >= _FIRST_UNSPACED and _patterns()[0].match(unit) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Finds a letter of a script without spaces; finds one unit after the other."""
    letters, marks = [], [_CLINGING, *(_span(*ends) for ends in _COMMON_MARKS)]
    for first, last in _UNSPACED:
        if any(first in block for block in _WITHOUT_MARKS):
            letters.append(_span(first, last))
            continue
        for character in map(chr, range(first, last + 1)):
            if unicodedata.category(character)[0] == "M":
                marks.append(character)
            elif character not in _CLINGING:
                letters.append(character)
    letter, mark = "".join(letters), "".join(marks)
    unit = f"[{letter}](?:[{mark}]|(?<=[{_STACKERS}])[{letter}])*|[^{letter}{_ZERO_WIDTH_SPACE}]+"
    return re.compile(f"[{letter}]"), re.compile(unit)


def _span(first: int, last: int) -> str:
    return f"{chr(first)}-{chr(last)}"
