"""The profiles `uzbek`, `uzbek-latin` and `uzbek-cyrillic`."""

import re
import unicodedata
from functools import lru_cache

from harken.text.normalize import Profile
from harken.text.normalizers.characters import SPOKEN, CharacterTable, drop_leading_marks, fold
from harken.text.normalizers.numbers import HYPHEN, Number, NumberSpeller, has_digits, number_pattern, split_european
from harken.text.normalizers.uzbek_scripts import TURNED_COMMA, TUTUQ, to_cyrillic, to_latin, unify_letters

_WORDS_REMEMBERED = 1 << 17  # about a corpus's vocabulary; each word costs some 200 bytes
_LONGEST_NUMBER = 15  # digits: up to hundreds of trillions
_LONGEST_FRACTION = 6
_SIGNS = TURNED_COMMA + TUTUQ

_ONES = ["nol", "bir", "ikki", "uch", "toʻrt", "besh", "olti", "yetti", "sakkiz", "toʻqqiz"]
_TENS = ["", "oʻn", "yigirma", "oʻttiz", "qirq", "ellik", "oltmish", "yetmish", "sakson", "toʻqson"]
_THOUSANDS = ["", "ming", "million", "milliard", "trillion"]
_ROUND = {100: "yuz", 1000: "ming", 100_000: "yuz ming"}  # said without bir (one) when alone

_LETTER = rf"[^\W\d_{_SIGNS}]"
_ENDINGS = ["lar", "si", "i", "ni", "ning", "gacha", "ga", "ka", "qa", "dagi", "dan", "da", "cha", "lik", "mi", "dek"]
_JOINED = ["ta", "lar", "ning", "ni", "gacha", "ga", "ka", "qa", "dagi", "dan", "da", "lik"]


def _either_script(latin: list[str]) -> str:
    return "|".join(latin + [to_cyrillic(ending) for ending in latin])


_ENDING = f"(?:{_either_script(_ENDINGS)})*(?!{_LETTER})"
_PATTERN = number_pattern(
    "|".join(
        (
            rf"(?P<percent>[ \u00a0]?%(?:{HYPHEN}?(?P<of_percent>{_LETTER}+))?)",
            rf"{HYPHEN}?(?P<ordinal>(?:i?n)?chi{_ENDING}|(?:и?н)?чи{_ENDING})",
            rf"(?: |{HYPHEN})?(?P<counted>(?:ta|та){_ENDING})",
            rf"{HYPHEN}?(?P<joined>(?:{_either_script(_JOINED)}){_ENDING})",
            rf"(?P<before_noun>{HYPHEN}[\"“”«»„]?(?={_LETTER}))",
            "",
        )
    )
)


def cardinal(number: int) -> str:
    """An integer below 10**15 in Uzbek words, Latin letters. 100 is yuz, 1000 ming, 1100 bir ming bir yuz."""
    if number in _ROUND:
        return _ROUND[number]
    if number == 0:
        return _ONES[0]
    words: list[str] = []
    for power in range(len(_THOUSANDS) - 1, -1, -1):
        group = number // 1000**power % 1000
        if group:
            words += [*_below_thousand(group), _THOUSANDS[power]]
    return " ".join(word for word in words if word)


def _below_thousand(number: int) -> list[str]:
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    words = [_ONES[hundreds], "yuz"] if hundreds else []
    return words + [word for word in (_TENS[tens], _ONES[ones] if ones else "") if word]


def ordinal(words: str) -> str:
    """A cardinal in words made an ordinal: ikki, ikkinchi; besh, beshinchi."""
    return words + ("nchi" if words[-1] in "aeiou" else "inchi")


def _say(number: Number, match: re.Match[str] | None) -> str:
    words = _say_value(number)
    if match is None:
        return words
    if match["percent"]:
        return f"{words} foiz{to_latin(match['of_percent'] or '')}"
    if match["ordinal"]:
        ending = re.sub("^i?n?chi", "", to_latin(match["ordinal"]))
        return ordinal(words) + ending
    if match["counted"]:
        return _join(words, to_latin(match["counted"]))
    if match["joined"]:
        return _join(words, to_latin(match["joined"]))
    return ordinal(words) if match["before_noun"] and not number.fraction else words


