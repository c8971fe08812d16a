import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.golos import import_golos
from harken.testing import check_importer

SaveTone = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    for name in ("train/crowd0/a", "train/farfield/b", "test/crowd/files/c", "test/farfield/files/d"):
        save_tone(tmp_path / f"{name}.wav")
    rows = [
        {"id": "1a", "audio_filepath": "crowd0/a.wav", "text": "сто рублей", "duration": 0.5},
        {"id": "1b", "audio_filepath": "farfield/b.wav", "text": "включи свет", "duration": 0.5},
        {"id": "1x", "audio_filepath": "crowd0/x.wav", "text": "нет", "duration": 0.5},
        {"id": "1y", "audio_filepath": "crowd0/a.wav", "text": " ", "duration": 0.5},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "train" / "manifest.jsonl").write_text("\n".join([*lines, "{", "[]", ""]), encoding="utf-8")
    (tmp_path / "train" / "10min.jsonl").write_text(lines[1] + "\n", encoding="utf-8")
    for domain, name in (("crowd", "c"), ("farfield", "d")):
        row = {"id": name, "audio_filepath": f"files/{name}.wav", "text": "да", "duration": 0.5, "noise": 3}
        (tmp_path / "test" / domain / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def test_the_published_layout(corpus: Path) -> None:
    utterances, rejections = check_importer(import_golos, corpus, 8)
    assert [(item.id, item.text, item.language, dict(item.tags)) for item in utterances] == [
        ("c", "да", "ru", {"split": "test", "domain": "crowd", "noise": "3"}),
        ("d", "да", "ru", {"split": "test", "domain": "farfield", "noise": "3"}),
        ("1a", "сто рублей", "ru", {"split": "train", "domain": "crowd"}),
        ("1b", "включи свет", "ru", {"split": "train", "domain": "farfield"}),
    ]
    reasons = dict(rejections)
    assert "missing" in reasons["train/manifest.jsonl:3 crowd0/x.wav"]
    assert reasons["train/manifest.jsonl:4"] == "the text is empty"
    assert reasons["train/manifest.jsonl:5"].startswith("not JSON")
    assert reasons["train/manifest.jsonl:6"] == "not a JSON object"


def test_a_smaller_set_and_durations_as_given(corpus: Path) -> None:
    utterances, _ = check_importer(import_golos, corpus, 1, tables="10min", probe=False)
    assert [(item.id, item.duration_s) for item in utterances] == [("1b", 0.5)]
    with pytest.raises(InputError, match=r"no table called 1hour.*10min, manifest"):
        check_importer(import_golos, corpus, 0, tables="1hour")


@pytest.mark.parametrize(("suffix", "mark"), [(".tsv", "\t"), (".csv", ",")])
def test_a_table_with_a_header(tmp_path: Path, save_tone: SaveTone, suffix: str, mark: str) -> None:
    save_tone(tmp_path / "wavs" / "a.wav")
    rows = [
        ["path", "text", "duration", "speaker", "device"], ["wavs/a.wav", "oʻn bir", "0.4", "s1", "phone"],
        ["", "x", "", "", ""], ["wavs/a.wav", "x"],
    ]  # fmt: skip
    table = tmp_path / f"all{suffix}"
    table.write_text("".join(mark.join(row) + "\n" for row in rows) + "\n", encoding="utf-8")
    utterances, rejections = check_importer(import_golos, table, 3, language="uz")
    (item,) = utterances
    assert (item.id, item.text, item.duration_s, item.speaker, item.language, dict(item.tags)) == (
        "wavs/a", "oʻn bir", 0.4, "s1", "uz", {"device": "phone"},
    )  # fmt: skip
    assert dict(rejections) == {
        f"all{suffix}:3": "it names no file",
        f"all{suffix}:4": "the row has 2 columns, the header 5",
    }


def test_a_quotation_mark_in_tsv_is_one(tmp_path: Path, save_tone: SaveTone) -> None:
    for name in "ab":
        save_tone(tmp_path / f"{name}.wav")
    (tmp_path / "t.tsv").write_text('path\ttext\na.wav\tu "dedi\nb.wav\t"ha\n')
    utterances, _ = check_importer(import_golos, tmp_path / "t.tsv", 2)
    assert [item.text for item in utterances] == ['u "dedi', '"ha']


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.txt", "path\ttext\n", "is no table"),
        ("a.tsv", "path\tduration\n", "no column for the text"),
        ("a.csv", "text\n", "no column for the path"),
        ("a.jsonl", '{"text": "x"}\n', "no column for the path"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            check_importer(import_golos, tmp_path / name, 0)
    with pytest.raises(InputError, match="does not exist"):
        check_importer(import_golos, tmp_path / "absent", 0)
