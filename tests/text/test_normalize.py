"""Normalisation profiles: hand-made cases per script, and properties over all of Unicode."""

import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.core import InputError
from harken.text import Profile, find_profile, normalize, profile_identity, profile_names

APOSTROPHE_FORMS = ["'", "`", "´", "ʹ", "ʻ", "ʼ", "ʽ", "ʾ", "ʿ", "‘", "’", "‛", "′", "＇"]

# Letters and vowel signs of scripts that write vowels as marks, with Latin and Cyrillic between them.
MARKED = "कखगिीुूेैोौ्ंँतमழிபுுைกขคีู้่ำเแকখিীোবكتبَُِّلمحйўёабвéñabc0123456789"
NAMES = profile_names()
HAN = {*range(0x3400, 0xA000), *range(0xAC00, 0xD800), *range(0x17000, 0x19000)}  # Hangul and Tangut too: all alike
# Letters and the marks that stand on them; no punctuation, digits or signs.
LETTERS = {
    "Devanagari": ("कखगघचजटडणतदनपबमयरलवशषसहअइउएओॐऽळ", "ािीुूेैोौ्ंँः़\u200d\u200c"),
    "Tamil": ("கஙசஞடணதநபமயரலவழளறனஅஆஇஈஉஎஏஐஒஓஔஃஜஷஸஹ", "ாிீுூெேைொோௌ்"),
    "Bengali": ("কখগঘঙচজটডতদনপবমযরলশষসহঅআইউএওৎ", "ািীুূেৈোৌ্ংঃঁ"),
    "Thai": ("กขคงจฉชซญดตถทนบปผพฟมยรลวศสหอฮเแโใไๆฯ", "ะาิีึืุู่้๊๋์ํำ็ั"),
    "Arabic": (
        "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةىـﷺﷻﷲﻻﭐپچگ",
        "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670ﹰﹶﱠ",
    ),
    "Cyrillic": ("абвгийкўқғҳё", "\u0301\u0306"),
}
PIECES = """
    5-chi 5-nchi 1-sentabr 50%ga 5-й 5-го 2-х 90-е 5-летний году 5वीं 1ला 1,00,000 1.500.000 3,5 -5 10.05.2026 oh seven
    minus double and a half hundred point percent cents $5 won't he's been «bog'» 'tog'' isʼhoq исҳоқ объект октябрь
    aytsa o'zbek हिन्दी ที่นี่ كِتَابٌ 中文 Straße İzmir ΣΑΣ
"""
ODD = (
    "oOgGsSеёйиўъьцщы'’ʻʼ`´\"-–−.,%5 0[]()<>$€ı½²①क्ि़।०ழ்ำَﷺ中が"
    "\u00a0\u0300\u0301\u0306\u0308\u200b\u200d\ufe0f\u20e3\ud800\U00017000"
)
ANY = st.one_of(
    st.text(st.sampled_from(ODD), max_size=8),
    st.sampled_from(PIECES.split()),
    st.text(st.characters(exclude_categories=())),
)
MIXED = st.tuples(st.lists(ANY, max_size=7), st.sampled_from(["", " "])).map(lambda drawn: drawn[1].join(drawn[0]))
WORD = st.text(st.sampled_from(MARKED), min_size=1, max_size=8).map(lambda tail: "अ" + tail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("   ", ""),
        ("...!?", ""),
        ("Hello,  WORLD!\n", "hello world"),
        ("well-known e-mail", "well known e mail"),
        ("3.14 and 50%", "3 14 and 50"),
        ("'quoted' dogs' rock 'n' roll", "quoted dogs rock n roll"),
        ("don''t", "don't"),
        ("5'10''", "5'10"),
        ("हिन्दी में भाषा।", "हिन्दी में भाषा"),
        ("தமிழ் மொழி", "தமிழ் மொழி"),
        ("ที่นี่ ภาษาไทย", "ที่นี่ ภาษาไทย"),
        ("বাংলা ভাষা", "বাংলা ভাষা"),
        ("كِتَابٌ، قَلَمٌ؟", "كِتَابٌ قَلَمٌ"),
        ("می\u200cخواهم", "میخواهم"),
        ("Йод и Ўзбек, Ёлка", "йод и ўзбек ёлка"),
        ("и\u0306", "й"),  # decomposed on the way in, composed on the way out
        ("İSTANBUL I\u0307zmir", "istanbul izmir"),
        ("Straße", "straße"),
        ("ΟΔΟΣ ΣΑΣ.", "οδος σας"),
        ("soft\u00adhyphen \ufeffbom", "softhyphen bom"),
        ("I ❤️ you 👍🏽", "i you"),
        ("e\u200d\u0301", "é"),  # the joiner between letter and accent goes, then they compose
        ("\u0301abc", "abc"),  # an accent with nothing under it
        ("\ud800a\x00b", "a b"),
        ("½ x² ﷺ", "½ x² ﷺ"),  # compatibility characters stay: NFC, not NFKC
        ("中文，测试。", "中文 测试"),
    ],
)
def test_basic(text: str, expected: str) -> None:
    assert normalize(text, "basic") == expected


@pytest.mark.parametrize("form", APOSTROPHE_FORMS)
def test_every_apostrophe_inside_a_word_becomes_one_form_and_at_its_edge_goes(form: str) -> None:
    assert normalize(f"O{form}zbek tog{form} {form}tis", "basic") == "o'zbek tog tis"


def test_none_changes_nothing() -> None:
    assert normalize("  Ab,\tc ’ é\n", "none") == "  Ab,\tc ’ é\n"


@pytest.mark.parametrize("name", NAMES)
@given(MIXED)
def test_profiles_are_idempotent_and_never_raise(name: str, text: str) -> None:
    once = normalize(text, name)
    assert normalize(once, name) == once
    assert name == "none" or once == " ".join(once.split())