def _join(words: str, ending: str) -> str:
    """Bir with ta is bitta; ga after q and k is qa and ka."""
    if ending.startswith("ta") and words.endswith("bir"):
        return words[:-1] + "t" + ending
    if ending.startswith("ga") and words[-1] in "qk":
        ending = words[-1] + ending[1:]
    return words + ending


def _say_value(number: Number) -> str:
    whole = _say_integer(number.whole)
    if not number.fraction:
        return whole
    if len(number.fraction) > _LONGEST_FRACTION:
        return f"{whole} butun {_say_digits(number.fraction)}"
    return f"{whole} butun {cardinal(10 ** len(number.fraction))}dan {cardinal(int(number.fraction))}"


def _say_integer(digits: str) -> str:
    if Number(whole=digits).is_read_as_number(_LONGEST_NUMBER):
        return cardinal(int(digits))
    return _say_digits(digits)


def _say_digits(digits: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in digits)


_LATIN_NUMBERS = NumberSpeller(minus="minus", pattern=_PATTERN, split=split_european, say=_say)


def _say_in_cyrillic(number: Number, match: re.Match[str] | None) -> str:
    return " ".join(map(to_cyrillic, _say(number, match).split()))


_CYRILLIC_NUMBERS = NumberSpeller(minus="минус", pattern=_PATTERN, split=split_european, say=_say_in_cyrillic)


def _is_mostly_cyrillic(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    cyrillic = sum("\u0400" <= letter <= "\u052f" for letter in letters)
    return 2 * cyrillic > len(letters)


def _keep_signs(character: str) -> str:
    return character if character in _SIGNS else SPOKEN[ord(character)].replace("'", " ")


_TABLE = CharacterTable(_keep_signs)


@lru_cache(_WORDS_REMEMBERED)
def _unify(word: str) -> str:
    return unify_letters(word)


@lru_cache(_WORDS_REMEMBERED)
def _latin(word: str) -> str:
    return drop_leading_marks(to_latin(word), _SIGNS)  # what the marks stood on may have been ъ


@lru_cache(_WORDS_REMEMBERED)
def _cyrillic(word: str) -> str:
    return unicodedata.normalize("NFC", to_cyrillic(word))


def _spoken_words(text: str, speller: NumberSpeller | None = None) -> list[str]:
    text = " ".join(map(_unify, fold(text).split(" ")))  # a space that cannot break may group digits: it stays
    if has_digits(text):
        speller = speller or (_CYRILLIC_NUMBERS if _is_mostly_cyrillic(text) else _LATIN_NUMBERS)
        text = speller(text)
    text = fold(text, _TABLE)
    words = text.split()
    return words if text.isascii() else [word for word in (drop_leading_marks(word, _SIGNS) for word in words) if word]


def normalize_uzbek(text: str) -> str:
    """Uzbek as it is spoken, in the script it is written in: lower case, numbers in words, no punctuation.

    oʻ and gʻ take U+02BB and the tutuq belgisi U+02BC, whatever sign or letter stood for them. Numbers get the script
    of most letters of the text, Latin where it has none.
    """
    return " ".join(_spoken_words(text))


def normalize_uzbek_latin(text: str) -> str:
    """`normalize_uzbek`, with Cyrillic letters written in Latin."""
    return " ".join(word for word in map(_latin, _spoken_words(text, _LATIN_NUMBERS)) if word)


def normalize_uzbek_cyrillic(text: str) -> str:
    """`normalize_uzbek`, with Latin letters written in Cyrillic."""
    return " ".join(map(_cyrillic, _spoken_words(text, _CYRILLIC_NUMBERS)))


UZBEK = Profile(name="uzbek", version="1", function=normalize_uzbek, by_word=False)
UZBEK_LATIN = Profile(name="uzbek-latin", version="1", function=normalize_uzbek_latin, by_word=False)
UZBEK_CYRILLIC = Profile(name="uzbek-cyrillic", version="1", function=normalize_uzbek_cyrillic, by_word=False)
