"""Units by script: what is cut into characters, and what is left whole."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.text import normalize
from harken.text.segmentation import is_unspaced, split_units


def _units(text: str, profile: str = "none") -> list[str]:
    return [unit for word in normalize(text, profile).split() for unit in split_units(word)]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("", []),
        ("a", ["a"]),
        ("hello world", ["hello", "world"]),
        ("今天 天气", ["今", "天", "天", "气"]),
        ("我用iPhone14打电话", ["我", "用", "iPhone14", "打", "电", "话"]),
        ("3人で", ["3", "人", "で"]),
        ("𠮷野家", ["𠮷", "野", "家"]),  # outside the basic plane
        ("コーヒー", ["コ", "ー", "ヒ", "ー"]),  # the prolonged sound mark sounds
        ("きゃ", ["き", "ゃ"]),
        ("人々", ["人", "々"]),
        ("ﾊﾞﾝｺｸ", ["ﾊﾞ", "ﾝ", "ｺ", "ｸ"]),  # half-width voicing marks do not
        ("か\u3099", ["か\u3099"]),
        ("葛\U000e0100飾", ["葛\U000e0100", "飾"]),  # a variation selector
        ("ที่นี่", ["ที่", "นี่"]),
        ("น้ำ", ["น้ำ"]),  # sara am hangs on, though it is no mark
        ("เด็ก", ["เ", "ด็", "ก"]),
        ("ວຳ", ["ວຳ"]),
        ("ស្រី", ["ស្រី"]),  # a stacked consonant
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("က္ကa", ["က္က", "a"]),
        ("ខ្ញុំ\u200bទៅ", ["ខ្ញុំ", "ទៅ"]),  # a zero-width space
        ("학교에서學校", ["학교에서", "學", "校"]),
        ("你好，world。", ["你", "好", "，", "world", "。"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("كِتَابٌ جديد", ["كِتَابٌ", "جديد"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("o\u02bbzbekcha ўзбек", ["o\u02bbzbekcha", "ўзбек"]),
        ("ี่ก", ["ี่", "ก"]),  # marks with nothing to stand on
        ("฿20", ["฿20"]),
    ],
)
def test_units(text: str, units: list[str]) -> None:
    assert _units(text) == units


@pytest.mark.parametrize(
    "text", ["ёлка й", "кӯча ў", "हिन्दी ज़", "آب كِتَابٌ", "שָׁלוֹם", "がぎ パン", "မြန်မာ", "ที่นี่", "한국어 café", "ệ"]
)
def test_composed_and_decomposed_text_have_equal_units_under_basic(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert _units(composed, "basic") == _units(decomposed, "basic")


@given(st.text(st.sampled_from("ab1'ж世界ーがที่นำស្រีမ္ကﾞ한\u200d\u0301\ufe0f，"), max_size=12))
def test_cutting_keeps_everything_and_cutting_again_changes_nothing(word: str) -> None:
    units = split_units(word)
    assert "".join(units) == word
    for unit in units:
        assert split_units(unit) == [unit]


def test_which_units_stand_without_spaces() -> None:
    assert [is_unspaced(unit) for unit in ("世", "ที่", "コ", "ﾊﾞ", "𠮷", "", "a", "ж", "한", "9")] == [True] * 5 + [
        False
    ] * 5
