"""The Hindi profile: letters and numbers."""

import unicodedata

import pytest

from harken.text import normalize
from harken.text.normalizers.hindi import cardinal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("हिन्दी में भाषा। राम॥", "हिन्दी में भाषा राम"),
        ("\u0958\u0932\u092e \u0915\u093c\u0932\u092e", "क\u093cलम क\u093cलम"),  # nukta: composed and apart
        ("\u0928\u093c \u0929", "\u0929 \u0929"),  # the one that NFC composes
        ("क्\u200dष क्\u200cष", "क्ष क्ष"),
        ("चाँद चांद हँसना", "चाँद चांद हँसना"),  # chandrabindu and anusvara are the writer's choice
        ("डॉ॰ शर्मा, Delhi!", "डॉ शर्मा delhi"),
        ("दुःख", "दुःख"),
    ],
)
def test_letters(text: str, expected: str) -> None:
    assert normalize(text, "hindi") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("५ 5 १० 10", "पाँच पाँच दस दस"),
        ("1,00,000 १,२३,४५,६७८", "एक लाख एक करोड़ तेईस लाख पैंतालीस हज़ार छह सौ अठहत्तर"),
        ("100,000 1,500", "एक लाख एक हज़ार पाँच सौ"),
        ("3.5 2.05", "तीन दशमलव पाँच दो दशमलव शून्य पाँच"),
        ("10% 10 % ३.५%", "दस प्रतिशत दस प्रतिशत तीन दशमलव पाँच प्रतिशत"),
        ("5वीं 10वां 6वाँ 21वें", "पाँचवीं दसवां छठवाँ इक्कीसवें"),
        ("1ला 2री 3रे 4था 6ठी 10001ला", "पहला दूसरी तीसरे चौथा छठी दस हज़ार एक ला"),
        ("-5 10-15", "माइनस पाँच दस पंद्रह"),
        ("12:30 10.05.2026 007", "बारह तीस दस शून्य पाँच दो हज़ार छब्बीस शून्य शून्य सात"),
        ("12345678901234", "एक दो तीन चार पाँच छह सात आठ नौ शून्य एक दो तीन चार"),
        ("5 000", "पाँच शून्य शून्य शून्य"),  # Hindi groups with commas only
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert normalize(text, "hindi") == unicodedata.normalize("NFC", expected)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "शून्य"),
        (100, "एक सौ"),
        (101, "एक सौ एक"),
        (1999, "एक हज़ार नौ सौ निन्यानवे"),
        (10**5, "एक लाख"),
        (10**7, "एक करोड़"),
        (10**9, "एक अरब"),
        (10**13 - 1, "निन्यानवे खरब निन्यानवे अरब निन्यानवे करोड़ निन्यानवे लाख निन्यानवे हज़ार नौ सौ निन्यानवे"),
    ],
)
def test_cardinals(number: int, words: str) -> None:
    assert cardinal(number) == words


def test_cardinals_agree_with_another_table() -> None:
    """indic-numtowords is another team's table: it spells eight words differently, one of them (44) as nearly 34."""
    theirs = pytest.importorskip("indic_numtowords", reason="needs the package indic-numtowords")
    different = {}
    for number in [*range(100), 123, 4567, 89_999, 1_234_599, 98_765_421]:
        other = unicodedata.normalize("NFC", theirs.num2words(number, lang="hi"))
        if unicodedata.normalize("NFC", cardinal(number)) != other:
            different[number] = other
    assert different.keys() == {6, 18, 44, 53, 63, 66, 67, 88, 4567}  # 4567 ends in 67
