"""The profile `russian`."""

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from harken.core import MissingPart
from harken.text.normalize import Profile
from harken.text.normalizers.characters import SPOKEN, fold, join_words
from harken.text.normalizers.numbers import HYPHEN, Number, NumberSpeller, number_pattern, split_european

_PACKAGE = "num2words"
_LONGEST_NUMBER = 15  # digits: up to hundreds of trillions
_LONGEST_FRACTION = 6
# Stress is written over Cyrillic vowels with one of these; й and ё are letters of their own and NFC keeps them whole.
_STRESS = re.compile("(?<=[\u0400-\u045f])[\u0300\u0301]+")
_LETTERS = str.maketrans({"ё": "е", "\u0450": "е", "\u045d": "и"})  # the last two: е and и with a grave, composed

# Case, gender and number of the ordinal that each ending stands for; masculine, singular, nominative where not said.
_FORMS: list[tuple[str, dict[str, Any]]] = [
    ("й ый ой ий", {}),
    ("я ая ья", {"gender": "f"}),
    ("е ое ье", {"gender": "n"}),
    ("го ого его", {"case": "g"}),
    ("му ому ему", {"case": "d"}),
    ("ю ую", {"case": "a", "gender": "f"}),
    ("м ом ем", {"case": "p"}),
    ("ым им", {"case": "i"}),
    ("ые ие ьи", {"plural": True}),
    ("х ых их", {"case": "g", "plural": True}),
    ("ми ыми ими", {"case": "i", "plural": True}),
]
_ORDINALS = {ending: form for endings, form in _FORMS for ending in endings.split()}
_GENITIVES = ("ти", "и", "ух", "ех")  # 5-ти, 2-ух: a cardinal
_YEARS: dict[str, dict[str, Any]] = {
    "год": {},
    "года": {"case": "g"},
    "году": {"case": "p"},
    "годом": {"case": "i"},
}
_IN_COMPOUNDS = {"одного": "одно", "девяноста": "девяносто", "ста": "сто", "одной": "", "тысячи": "тысяче"}
_LARGEST_IN_COMPOUND = 1000
_FIRST_YEAR, _LAST_YEAR = 1100, 2099
# 5-летний is one word. Only stems that form such words: after any other letters the number stands alone.
_COMPOUNDS = (
    "лет|дневн|часов|минутн|секундн|месячн|недельн|процентн|этажн|комнатн|местн|значн|балльн|кратн|градусн|рублев|"
    "долларов|литров|метров|километров|сантиметров|миллиметров|граммов|килограммов|тонн|тысячн|миллионн|миллиардн"
)
_PATTERN = number_pattern(
    "|".join(
        (
            r"(?P<percent>[ \u00a0]?%)",
            rf"{HYPHEN}(?P<ending>{'|'.join((*_ORDINALS, *_GENITIVES))})(?![^\W\d_])",
            rf"{HYPHEN}(?P<compound>(?:{_COMPOUNDS})[^\W\d_]*)",
            r"(?=[ \u00a0](?P<year>год[ау]?|годом)(?![^\W\d_]))",
            "",
        )
    )
)


def russian() -> Profile:
    """Russian as it is spoken: lower case, ё as е, no stress marks, numbers in words, no punctuation or hyphens.

    Raises MissingPart without num2words.
    """
    try:
        from num2words import num2words
    except ImportError as err:
        raise MissingPart(
            f"The normalisation profile 'russian' needs the package {_PACKAGE}.", hint="pip install 'harken[eval]'"
        ) from err
    words = _Russian(num2words)
    return Profile(name="russian", version=f"1+{_PACKAGE} {version(_PACKAGE)}", function=words, by_word=False)


