import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import InputError
from harken.text.normalize import normalize, profile_identity, profile_names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World!", "hello world"),
        ("  a\tb\nc ", "a b c"),
        ("don't", "don't"),
        ("don’t", "don't"),
        ("Это ёлка, й и ў", "это ёлка й и ў"),
        ("", ""),
        ("...", ""),
    ],
)
def test_basic(text: str, expected: str) -> None:
    assert normalize(text, "basic") == expected


@pytest.mark.parametrize(
    "text", ["हिन्दी में भाषा", "தமிழ் மொழி", "বাংলা ভাষা", "ภาษาไทย ที่นี่", "كِتَابٌ جديد", "oʻzbek gʻalaba", "o‘zbek g‘alaba"]
)
def test_marks_do_not_split_words(text: str) -> None:
    assert len(normalize(text, "basic").split()) == len(text.split())


@pytest.mark.parametrize("profile", profile_names())
@given(text=st.text(max_size=40))
def test_every_profile_is_idempotent(profile: str, text: str) -> None:
    once = normalize(text, profile)
    assert normalize(once, profile) == once


def test_dotted_capital_i_stays_one_word() -> None:
    assert len(normalize("İstanbul", "basic").split()) == 1


def test_profiles_are_named_and_versioned() -> None:
    assert profile_identity("basic")["name"] == "basic"
    assert profile_identity("basic")["version"]
    with pytest.raises(InputError, match="basic"):
        normalize("x", "basik")
