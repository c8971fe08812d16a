"""Uzbek in its two scripts: one form of oʻ, gʻ and the tutuq belgisi, Cyrillic to Latin and Latin to Cyrillic.

All functions take one lower-case word (NFC, no white space). Letters follow the law of 1995 on the Latin alphabet and
the spelling rules of the same year; the rules for е, ц, ъ and ь are theirs. What one script does not write cannot be
read back: `to_cyrillic` restores ц, ь, ъ and й before о by rule and from the short list of loan words below.
"""

import re
import unicodedata

TURNED_COMMA = "\u02bb"  # of oʻ and gʻ
TUTUQ = "\u02bc"  # glottal stop, ъ in Cyrillic
_SIGNS = "'`\u00b4\u02b9-\u02bf\u02c8\u02ca\u02cb\u0384\u055a\u2018\u2019\u201b\u2032\u2035\ua78b\ua78c\uff07"
_SIGN_RUN = re.compile(f"[{_SIGNS}]+")
_LETTER_SIGN = re.compile("[\u02b9-\u02bf\u02c8\u02ca\u02cb\ua78b\ua78c]")  # letters to Unicode: never a closing quote
_OPENING_QUOTE = re.compile(rf"[^\w]*[{_SIGNS}]")
# Letters of other Uzbek alphabets (the drafts of 2018 to 2023 and common substitutes).
_LETTERS = str.maketrans(
    {
        **dict.fromkeys("ŏõó", "o" + TURNED_COMMA),
        **dict.fromkeys("ğǵ", "g" + TURNED_COMMA),
        "ş": "sh",
        "ç": "ch",
    }
)

_LATIN = dict(zip("абвгджзийклмнопрстуфхэқҳы", "abvgdjziyklmnoprstufxeqhi", strict=True)) | {
    "ё": "yo",
    "ю": "yu",
    "я": "ya",
    "ў": "o" + TURNED_COMMA,
    "ғ": "g" + TURNED_COMMA,
    "ш": "sh",
    "щ": "sh",
    "ч": "ch",
}
_IOTATED = "еёюя"
_VOWELS = "аеёиоуэюяўыaeiou"
_RESPELLED = {"сентябр": "сентабр", "октябр": "октабр", "бюджет": "буджет"}  # as their Latin spelling has it

_CYRILLIC = dict(zip("abvgdjziyklmnoprstufxeqhcw", "абвгджзийклмнопрстуфхеқҳсв", strict=True)) | {
    "o" + TURNED_COMMA: "ў",
    "g" + TURNED_COMMA: "ғ",
    "yo" + TURNED_COMMA: "йў",
    "s" + TUTUQ + "h": "сҳ",
    "sh": "ш",
    "ch": "ч",
    "ya": "я",
    "yo": "ё",
    "yu": "ю",
    "ye": "е",
    "ts": "тс",
    TUTUQ: "ъ",
}
_CYRILLIC_UNIT = re.compile("ts(?!h)|" + "|".join(sorted(_CYRILLIC.keys() - {"ts"}, key=len, reverse=True)))
# ts is ц in loan words, but native т-с where a suffix begins with s: ket-sa, ayt-sin, uyat-siz.
_NATIVE_TS = re.compile(r"ts(?:a|in(?:lar)?$|iz(?!m)|u)")
_TS_OF_ONE_LETTER = re.compile(r"(?<=[nkp])siya")
_HARD_SIGN_PREFIX = re.compile(r"^(?:ob|sub|pod|ad|in|s)(?=ye)")
_MONTHS = {"yanvar": "январ", "fevral": "феврал", "aprel": "апрел", "iyun": "июн", "iyul": "июл"} | {
    "sentabr": "сентябр",
    "oktabr": "октябр",
    "noyabr": "ноябр",
    "dekabr": "декабр",
}
_WHOLE_WORDS = {latin: cyrillic + "ь" for latin, cyrillic in _MONTHS.items()} | {
    "avtomobil": "автомобиль",
    "festival": "фестиваль",
    "model": "модель",
    "rol": "роль",
    "sirk": "цирк",  # sirka, vinegar, is сирка
}
_TO_CYRILLIC_EXCEPTIONS = _MONTHS | {
    "albom": "альбом",
    "asfalt": "асфальт",
    "budjet": "бюджет",
    "film": "фильм",
    "intervyu": "интервью",
    "kompyuter": "компьютер",
    "konsert": "концерт",
    "mayor": "майор",
    "mikrorayon": "микрорайон",
    "multfilm": "мультфильм",
    "palto": "пальто",
    "pensiya": "пенсия",
    "prinsip": "принцип",
    "rayon": "район",
    "sement": "цемент",
    "sentner": "центнер",
    "sivilizatsiya": "цивилизация",
    "vaksina": "вакцина",
}


