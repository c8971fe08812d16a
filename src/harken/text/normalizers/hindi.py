"""The profile `hindi`."""

import re

from harken.text.normalize import Profile
from harken.text.normalizers.characters import SPOKEN, fold, join_words
from harken.text.normalizers.numbers import HYPHEN, Number, NumberSpeller, number_pattern, split_indian

_LONGEST_NUMBER = 13  # digits: up to 99 kharab
# 0 to 99, which Hindi does not build from tens and ones. Spelling of the Central Hindi Directorate.
# fmt: off
_BELOW_HUNDRED = [
    "शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ",
    "दस", "ग्यारह", "बारह", "तेरह", "चौदह", "पंद्रह", "सोलह", "सत्रह", "अठारह", "उन्नीस",
    "बीस", "इक्कीस", "बाईस", "तेईस", "चौबीस", "पच्चीस", "छब्बीस", "सत्ताईस", "अट्ठाईस", "उनतीस",
    "तीस", "इकतीस", "बत्तीस", "तैंतीस", "चौंतीस", "पैंतीस", "छत्तीस", "सैंतीस", "अड़तीस", "उनतालीस",
    "चालीस", "इकतालीस", "बयालीस", "तैंतालीस", "चवालीस", "पैंतालीस", "छियालीस", "सैंतालीस", "अड़तालीस", "उनचास",
    "पचास", "इक्यावन", "बावन", "तिरपन", "चौवन", "पचपन", "छप्पन", "सत्तावन", "अट्ठावन", "उनसठ",
    "साठ", "इकसठ", "बासठ", "तिरसठ", "चौंसठ", "पैंसठ", "छियासठ", "सड़सठ", "अड़सठ", "उनहत्तर",
    "सत्तर", "इकहत्तर", "बहत्तर", "तिहत्तर", "चौहत्तर", "पचहत्तर", "छिहत्तर", "सतहत्तर", "अठहत्तर", "उन्यासी",
    "अस्सी", "इक्यासी", "बयासी", "तिरासी", "चौरासी", "पचासी", "छियासी", "सत्तासी", "अट्ठासी", "नवासी",
    "नब्बे", "इक्यानवे", "बानवे", "तिरानवे", "चौरानवे", "पचानवे", "छियानवे", "सत्तानवे", "अट्ठानवे", "निन्यानवे",
]
# fmt: on
_SCALES = ((10**11, "खरब"), (10**9, "अरब"), (10**7, "करोड़"), (10**5, "लाख"), (10**3, "हज़ार"), (100, "सौ"))
# 1ला, 2री and so on: the ordinals that are words of their own, without their last vowel.
_ORDINALS = {("1", "ल"): "पहल", ("2", "र"): "दूसर", ("3", "र"): "तीसर", ("4", "थ"): "चौथ", ("6", "ठ"): "छठ"}
_PATTERN = number_pattern(
    "|".join(
        (
            r"(?P<percent>[ \u00a0]?%)",
            rf"{HYPHEN}?(?P<ordinal>(?:व[ाीे][ँं]?))(?!\w)",
            rf"{HYPHEN}?(?P<letter>[लरथठ])(?P<vowel>[ाीे])(?!\w)",
            "",
        )
    )
)


def cardinal(number: int) -> str:
    """An integer below 10**13 in Hindi words, by lakh and crore. 100 is एक सौ."""
    if number < 100:
        return _BELOW_HUNDRED[number]
    words: list[str] = []
    for value, name in _SCALES:
        if number >= value:
            words += [_BELOW_HUNDRED[number // value], name]
            number %= value
    if number:
        words.append(_BELOW_HUNDRED[number])
    return " ".join(words)


def _say(number: Number, match: re.Match[str] | None) -> str:
    words = _say_value(number)
    if match is None:
        return words
    if match["percent"]:
        return f"{words} प्रतिशत"
    if match["ordinal"]:
        return _sixth(words) + match["ordinal"]
    if match["letter"]:
        stem = None if number.fraction else _ORDINALS.get((number.whole, match["letter"]))
        return stem + match["vowel"] if stem else f"{words} {match['letter']}{match['vowel']}"
    return words


def _sixth(words: str) -> str:
    return words[:-1] + "ठ" if words.endswith("छह") else words  # छठवाँ


def _say_value(number: Number) -> str:
    is_number = number.is_read_as_number(_LONGEST_NUMBER)
    whole = cardinal(int(number.whole)) if is_number else _say_digits(number.whole)
    return f"{whole} दशमलव {_say_digits(number.fraction)}" if number.fraction else whole


def _say_digits(digits: str) -> str:
    return " ".join(_BELOW_HUNDRED[int(digit)] for digit in digits)


_NUMBERS = NumberSpeller(minus="माइनस", pattern=_PATTERN, split=split_indian, say=_say, spaces_group=False)


def normalize_hindi(text: str) -> str:
    """Hindi as it is spoken: numbers in words whichever digits they are in, no danda or other punctuation.

    NFC gives क़ and its like one spelling, a consonant and a nukta; joiners go. Chandrabindu and anusvara, and a
    nukta that the writer left out, stay as written.
    """
    return join_words(fold(_NUMBERS(fold(text)), SPOKEN))


HINDI = Profile(name="hindi", version="1", function=normalize_hindi, by_word=False)