class _Russian:
    def __init__(self, num2words: Callable[..., str]) -> None:
        self._num2words = lru_cache(1 << 14)(num2words)
        self._spell = NumberSpeller(minus="минус", pattern=_PATTERN, split=split_european, say=self._say)

    def __call__(self, text: str) -> str:
        return join_words(_fold_letters(fold(self._spell(_fold_letters(fold(text))), SPOKEN)))

    def _say(self, number: Number, match: re.Match[str] | None) -> str:
        if match is None or not any(match[name] for name in ("ending", "compound", "year", "percent")):
            return self._value(number)
        if match["percent"]:
            return f"{self._value(number)} {_percent(number)}"
        behind = match["compound"] or ""
        if number.fraction or not number.is_read_as_number(_LONGEST_NUMBER):
            return f"{self._value(number)} {behind}".rstrip()
        value = int(number.whole)
        if match["compound"]:
            return (
                f"{self._stem(value)}{behind}" if value <= _LARGEST_IN_COMPOUND else f"{self._value(number)} {behind}"
            )
        if match["year"]:
            is_year = _FIRST_YEAR <= value <= _LAST_YEAR
            return self._ordinal(value, _YEARS[match["year"]]) if is_year else self._value(number)
        return self._with_ending(value, match["ending"])

    def _with_ending(self, value: int, ending: str) -> str:
        small = value % 10 if value % 100 not in (12, 13, 14) else 0
        of_two_to_four = ending in ("х", "ух", "ех") and small in (2, 3, 4)  # 2-х: двух
        of_seven_or_eight = ending == "ми" and small in (7, 8)  # 7-ми: семи
        if ending in _GENITIVES or of_two_to_four or of_seven_or_eight:
            return self._num2words(value, lang="ru", case="g")
        if ending == "е" and value >= 40 and value % 10 == 0:  # в 90-е; 20-е is a day of the month
            return self._ordinal(value, {"plural": True})
        return self._ordinal(value, _ORDINALS[ending])

    def _ordinal(self, value: int, form: dict[str, Any]) -> str:
        return self._num2words(value, lang="ru", to="ordinal", **form)

    def _stem(self, value: int) -> str:
        """The first half of a compound such as пятилетний: the genitive in one word, but одно-, девяносто-, сто-."""
        words = self._num2words(value, lang="ru", case="g").split()
        return "".join(_IN_COMPOUNDS.get(word, word) for word in words)

    def _value(self, number: Number) -> str:
        if not number.fraction:
            return self._integer(number.whole)
        if not number.is_read_as_number(_LONGEST_NUMBER) or len(number.fraction) > _LONGEST_FRACTION:
            return f"{self._integer(number.whole)} целых {self._digits(number.fraction)}"
        whole, parts = int(number.whole), int(number.fraction)
        one = {"gender": "f"}
        part_name = self._ordinal(
            10 ** len(number.fraction), one if _ends_in_one(parts) else {"case": "g", "plural": True}
        )
        return (
            f"{self._feminine(whole)} {'целая' if _ends_in_one(whole) else 'целых'} {self._feminine(parts)} {part_name}"
        )

    def _feminine(self, value: int) -> str:
        """одна, две at the end only: the library's own feminine says одна миллион too."""
        thousands, rest = value // 1000 * 1000, value % 1000
        words = [self._integer(str(thousands))] if thousands else []
        if rest or not thousands:
            words.append(self._num2words(rest, lang="ru", gender="f"))
        return " ".join(words)

    def _integer(self, digits: str) -> str:
        if not Number(whole=digits).is_read_as_number(_LONGEST_NUMBER):
            return self._digits(digits)
        words = self._num2words(int(digits), lang="ru")
        return words.removeprefix("одна ") if words.startswith("одна тысяча") else words  # as years and sums are said

    def _digits(self, digits: str) -> str:
        return " ".join(self._num2words(int(digit), lang="ru") for digit in digits)


def _ends_in_one(value: int) -> bool:
    return value % 10 == 1 and value % 100 != 11


def _percent(number: Number) -> str:
    value = int(number.whole[-2:])
    if number.fraction or (value % 10 in (2, 3, 4) and value not in (12, 13, 14)):
        return "процента"
    return "процент" if _ends_in_one(value) else "процентов"


def _fold_letters(text: str) -> str:
    if text.isascii():
        return text
    if _STRESS.search(text):
        text = fold(_STRESS.sub("", text))
    return text.translate(_LETTERS)
