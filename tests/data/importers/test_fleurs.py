from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.fleurs import import_fleurs
from harken.testing import check_importer

SaveTone = Callable[..., Path]
ROW = "{0}\t{1}.wav\t{2}\t{3}\tb i r |\t{4}\t{5}\n"


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    for name in ("train/11", "train/12", "train/13", "dev/21"):
        save_tone(tmp_path / "uz_uz" / "audio" / f"{name}.wav")
    save_tone(tmp_path / "cmn_hans_cn" / "audio" / "test" / "31.wav")
    (tmp_path / "uz_uz" / "train.tsv").write_text(
        ROW.format(7, 11, 'Bir "ikki', "bir ikki", 16_000, "FEMALE")
        + ROW.format(7, 12, "Bir", "bir", 8_000, "MALE")
        + ROW.format(8, 12, "Again", "again", 8_000, "MALE")
        + ROW.format(8, 99, "Gone", "gone", 0, "MALE")
        + ROW.format(9, "../x", "X", "x", 8_000, "MALE")
        + "1\t2\n",
        encoding="utf-8",
    )
    (tmp_path / "uz_uz" / "dev.tsv").write_text(ROW.format(9, 21, "", "", 8_000, "MALE"))
    (tmp_path / "cmn_hans_cn" / "test.tsv").write_text(ROW.format(7, 31, "一 二", "一二", 8_000, ""), encoding="utf-8")
    return tmp_path


def test_all_languages(corpus: Path) -> None:
    utterances, rejections = check_importer(import_fleurs, corpus, 9)
    assert [(item.id, item.text, item.language, dict(item.tags)) for item in utterances] == [
        ("cmn_hans_cn-31", "一 二", "cmn", {"split": "test", "locale": "cmn_hans_cn", "sentence": "7"}),
        ("uz_uz-12", "Bir", "uz", {"split": "train", "locale": "uz_uz", "sentence": "7", "gender": "male"}),
    ]
    reasons = dict(rejections)
    assert "it ends at 1.000 s" in reasons["uz_uz/train.tsv:1 11.wav"]  # the table says more than there is
    assert reasons["uz_uz/train.tsv:3"] == "12.wav has a row already"
    assert "missing" in reasons["uz_uz/train.tsv:4 99.wav"]
    assert "leads out" in reasons["uz_uz/train.tsv:5"]
    assert reasons["uz_uz/train.tsv:6"] == "the row has 2 columns, not 7"
    assert reasons["uz_uz/audio/train/13.wav"] == "train.tsv has no row for this file"
    assert reasons["uz_uz/dev.tsv:1"] == "the text is empty"


def test_choices(corpus: Path) -> None:
    utterances, _ = check_importer(
        import_fleurs, corpus, 1, languages="cmn_hans_cn", splits="test", text="normalized", probe=False
    )
    assert [(item.text, item.duration_s) for item in utterances] == [("一二", 0.5)]
    alone, _ = check_importer(import_fleurs, corpus / "uz_uz", 8)
    assert [item.id for item in alone] == ["uz_uz-12"]


def test_wrong_choices_and_layouts(corpus: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"languages": "xx_xx"}, "no language 'xx_xx'"),
        ({"splits": "validation"}, "no split 'validation'"),
        ({"splits": "test"}, r"no test\.tsv"),
        ({"text": "both"}, "text is 'both'"),
    ):
        with pytest.raises(InputError, match=message):
            check_importer(import_fleurs, corpus, 0, **options)
    (corpus / "cmn_hans_cn" / "dev.tsv").write_text("")
    with pytest.raises(InputError, match=r"Unpack audio/dev\.tar\.gz"):
        check_importer(import_fleurs, corpus / "cmn_hans_cn", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no train\.tsv"):
        check_importer(import_fleurs, tmp_path / "empty", 0)
