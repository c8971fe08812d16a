from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.commonvoice import import_commonvoice
from harken.testing import check_importer

SaveTone = Callable[..., Path]
HEADER = "client_id\tpath\tsentence\tup_votes\tage\tgender\tlocale\n"


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    for name in ("1", "2", "3", "4"):
        save_tone(tmp_path / "clips" / f"common_voice_uz_{name}.mp3", seconds=0.5)
    row = "spk{0}\tcommon_voice_uz_{0}.mp3\t{1}\t2\ttwenties\t\tuz\n"
    (tmp_path / "train.tsv").write_text(
        HEADER + row.format(1, 'u "dedi') + row.format(2, "oʻz") + "only\ttwo\n" + row.format(9, "gone")
        + row.format(3, " ") + "x\t../../etc/passwd.mp3\tx\t0\t\t\tuz\n"
    )  # fmt: skip
    (tmp_path / "dev.tsv").write_text(HEADER + row.format(1, "again") + row.format(4, "toʻrt").replace(".mp3", ""))
    (tmp_path / "validated.tsv").write_text(HEADER + row.format(2, "oʻz"))
    (tmp_path / "clip_durations.tsv").write_text("clip\tduration[ms]\ncommon_voice_uz_2.mp3\t1234\n")
    return tmp_path


def test_default_splits(corpus: Path) -> None:
    utterances, rejections = check_importer(import_commonvoice, corpus, 8)
    assert [(item.id[-1], item.text, item.speaker, item.language, dict(item.tags)) for item in utterances] == [
        ("1", 'u "dedi', "spk1", "uz", {"split": "train", "age": "twenties"}),
        ("2", "oʻz", "spk2", "uz", {"split": "train", "age": "twenties"}),
        ("4", "toʻrt", "spk4", "uz", {"split": "dev", "age": "twenties"}),
    ]
    assert utterances[0].duration_s == pytest.approx(0.5, abs=0.1)  # MP3 has delay and padding
    reasons = dict(rejections)
    assert reasons["train.tsv:4"] == "the row has 2 columns, the header 7"
    assert reasons["train.tsv:6"] == "the sentence is empty"
    assert "leads out of the folder clips" in reasons["train.tsv:7"]
    assert reasons["dev.tsv:2"] == "common_voice_uz_1.mp3 is in train.tsv already"
    assert "missing" in reasons["train.tsv:5 common_voice_uz_9.mp3"]


def test_named_splits_and_listed_durations(corpus: Path) -> None:
    utterances, _ = check_importer(import_commonvoice, corpus, 1, splits="validated", probe=False)
    assert [(item.id[-1], item.duration_s, item.tags["split"]) for item in utterances] == [("2", 1.234, "validated")]
    with pytest.raises(InputError, match=r"no test\.tsv.*dev, train, validated"):
        check_importer(import_commonvoice, corpus, 1, splits=["train", "test"])


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("path\ttext\n")
    with pytest.raises(InputError, match="no folder 'clips'"):
        check_importer(import_commonvoice, tmp_path, 1)
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match="no column 'sentence'"):
        check_importer(import_commonvoice, tmp_path, 1)
