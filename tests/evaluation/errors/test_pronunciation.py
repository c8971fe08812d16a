import sys

import pytest

from harken.core import MissingPart
from harken.evaluation.errors import pronunciation
from harken.evaluation.errors.pronunciation import feature_table, pronounce


def _ipa(words: str, language: str) -> list[str]:
    return ["".join(phonemes) for phonemes in pronounce(words.split(), language)]


def test_russian_and_hindi() -> None:
    assert _ipa("привет ещё щука по-русски", "ru") == ["prʲivʲet", "jeɕːo", "ɕːuka", "porusski".replace("ss", "s")]
    assert _ipa("कमल हिन्दी ज़रूर", "hi") == ["kəməl", "ɦindiː", "zəruːr"]


def test_every_apostrophe_of_uzbek() -> None:
    """o and g with any apostrophe are letters of their own; elsewhere it is a glottal stop."""
    signs = "'`´ʻʼ‘’‛′"
    assert {word for sign in signs for word in _ipa(f"o{sign}zbek", "uz")} == {"ozbek"}
    assert {word for sign in signs for word in _ipa(f"g{sign}alaba", "uz")} == {"ʁalaba"}
    assert {word for sign in signs for word in _ipa(f"ma{sign}no", "uz")} == {"maʔnɒ"}


# The Latin and Cyrillic spellings of the same words (orthographies of 1995 and 1956).
SPELLINGS = """
    yer ер  yetti етти  eshik эшик  poyezd поезд  obyekt объект  syezd съезд  premyer премьер  oʻzbekiston ўзбекистон
    gʻalaba ғалаба  maʼno маъно  sanʼat санъат  yangi янги  yoʻl йўл  qiz қиз  ham ҳам  choy чой  shahar шаҳар
    konstitutsiya конституция  tijorat тижорат  yulduz юлдуз  yosh ёш  biologiya биология
"""


def test_both_scripts_of_uzbek_sound_alike() -> None:
    spoken = pronounce(SPELLINGS.split(), "uz")
    assert all(spoken)
    assert spoken[0::2] == spoken[1::2]


def test_uzbek_words_with_russian_letters() -> None:
    assert _ipa("щётка мышь ты", "uz") == ["ʃjɒt̪ka", "miʃ", "t̪i"]


def test_english() -> None:
    words = "a church day boy now go better about naïve it's 3d"
    assert [" ".join(phonemes) for phonemes in pronounce(words.split(), "en")] == [
        "ə",
        "t͡ʃ ɜː t͡ʃ",
        "d eɪ",
        "b ɔɪ",
        "n aʊ",
        "ɡ oʊ",
        "b ɛ ɾ ə ɹ",
        "ə b aʊ t",
        "n aɪ iː v",
        "ɪ t s",
        "θ ɹ iː d iː",
    ]


def test_every_phoneme_has_features() -> None:
    words = {"en": "measure fire clear button accented orange", "hi": "क्षेत्र अँगूठा ङ ढ़", "uz": "oʻgʻil ngng"}
    for language, text in words.items():
        for phonemes in pronounce(text.split(), language):
            assert phonemes
            for phoneme in phonemes:
                assert "".join(feature_table().ipa_segs(phoneme)) == feature_table().normalize(phoneme)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("ru", ["hello", "5", "wi-fiда", "2-й", "", "-", "दुनिया"]),
        ("uz", ["दुनिया", "5", "soʻmда", "'"]),
        ("hi", ["hello", "१२", "12"]),
        ("en", ["привет", "मैं", "", "-", "'", "ß5я"]),
    ],
)
def test_words_that_cannot_be_read_have_no_phonemes(language: str, words: list[str]) -> None:
    assert pronounce(words, language) == [()] * len(words)


def test_capitals_do_not_matter_and_nothing_shifts() -> None:
    assert pronounce(["Привет", "ПРИВЕТ"], "ru") == pronounce(["привет"] * 2, "ru")
    assert pronounce(["day", "привет", "a", "DAY"], "en") == [("d", "eɪ"), (), ("ə",), ("d", "eɪ")]


@pytest.mark.parametrize("name", ["panphon", "epitran"])
def test_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cached = {"panphon": "feature_table", "epitran": "_epitran"}[name]  # what was loaded earlier must not be used
    monkeypatch.setattr(pronunciation, cached, getattr(pronunciation, cached).__wrapped__)
    for module in (name, f"{name}.simple"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPart, match=rf"need the package {name}\. .*pip install 'harken\[eval\]'"):
        pronounce(["привет"], "ru")
