from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.minds14 import import_minds14
from harken.testing import check_importer

SaveTone = Callable[..., Path]
HEADER = "filepath, text_asr, text_translated, intent\n"


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    folder = tmp_path / "MInDS-14"
    for name in (
        "en-AU~PAY_BILL/r_1",
        "en-AU~PAY_BILL/r_2",
        "en-AU~FREEZE/r_3",
        "en-AU~FREEZE/r_4",
        "ru-RU~ADDRESS/r_1",
    ):
        save_tone(folder / "audio" / f"{name}.wav", rate=8_000)
    (folder / "text").mkdir()
    (folder / "text" / "en-AU.csv").write_text(
        HEADER
        + 'en-AU~PAY_BILL/r_1.wav, "I\'d like to pay, please", "I\'d like to pay, please", pay_bill\n'
        + "en-AU~PAY_BILL/r_2.wav, , nothing, pay_bill\n"
        + "en-AU~FREEZE/r_3.wav, freeze it, freeze it, freeze\n"
        + "en-AU~FREEZE/r_3.wav, again, again, freeze\n"
        + "en-AU~FREEZE/r_9.wav, gone, gone, freeze\n"
        + "too, short\n"
        + "../../etc/passwd, x, x, x\n"
    )
    (folder / "text" / "ru-RU.csv").write_text(
        HEADER + "ru-RU~ADDRESS/r_1.wav, сменить адрес, change the address, address\n", encoding="utf-8"
    )
    return tmp_path


def test_every_locale(corpus: Path) -> None:
    utterances, rejections = check_importer(import_minds14, corpus, 9)
    assert [(item.id, item.text, item.language, dict(item.tags), item.extra["english"]) for item in utterances] == [
        ("en-AU~PAY_BILL/r_1", "I'd like to pay, please", "en", {"accent": "en-AU", "intent": "pay_bill"},
         "I'd like to pay, please"),
        ("en-AU~FREEZE/r_3", "freeze it", "en", {"accent": "en-AU", "intent": "freeze"}, "freeze it"),
        ("ru-RU~ADDRESS/r_1", "сменить адрес", "ru", {"accent": "ru-RU", "intent": "address"}, "change the address"),
    ]  # fmt: skip
    assert utterances[0].duration_s == 0.5
    reasons = dict(rejections)
    assert reasons["en-AU.csv:3"] == "the transcript is empty"
    assert "has a row already" in reasons["en-AU.csv:5"]
    assert "missing" in reasons["en-AU.csv:6 en-AU~FREEZE/r_9.wav"]
    assert reasons["en-AU.csv:7"] == "the row has 2 columns, not 4"
    assert "leads out" in reasons["en-AU.csv:8"]
    assert reasons["audio/en-AU~FREEZE/r_4.wav"] == "en-AU.csv has no row for this file"


def test_one_locale(corpus: Path) -> None:
    utterances, _ = check_importer(import_minds14, corpus / "MInDS-14", 1, locales="ru-RU")
    assert [item.language for item in utterances] == ["ru"]
    with pytest.raises(InputError, match=r"no de-DE\.csv.*en-AU, ru-RU"):
        check_importer(import_minds14, corpus, 1, locales=["de-DE"])


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder 'text'"):
        check_importer(import_minds14, tmp_path, 0)
    (tmp_path / "text").mkdir()
    (tmp_path / "audio.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"Unpack audio\.zip into audio/"):
        check_importer(import_minds14, tmp_path, 0)
    (tmp_path / "audio").mkdir()
    with pytest.raises(InputError, match=r"no \.csv files"):
        check_importer(import_minds14, tmp_path, 0)
    (tmp_path / "text" / "uz-UZ.csv").write_bytes(b"a\n\xff,b,c,d\n")
    with pytest.raises(InputError, match="cannot be read as a table"):
        check_importer(import_minds14, tmp_path, 0)
