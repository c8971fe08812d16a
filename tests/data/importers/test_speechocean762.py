import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.speechocean762 import import_speechocean762
from harken.testing import check_importer

SaveTone = Callable[..., Path]
ENTRY = {
    "text": "WE CALL IT BEAR", "accuracy": 8, "completeness": 10.0, "fluency": 9, "prosodic": 9, "total": 8,
    "words": [{"text": "WE", "accuracy": 10, "phones": ["W", "IY0"], "phones-accuracy": [2.0, 2.0]}],
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    save_tone(tmp_path / "WAVE" / "SPEAKER0001" / "000010011.WAV")
    save_tone(tmp_path / "WAVE" / "SPEAKER0003" / "000030012.WAV")
    for split, name, speaker, text in (
        ("train", "000010011", "0001", "WE CALL IT BEAR"),
        ("test", "000030012", "0003", "MARK IS GOING"),
    ):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "wav.scp").write_text(f"{name}\tWAVE/SPEAKER{speaker}/{name}.WAV\n")
        (folder / "text").write_text(f"{name}\t{text}\n")
        (folder / "utt2spk").write_text(f"{name}\t{speaker}\n")
        (folder / "spk2age").write_text(f"{speaker}\t6\n")
        (folder / "spk2gender").write_text(f"{speaker}\tm\n")
    with open(tmp_path / "test" / "wav.scp", "a") as file:
        file.write("000030013\tWAVE/SPEAKER0003/000030013.WAV\n000030014\tWAVE/x.WAV\n")
    with open(tmp_path / "test" / "text", "a") as file:
        file.write("000030013\tGONE\n")
    (tmp_path / "resource").mkdir()
    (tmp_path / "resource" / "scores.json").write_text(json.dumps({"000010011": ENTRY}))
    return tmp_path


def test_both_splits(corpus: Path) -> None:
    utterances, rejections = check_importer(import_speechocean762, corpus, 4)
    assert [(item.id, item.text, item.speaker, item.language) for item in utterances] == [
        ("000010011", "WE CALL IT BEAR", "0001", "en"),
        ("000030012", "MARK IS GOING", "0003", "en"),
    ]
    assert utterances[0].tags == {
        "split": "train", "accent": "zh", "age": "6", "gender": "m", "score_accuracy": "8", "score_completeness": "10",
        "score_fluency": "9", "score_prosodic": "9", "score_total": "8",
    }  # fmt: skip
    assert utterances[0].extra == {"scores": ENTRY}
    assert (utterances[1].tags, utterances[1].extra) == (
        {"split": "test", "accent": "zh", "age": "6", "gender": "m"},
        {},
    )
    assert "missing" in dict(rejections)["test/000030013"]
    assert dict(rejections)["test/000030014"] == "the file 'text' has no line for it"


def test_one_split_without_scores(corpus: Path) -> None:
    (corpus / "resource" / "scores.json").unlink()
    utterances, _ = check_importer(import_speechocean762, corpus, 1, splits="train")
    assert (utterances[0].extra, utterances[0].tags["split"]) == ({}, "train")


def test_other_layouts_are_refused(corpus: Path) -> None:
    (corpus / "resource" / "scores.json").write_text("[1]")
    with pytest.raises(InputError, match="no object of scores"):
        check_importer(import_speechocean762, corpus, 1)
    (corpus / "resource" / "scores.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        check_importer(import_speechocean762, corpus, 1)
    with pytest.raises(InputError, match=r"no dev/wav\.scp"):
        check_importer(import_speechocean762, corpus, 1, splits="dev")
    with pytest.raises(InputError, match="splits is empty"):
        check_importer(import_speechocean762, corpus, 1, splits="")
