"""Transcripts for readers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.text.tidy import tidy_transcript


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \n ", ""),
        ("  hello   world \n", "hello world"),
        ("hello , world !", "hello, world!"),
        ("wait . . . what ?!", "wait... what?!"),
        ("it costs .5 and 3.5 .", "it costs .5 and 3.5."),
        ("so :) and ( this ) ,", "so :) and ( this ),"),
        ("he said “ no . ” then", "he said “ no. ” then"),
        ("यह अच्छा है । वह भी ।", "यह अच्छा है। वह भी।"),
        ("مرحبا ، كيف حالك ؟", "مرحبا، كيف حالك؟"),
        ("\ud800 .", "\ud800."),
    ],
)
def test_spaces(text: str, expected: str) -> None:
    assert tidy_transcript(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("hello . are you there ? yes", "Hello. Are you there? Yes"),
        ("“ўзбекистон” катта. йўқ", "“Ўзбекистон” катта. Йўқ"),
        ("oʻzbek tili. gʻalaba", "Oʻzbek tili. Gʻalaba"),
        ("version 3.5 is out. 5 people", "Version 3.5 is out. 5 people"),
        ("ßa. ǆ. हिन्दी", "ßa. ǅ. हिन्दी"),  # no single capital; a capital that is a pair; none at all
        ("iPhone (new). «so»", "IPhone (new). «So»"),
    ],
)
def test_capitals(text: str, expected: str) -> None:
    assert tidy_transcript(text, capitalize=True) == expected


@given(st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from(' .,!?:")»aЙß'))), st.booleans())
def test_idempotent_and_only_spaces_and_case_change(text: str, capitalize: bool) -> None:
    once = tidy_transcript(text, capitalize=capitalize)
    assert tidy_transcript(once, capitalize=capitalize) == once
    assert "".join(tidy_transcript(text).split()) == "".join(text.split())
