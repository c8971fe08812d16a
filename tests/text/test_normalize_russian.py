"""The Russian profile: letters, stress, numbers."""

import sys

import pytest

from harken.core import MissingPart
from harken.text import normalize
from harken.text.normalizers import russian

pytest.importorskip("num2words", reason="needs the package num2words (extra eval)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("«Привет», — сказал он!", "привет сказал он"),
        ("Ёлка, ещё, всё", "елка еще все"),
        ("Йод, мой йогурт", "йод мой йогурт"),
        ("И\u0306од е\u0308лка", "йод елка"),  # decomposed on the way in
        ("за\u0301мок и замо\u0301к, й\u0301, ё\u0301", "замок и замок й е"),
        ("и\u0301\u0306 и\u0306\u0301", "й й"),  # stress before and behind the breve
        ("\u0450 \u045d", "е и"),  # stressed with a grave, composed
        ("cafe\u0301 naïve", "café naïve"),  # accents of Latin letters are not stress
        ("кто-то из-за по-русски", "кто то из за по русски"),
        ("ўзбек қиз ғоя дунёси", "ўзбек қиз ғоя дунеси"),
        ("об\u00adъект", "объект"),
    ],
)
def test_letters(text: str, expected: str) -> None:
    assert normalize(text, "russian") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 1 2 21 40 100", "ноль один два двадцать один сорок сто"),
        ("1000 1500 21000 1001000", "тысяча тысяча пятьсот двадцать одна тысяча один миллион одна тысяча"),
        ("5 000 000 рублей 1.500.000", "пять миллионов рублей один миллион пятьсот тысяч"),
        ("2\u00a0000 и 90 123 45 67", "две тысячи и девяносто сто двадцать три сорок пять шестьдесят семь"),
        ("+7 916 123-45-67", "семь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь"),
        ("-5 градусов, \u22125", "минус пять градусов минус пять"),
        ("3,5 0,25 1,1 2.05", "три целых пять десятых ноль целых двадцать пять сотых одна целая одна десятая"
         " две целых пять сотых"),
        ("1500000,5", "один миллион пятьсот тысяч целых пять десятых"),
        ("1% 2% 5 % 11% 21% 112% 3,5%", "один процент два процента пять процентов одиннадцать процентов"
         " двадцать один процент сто двенадцать процентов три целых пять десятых процента"),
        ("12:30 10.05.2026 007", "двенадцать тридцать десять ноль пять две тысячи двадцать шесть ноль ноль семь"),
        ("1234567890123456", "один два три четыре пять шесть семь восемь девять ноль один два три четыре пять шесть"),
        ("5км Т-34 ٥", "пять км т тридцать четыре пять"),
    ],
)  # fmt: skip
def test_cardinals_and_decimals(text: str, expected: str) -> None:
    assert normalize(text, "russian") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5-й этаж", "пятый этаж"),
        ("5-го мая", "пятого мая"),
        ("5-му 5-я 5-ю 5-е", "пятому пятая пятую пятое"),
        ("3-й 3-я 3-го 23-х", "третий третья третьего двадцати трех"),
        ("в 2020-м году", "в две тысячи двадцатом году"),
        ("90-е 1990-е 60-х", "девяностые тысяча девятьсот девяностые шестидесятых"),
        ("20-е число", "двадцатое число"),
        ("2-х 3-х 5-ти 7-ми 8-ми", "двух трех пяти семи восьми"),
        ("40-й 100-й 1000-й 2000-й", "сороковой сотый тысячный двухтысячный"),
        ("5\u2011й", "пятый"),
        ("в 1995 году, 2000 года, 2020 год", "в тысяча девятьсот девяносто пятом году двухтысячного года"
         " две тысячи двадцатый год"),
        ("2 года, 22 года, 3000 года", "два года двадцать два года три тысячи года"),
        ("5-летний 25-летие 100-летие", "пятилетний двадцатипятилетие столетие"),
        ("1-комнатная 90-минутный 1000-летие", "однокомнатная девяностоминутный тысячелетие"),
        ("5-кабельный", "пять кабельный"),
    ],
)  # fmt: skip
def test_ordinals_years_and_compounds(text: str, expected: str) -> None:
    assert normalize(text, "russian") == expected


def test_the_version_names_the_library() -> None:
    assert russian.russian().version.startswith("1+num2words 0.")


def test_without_num2words_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(MissingPart, match=r"'russian' needs the package num2words\. pip install 'harken\[eval\]'"):
        russian.russian()