def unify_letters(word: str) -> str:
    """One spelling of oʻ and gʻ (U+02BB) and of the tutuq belgisi (U+02BC), whatever signs stand for them.

    A sign at the end of a word counts where it cannot be a closing quote, or after o and g where no quote is open.
    """
    word = word.translate(_LETTERS)
    if word.isalpha() and word.isascii():
        return word
    opened = _OPENING_QUOTE.match(word) is not None

    def replace(match: re.Match[str]) -> str:
        before, after = word[: match.start()][-1:], word[match.end() :][:1]
        if not _is_letter(before):
            return " "
        marked = before in "og"
        if after.isalpha() or _LETTER_SIGN.search(match[0]) or (marked and (not opened or len(match[0]) > 1)):
            return TURNED_COMMA if marked else TUTUQ
        return " "

    return _SIGN_RUN.sub(replace, word)


def to_latin(word: str) -> str:
    """Cyrillic letters of a word in Latin: е is ye at the start and after a vowel, ц ts after a vowel, else s."""
    if word.isascii():
        return word
    for written, respelled in _RESPELLED.items():
        if word.startswith(written):
            word = respelled + word[len(written) :]
    latin = ""
    before, on_cyrillic = "", False
    for place, letter in enumerate(word):
        if unicodedata.category(letter)[0] == "M":
            # Stress, mostly. On the Latin letter a mark would say something else: о́ is not oʻ, though ó is.
            latin += "" if on_cyrillic else letter
        else:
            latin += _letter_to_latin(letter, before, word[place + 1 : place + 2], latin)
            before, on_cyrillic = letter, "\u0400" <= letter <= "\u052f" or letter == TUTUQ
    return latin


def _letter_to_latin(letter: str, before: str, after: str, latin: str) -> str:
    """`latin` is what has been written so far."""
    after_vowel = _ends_in_vowel(before)
    if letter == "е":
        return "ye" if not before or after_vowel or before in "ъь" else "e"
    if letter == "ц":
        return "" if before == "ц" else "ts" if after_vowel else "s"
    if letter == "ь":
        return "y" if after == "о" else ""
    if letter in ("ъ", TUTUQ):
        # Behind letters only; not after oʻ and gʻ, nor o and g that it would turn into them; not in Russian объект.
        russian = after != "" and after in _IOTATED and not after_vowel
        end = latin[-1:]
        return TUTUQ if _is_letter(end) and end not in f"og{TURNED_COMMA}{TUTUQ}" and not russian else ""
    if letter == "ҳ" and before == "с":
        return TUTUQ + "h"
    return _LATIN.get(letter, letter)


def _is_letter(character: str) -> bool:
    return character != "" and unicodedata.category(character)[0] in "LM"


def _ends_in_vowel(word: str) -> bool:
    return word.endswith("o" + TURNED_COMMA) or (word != "" and word[-1] in _VOWELS)


def to_cyrillic(word: str) -> str:
    """Latin letters of a word in Cyrillic. Not the inverse of `to_latin`: Latin spelling says less."""
    if word in _WHOLE_WORDS:
        return _WHOLE_WORDS[word]
    for latin, cyrillic in _TO_CYRILLIC_EXCEPTIONS.items():
        if word.startswith(latin):
            word = cyrillic + word[len(latin) :]
            break
    word = _TS_OF_ONE_LETTER.sub("tsiya", word)
    hard = _HARD_SIGN_PREFIX.match(word)

    def replace(match: re.Match[str]) -> str:
        unit, before = match[0], word[: match.start()]
        after_consonant = before[-1:].isalpha() and before[-1] != TUTUQ and not _ends_in_vowel(before)
        if unit == "e":
            return "е" if after_consonant else "э"
        if unit == "ye" and after_consonant:
            return "ъе" if hard and hard.end() == match.start() else "ье"
        if unit == "ts":
            return "тс" if _NATIVE_TS.match(word, match.start()) else "ц"
        return _CYRILLIC[unit]

    return _CYRILLIC_UNIT.sub(replace, word)
