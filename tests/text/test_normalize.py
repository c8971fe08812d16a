"""Normalisation profiles: hand-made cases per script, and properties over all of Unicode."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import InputError
from harken.text import find_profile, normalize, profile_identity, profile_names

APOSTROPHE_FORMS = ["'", "`", "´", "ʹ", "ʻ", "ʼ", "ʽ", "ʾ", "ʿ", "‘", "’", "‛", "′", "＇"]

# Letters and vowel signs of scripts that write vowels as marks, with Latin and Cyrillic between them.
MARKED = "कखगिीुूेैोौ्ंँतमழிபுுைกขคีู้่ำเแকখিীোবكتبَُِّلمحйўёабвéñabc0123456789"
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


@pytest.mark.parametrize("name", profile_names())
@given(st.text())
def test_profiles_are_idempotent_and_never_raise(name: str, text: str) -> None:
    once = normalize(text, name)
    assert normalize(once, name) == once


@given(st.text())
def test_basic_gives_words_of_letters_digits_and_marks(text: str) -> None:
    result = normalize(text, "basic")
    assert result == " ".join(result.split())
    assert unicodedata.is_normalized("NFC", result)
    for word in result.split():
        assert unicodedata.category(word[0])[0] != "M"
        assert {unicodedata.category(c)[0] for c in word if c != "'"} <= {"L", "M", "N", "C"}
        assert word == word.strip("'")


@pytest.mark.parametrize("name", [name for name in profile_names() if find_profile(name).by_word])
@given(st.text())
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
