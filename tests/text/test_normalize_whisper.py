"""The Whisper profiles: the published words where these do no damage, and no damage elsewhere."""

import random
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import MissingPart
from harken.text import find_profile, normalize, profile_identity
from harken.text.normalizers import whisper

pytest.importorskip("whisper_normalizer", reason="needs the package whisper-normalizer (extra eval)")

LATIN = """
    the Quick brown café Übermaß naïve señor o'clock don't e-mail ŒUVRE ﬁne ½ x² № $5 50% 3.14 (laughs) [noise] <unk>
    “quoted” ‘single’ a_b #tag ¿qué? œuf STRASSE smörgåsbord Łódź Ærø ... — U.S. Žluťoučký kůň
"""
CYRILLIC = """
    Привет, ёлка й Й Ўзбекистон қиз ғоя ҳаёт «кавычки» объект (смех) подъезд съёмка - Київ їжак її є і ґанок
    Ћирилица ђак љубав №5 100% й-й
"""
ENGLISH = """
    the a of and in hello world colour grey centre don't can't won't she's he'd they'll I'm we've been gone done got
    Mr. Mrs Dr st. gonna wanna um uh hmm one two twenty-three hundred thousand point five first 2nd 1960s $20 million
    half double oh seven 007 o'clock percent 50% per cent £3.50 cents (laughs) [noise] café naïve, what? yes! so; 'tis
    and minus six hello... U.S. e-mail dogs' cause 'cause second and a half
"""
DIGITS = ["one", "oh", "hundred", "million", "point", "double", "5", "0.5", "$", "and"]


def sentences(vocabulary: str, count: int, seed: int) -> list[str]:
    """Random sentences of the words."""
    draw = random.Random(seed)
    words = vocabulary.split()
    return [" ".join(draw.choice(words) for _ in range(draw.randint(1, 15))) for _ in range(count)]


def test_basic_gives_the_published_words_for_latin_and_cyrillic() -> None:
    from whisper_normalizer.basic import BasicTextNormalizer

    published = BasicTextNormalizer(remove_diacritics=False)
    profile = find_profile("whisper-basic").function
    for text in [*sentences(LATIN, 2000, 1), *sentences(CYRILLIC, 2000, 2), *sentences(LATIN + CYRILLIC, 2000, 3)]:
        assert profile(text).split() == published(text).split(), text


def test_english_gives_the_published_words_wherever_these_are_stable() -> None:
    """And that is nearly everywhere, in sentences crowded with the words that make trouble."""
    from whisper_normalizer.english import EnglishTextNormalizer

    published = EnglishTextNormalizer()
    profile = find_profile("whisper-english").function
    stable = 0
    for text in sentences(ENGLISH, 1500, 4):
        words = published(text)
        if published(words).split() == words.split():
            stable += 1
            assert profile(text).split() == words.split(), text
    assert stable > 900


def test_english_of_simple_words_put_together_is_the_same_as_the_whole() -> None:
    """The quick road against the published function applied until nothing changes."""
    from whisper_normalizer.english import EnglishTextNormalizer

    published = EnglishTextNormalizer()
    profile = find_profile("whisper-english").function
    simple = " ".join(word for word in ENGLISH.split() if word.isascii()) + " he's been, it's Got. st um, grey." * 3
    for text in sentences(simple, 1500, 5):
        slow = published(text).split()
        while (following := published(" ".join(slow)).split()) != slow:
            slow = following
        assert profile(text).split() == slow, text


@pytest.mark.parametrize(
    ("text", "basic", "english"),
    [
        ("", "", ""),
        ("Hello, WORLD!", "hello world", "hello world"),
        ("हिन्दी में भाषा।", "हिन्दी में भाषा", "हिन्दी में भाषा"),
        ("தமிழ் மொழி", "தமிழ் மொழி", "தமிழ் மொழி"),
        ("ที่นี่ ภาษาไทย", "ที่นี่ ภาษาไทย", "ที่นี่ ภาษาไทย"),
        ("বাংলা ভাষা", "বাংলা ভাষা", "বাংলা ভাষা"),
        ("كِتَابٌ، قَلَمٌ؟", "كِتَابٌ قَلَمٌ", "كِتَابٌ قَلَمٌ"),
        ("محمد \ufdfa قال", "محمد \ufdfa قال", "محمد \ufdfa قال"),
        ("Йод и Ўзбек, ёлка", "йод и ўзбек ёлка", "йод и ўзбек ёлка"),
        ("и\u0306од", "йод", "йод"),
        ("\u03ac\u03bb\u03c6\u03b1 \u304c", "\u03ac\u03bb\u03c6\u03b1 \u304c", "\u03ac\u03bb\u03c6\u03b1 \u304c"),
        ("café Ærø", "café ærø", "cafe aero"),  # as published: English drops the accents of Latin letters
        ("Oʻzbek o‘zbek", "oʻzbek o zbek", "oʻzbek 0 zbek"),  # as published: not for Uzbek
        ("I ❤\ufe0f you 1\ufe0f\u20e32", "i you 1 2", "i you one 2"),
        ("葛\U000e0100城", "葛城", "葛城"),
        ("e \u0301a ´b", "e a b", "e a b"),  # a mark that stands on nothing
        ("\U00017000 й", "\U00017000 й", "\U00017000 й"),  # the stand-ins themselves
        ("double oh seven, minus six", "double oh seven minus six", "7 6"),  # published once: 007 -6
        ("9" * 5000, "9" * 5000, "9" * 5000),
        ("\ud800a", "\ud800a", "\ud800a"),
    ],
)
def test_no_damage(text: str, basic: str, english: str) -> None:
    assert normalize(text, "whisper-basic") == basic
    assert normalize(text, "whisper-english") == english


def test_more_distinct_marked_letters_than_stand_ins() -> None:
    text = (
        " ".join(chr(code) + "\u0301" for code in range(0x430, 0x450))
        + " "
        + " ".join(f"{chr(base)}{chr(sign)}" for base in range(0x915, 0x935) for sign in range(0x93E, 0x943))
    )
    assert len(normalize(text, "whisper-english").split()) == len(text.split()) == 192


@given(
    st.lists(
        st.sampled_from(["one", "oh", "hundred", "million", "point", "double", "5", "0.5", "$", "and"]), max_size=9
    )
)
def test_english_numbers_are_stable(words: list[str]) -> None:
    once = normalize(" ".join(words), "whisper-english")
    assert normalize(once, "whisper-english") == once


def test_a_number_too_long_for_the_library_is_read_in_halves() -> None:
    result = normalize("two dogs " + "one " * 4299 + "decillion", "whisper-english")
    assert result.startswith("2 dogs 111")
    assert normalize(result, "whisper-english") == result


@pytest.mark.parametrize("name", ["whisper-basic", "whisper-english"])
def test_the_version_names_the_library(name: str) -> None:
    assert profile_identity(name) == {"name": name, "version": f"1+whisper-normalizer {version('whisper-normalizer')}"}


@pytest.mark.parametrize(("name", "module"), [("whisper_basic", "basic"), ("whisper_english", "english")])
def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, f"whisper_normalizer.{module}", None)
    with pytest.raises(MissingPart, match=r"needs the package whisper-normalizer\. pip install 'harken\[eval\]'"):
        getattr(whisper, name)()
