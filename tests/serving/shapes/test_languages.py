"""Languages by code and name."""

import pytest

from harken.serving.shapes.languages import LANGUAGE_NAMES, language_name, primary


def test_the_table() -> None:
    assert len([code for code in LANGUAGE_NAMES if len(code) == 2]) == 184  # ISO 639-1 has 183; jw is Whisper's
    assert {code for code in LANGUAGE_NAMES if len(code) == 3} == {"haw", "yue"}
    assert all(
        code.isalpha() and code.islower() and name and name.strip() == name for code, name in LANGUAGE_NAMES.items()
    )


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("en", "english"),
        ("EN-us", "english"),
        ("zh_Hant_TW", "chinese"),
        ("aa", "afar"),
        ("zu", "zulu"),
        ("yue", "cantonese"),
        ("gd", "scottish gaelic"),
        ("qaa", "qaa"),
        (None, "unknown"),
    ],
)
def test_names(tag: str | None, name: str) -> None:
    assert language_name(tag) == name


def test_primary() -> None:
    assert primary("pt-BR") == "pt"
