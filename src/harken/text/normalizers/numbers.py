"""Finding numbers written in digits, for the profiles that spell them out. What to say is up to each language.

Only what is unambiguous is taken together: digits grouped by three, one decimal separator, a minus sign at the start
of a word. Dates, times, versions and telephone numbers stay several numbers.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from harken.text.normalizers.characters import CharacterTable

HYPHEN = "[-\u2010\u2011]"


def _grouped_by(spaces: str) -> re.Pattern[str]:
    # 5 000 is one number; 90 123 45 67 and 7 916 123-45-67 are several, as telephone numbers are.
    return re.compile(
        rf"(?<![\w.,+])(?<!\d[{spaces}])[1-9]\d{{0,2}}(?:[{spaces}]\d{{3}})+(?![{spaces}]?\d|{HYPHEN}\d\d\b)", re.ASCII
    )


_GROUPED_BY_SPACES = (_grouped_by("\u00a0\u2009\u202f"), _grouped_by(" "))
_DIGIT = re.compile(r"\d")
_SEPARATOR = re.compile(r"[.,]")
_BY_THREE = re.compile(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})+|[1-9]\d{0,2}[.,]000", re.ASCII)
_INDIAN = re.compile(r"[1-9]\d?(?:,\d{2})*,\d{3}|[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)


def has_digits(text: str) -> bool:
    """Whether there is a digit of any script in the text."""
    return _DIGIT.search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number as it was written: ASCII digits, those behind the decimal separator apart ("" without one)."""

    whole: str
    fraction: str = ""

    def is_read_as_number(self, longest: int) -> bool:
        """Whether one says its value; 007 and what is longer than `longest` digits is said digit by digit."""
        return len(self.whole) <= longest and (self.whole == "0" or self.whole[0] != "0")


def number_pattern(suffix: str) -> re.Pattern[str]:
    """Matches digits with their separators, a minus sign before them and, behind them, the expression `suffix`."""
    return re.compile(rf"(?:(?<![^\s(])(?P<minus>[-\u2212]))?(?P<run>[0-9]+(?:[.,][0-9]+)*)(?:{suffix})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSpeller:
    """How one language says the numbers of a text.

    `pattern` comes from `number_pattern`. `say` gets a number and the match, in which it finds the suffix, or None
    for a number that others follow in one run of digits, as in a date.
    """

    minus: str
    pattern: re.Pattern[str]
    split: Callable[[str], list[Number]]
    say: Callable[[Number, re.Match[str] | None], str]
    spaces_group: bool = True

    def __call__(self, text: str) -> str:
        """`text` with numbers in words, spaces around them."""
        if not has_digits(text):
            return text
        if not text.isascii():
            text = text.translate(_ASCII_DIGITS)
        if self.spaces_group:
            for pattern in _GROUPED_BY_SPACES:
                text = pattern.sub(lambda match: re.sub(r"\D", "", match[0]), text)
        return self.pattern.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        *before, last = self.split(match["run"])
        words = [self.say(number, None) for number in before]
        words.append(self.say(last, match))
        if match["minus"] and not before:
            words.insert(0, self.minus)
        return f" {' '.join(words)} "


def _ascii_digit(character: str) -> str:
    return str(unicodedata.decimal(character, character))


_ASCII_DIGITS = CharacterTable(_ascii_digit)


def split_european(run: str) -> list[Number]:
    """1.500.000 and 5.000 are grouped, 3,5 and 3.5 are decimal, 1.500,75 is both, 10.05.2026 are three numbers."""
    if grouped := _BY_THREE.match(run):
        whole, rest = grouped[0], run[grouped.end() :]
        if not rest or (re.fullmatch(r"[.,]\d+", rest) and rest[0] not in whole):
            return [Number(whole=_SEPARATOR.sub("", whole), fraction=rest[1:])]
    return _split_decimal(run, _SEPARATOR)


def split_indian(run: str) -> list[Number]:
    """1,00,000 and 100,000 are grouped, 3.5 is decimal, 3,5 are two numbers, 10.05.2026 are three."""
    whole, point, fraction = run.partition(".")
    if _INDIAN.fullmatch(whole) and (not point or fraction.isdigit()):
        return [Number(whole=whole.replace(",", ""), fraction=fraction)]
    return _split_decimal(run, re.compile(r"\."))


def _split_decimal(run: str, separator: re.Pattern[str]) -> list[Number]:
    parts = _SEPARATOR.split(run)
    if len(parts) == 2 and separator.search(run):
        return [Number(whole=parts[0], fraction=parts[1])]
    return [Number(whole=part) for part in parts]
