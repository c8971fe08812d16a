"""Words as phonemes: epitran for Russian, Uzbek (both scripts) and Hindi, espeak-ng for English.

Both go by spelling, word by word: Russian vowels are not reduced, since stress is not written, and a word has one
pronunciation, however it was spoken.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from harken.audio.pronunciation import pronounce_words
from harken.core import MissingPart

Phonemes = tuple[str, ...]

INSTALL_HINT = "Install it with: pip install 'harken[eval]'."

LANGUAGES = {"en": "English", "hi": "Hindi", "ru": "Russian", "uz": "Uzbek"}

_LATIN, _CYRILLIC, _DEVANAGARI = r"A-Za-zÀ-ÖØ-öø-ɏ", r"Ѐ-ԯ", r"\u0900-\u0963\u0970-\u097f"
_APOSTROPHES = "'`´ʹʻʼʽʾʿ‘’‛′"
_JOINERS = rf"{_APOSTROPHES}\-\u0300-\u036f\u200c\u200d"


def pronounce(words: Sequence[str], language: str) -> list[Phonemes]:
    """Phonemes of each word in IPA, in the segments panphon knows (English diphthongs in one piece).

    An empty tuple where there is no pronunciation: a word in a script the language is not written in, with digits
    (except in English), or of several scripts.

    Raises KeyError for a language that is not in `LANGUAGES`, MissingPart for an absent package.
    """
    return _PRONOUNCERS[language]([word.lower() for word in words])


@cache
def feature_table() -> Any:
    """panphon's table of sounds and their articulatory features. Raises MissingPart without the package."""
    try:
        import panphon
    except ImportError as err:
        raise MissingPart("Phoneme confusions need the package panphon.", hint=INSTALL_HINT) from err
    return panphon.FeatureTable()


@cache
def _epitran(code: str) -> Any:
    try:
        from epitran.simple import SimpleEpitran
    except ImportError as err:
        raise MissingPart("Phonemes of Russian, Uzbek and Hindi need the package epitran.", hint=INSTALL_HINT) from err
    return SimpleEpitran(code)  # what epitran.Epitran works with for these; alone it loads in a third of the time


def _by_epitran(
    code: str, script: str, prepare: Callable[[str], str] = str, finish: Callable[[str], str] = str
) -> Callable[[str], Phonemes]:
    written_so = re.compile(rf"[{_JOINERS}]*[{script}][{script}{_JOINERS}]*")

    def convert(word: str) -> Phonemes:
        if not written_so.fullmatch(word):
            return ()
        return tuple(feature_table().ipa_segs(finish(_epitran(code).transliterate(prepare(word)))))

    return convert


def _prepare_uzbek_latin(word: str) -> str:
    """One sign in oʻ and gʻ, another for the glottal stop: epitran takes o’ (U+2019) for an o and a stop."""
    return re.sub(f"([og]?)[{_APOSTROPHES}]", lambda found: found[1] + ("ʻ" if found[1] else "ʼ"), word)


def _prepare_uzbek_cyrillic(word: str) -> str:
    """Letters of Russian words, which epitran's table lacks, and е where it stands for ye.

    As the Latin spelling has it: е is ye at the start, after a vowel and after ъ or ь; ъ is a glottal stop elsewhere
    and silent before е ё ю я; ь is silent.
    """
    word = word.replace("щ", "ш").replace("ы", "и")
    word = re.sub("(^|[аеёиоуўэюяъь-])е", r"\1йе", word)
    return re.sub("ъ(?=[йёюя])|ь", "", word)


def _join_affricate(ipa: str) -> str:
    """ц as one sound, as in the Latin table; т is dental, so no other pair of letters gives these two signs."""
    return ipa.replace("ts", "t͡s")


_ENGLISH_WORD = re.compile(rf"(?=.*[A-Za-z0-9])[{_LATIN}0-9{_JOINERS}]+")
# espeak-ng's narrower signs, and how panphon writes affricates
_ENGLISH_SIGNS = {"ɚ": "əɹ", "ᵻ": "ɪ", "ɐ": "ə", "tʃ": "t͡ʃ", "dʒ": "d͡ʒ"}
_DIPHTHONGS = {("a", "ɪ"), ("a", "ʊ"), ("e", "ɪ"), ("o", "ʊ"), ("ɔ", "ɪ")}


def _pronounce_english(words: Sequence[str]) -> list[Phonemes]:
    table = feature_table()
    spoken = iter(pronounce_words([word for word in words if _ENGLISH_WORD.fullmatch(word)], voice="en-US"))
    found: list[Phonemes] = []
    for word in words:
        units = next(spoken) if _ENGLISH_WORD.fullmatch(word) else []
        if word == "a":  # alone, espeak-ng takes it for the letter
            units = ["ə"]
        found.append(tuple(phoneme for unit in units for phoneme in _split_english(unit, table)))
    return found


def _split_english(unit: str, table: Any) -> list[str]:
    for sign, ipa in _ENGLISH_SIGNS.items():
        unit = unit.replace(sign, ipa)
    parts: list[str] = []
    for segment in table.ipa_segs(unit):
        if parts and (parts[-1], segment) in _DIPHTHONGS:
            parts[-1] += segment
        else:
            parts.append(segment)
    return parts


def _each(*converters: Callable[[str], Phonemes]) -> Callable[[Sequence[str]], list[Phonemes]]:
    """The first pronunciation that a converter finds for a word."""

    def pronounce_all(words: Sequence[str]) -> list[Phonemes]:
        return [next(filter(None, (convert(word) for convert in converters)), ()) for word in words]

    return pronounce_all


_PRONOUNCERS: dict[str, Callable[[Sequence[str]], list[Phonemes]]] = {
    "en": _pronounce_english,
    "hi": _each(_by_epitran("hin-Deva", _DEVANAGARI)),
    "ru": _each(_by_epitran("rus-Cyrl", _CYRILLIC)),
    "uz": _each(
        _by_epitran("uzb-Latn", _LATIN, _prepare_uzbek_latin),
        _by_epitran("uzb-Cyrl", _CYRILLIC, _prepare_uzbek_cyrillic, _join_affricate),
    ),
}