@pytest.mark.parametrize("name", NAMES)
def test_profiles_take_every_assigned_character(name: str) -> None:
    function = find_profile(name).function
    codes = [code for code in range(0x20000) if unicodedata.category(chr(code)) not in ("Cn", "Co") and code not in HAN]
    for first in range(0, len(codes), 500):
        once = function(" ".join(f"а{chr(code)}\u0301o" for code in codes[first : first + 500]))
        assert function(once) == once, hex(codes[first])


@pytest.mark.parametrize("script", LETTERS)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(data=st.data())
def test_no_profile_changes_the_number_of_words(name: str, script: str, data: st.DataObject) -> None:
    base, marks = LETTERS[script]
    letter = st.tuples(st.sampled_from(base), st.lists(st.sampled_from(marks), max_size=2).map("".join)).map("".join)
    words = data.draw(st.lists(st.lists(letter, min_size=1, max_size=5).map("".join), max_size=6))
    assert len(normalize(" ".join(words), name).split()) == len(words)
    assert len(normalize("".join(f"{word}, " for word in words), name).split()) == len(words)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "uzbek-latin"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_no_profile_turns_short_letters_into_others(name: str, form: str) -> None:
    text = unicodedata.normalize(form, "йод май Йўқ ўн Ўй")
    assert unicodedata.normalize("NFC", normalize(text, name)).lower() == "йод май йўқ ўн ўй"


def test_uzbek_latin_keeps_them_apart_too() -> None:
    assert normalize("йод май иод ўн ун", "uzbek-latin") == "yod may iod oʻn un"


@given(st.text())
def test_basic_gives_words_of_letters_digits_and_marks(text: str) -> None:
    result = normalize(text, "basic")
    assert result == " ".join(result.split())
    assert unicodedata.is_normalized("NFC", result)
    for word in result.split():
        assert unicodedata.category(word[0])[0] != "M"
        assert {unicodedata.category(c)[0] for c in word if c != "'"} <= {"L", "M", "N", "C"}
        assert word == word.strip("'")


@pytest.mark.parametrize("name", [name for name in NAMES if find_profile(name).by_word])
@given(MIXED)
def test_a_profile_that_works_by_word_gives_the_same_word_by_word(name: str, text: str) -> None:
    function = find_profile(name).function
    assert function(text).split() == [piece for word in text.split() for piece in function(word).split()]


@given(st.lists(WORD, max_size=12))
def test_basic_keeps_the_word_count_of_scripts_with_marks(words: list[str]) -> None:
    assert len(normalize(" ".join(words), "basic").split()) == len(words)


def test_basic_is_idempotent_for_every_code_point() -> None:
    function = find_profile("basic").function
    for first in range(0, sys.maxunicode + 1, 256):
        once = function(" ".join(f"A{chr(code)}\u0301b" for code in range(first, first + 256)))
        assert function(once) == once, hex(first)


def test_letters_keep_their_marks_whatever_the_script() -> None:
    """No mark but glyph selectors and enclosing rings is lost behind a letter."""
    kept = 0
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Mn", "Mc"):
            result = normalize(f"ก{chr(code)}", "basic")
            selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F
            assert result == ("ก" if selector or code == 0x34F else unicodedata.normalize("NFC", f"ก{chr(code)}"))
            kept += not selector
    assert kept > 2000


def test_identity_and_unknown_names() -> None:
    assert profile_identity("basic") == {"name": "basic", "version": "1"}
    with pytest.raises(InputError, match=r"'whisperr'.*basic"):
        normalize("a", "whisperr")


class FakePlugins:
    """Stands in for the entry points of installed packages."""

    def __init__(self, **found: object) -> None:
        self.found = found

    def names(self, group: str) -> list[str]:
        assert group == "harken.normalizers"
        return sorted(self.found)

    def load(self, group: str, name: str) -> object:
        return self.found[name]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretends that a package registers profiles; find_profile's memory is emptied before and after."""

    def pretend(**found: object) -> None:
        fake = FakePlugins(**found)
        module = sys.modules["harken.text.normalize"]  # harken.text.normalize is the function of that name
        monkeypatch.setattr(module, "plugin_names", fake.names)
        monkeypatch.setattr(module, "load_plugin", fake.load)
        find_profile.cache_clear()

    yield pretend
    find_profile.cache_clear()


def upper(name: str = "upper") -> Profile:
    return Profile(name=name, version="3", function=str.upper, by_word=True)


def test_a_package_adds_a_profile_or_a_function_that_makes_one(install: Callable[..., None]) -> None:
    install(upper=upper(), made=lambda: upper("made"))
    assert set(profile_names()) == {*NAMES, "upper", "made"}
    assert normalize("a", "upper") == normalize("a", "made") == "A"
    assert profile_identity("made") == {"name": "made", "version": "3"}


def test_a_package_cannot_change_what_a_built_in_name_means(install: Callable[..., None]) -> None:
    install(basic=upper("basic"))
    assert normalize("Ab", "basic") == "ab"


def test_what_is_no_profile_is_refused(install: Callable[..., None]) -> None:
    install(odd=3, other=upper())
    with pytest.raises(InputError, match=r"'odd' is a int.*Register a harken\.text\.Profile"):
        find_profile("odd")
    with pytest.raises(InputError, match="registered as 'other' calls itself 'upper'"):
        find_profile("other")


def test_names_are_listed_without_importing_any_profile() -> None:
    code = (
        "import sys; from harken.text import profile_names; print(*profile_names());"
        "print([m for m in sys.modules if m.startswith(('num2words', 'whisper', 'harken.text.normalizers'))])"
    )
    names, modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert names.split() == NAMES
    assert modules == "[]"
